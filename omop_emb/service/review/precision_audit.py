"""Precision audit: how many approved rows of a file are right, from a sample that was asked again blind."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import gammaln

from omop_emb.arrays import Doubles
from omop_emb.errors import InputError
from omop_emb.records import counted
from omop_emb.service.review.agreement import CONFIDENCE, Interval

LEAST_WIDTH, MOST_ROWS = 0.005, 10_000_000


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """The precision of the rows that an audit was drawn from, as they were when it was drawn.

    Attributes:
        population: approved rows that could be drawn.
        drawn: rows of the sample.
        right: answered as the file says it, or settled in the file's favour.
        wrong: settled against the file.
        unsettled: answered otherwise than the file says it, or flagged; a third decision is needed.
        unanswered: not asked yet.
        settled_by_one_of_two: of the settled ones, how many the first decider or the auditor settled alone.
        interval: of the precision, see finite_interval(); None before the first result.
    """

    population: int
    drawn: int
    right: int
    wrong: int
    unsettled: int
    unanswered: int
    settled_by_one_of_two: int
    interval: Interval | None

    @property
    def n(self) -> int:
        """Rows with a result."""
        return self.right + self.wrong

    @property
    def precision(self) -> float | None:
        """The share of right rows among those with a result, 0 to 1; None before there are any."""
        return self.right / self.n if self.n else None

    @property
    def is_final(self) -> bool:
        """Whether every drawn row has a result."""
        return self.n == self.drawn > 0

    @property
    def words(self) -> str:
        """What it means, for people."""
        if self.precision is None or self.interval is None:
            return "No row of this audit has a result yet."
        low, high = self.interval.low, self.interval.high
        told = (
            f"Of {counted(self.population, 'approved row')}, {self.n:,} were decided again by somebody "
            f"who did not see the decision; {self.right:,} of them are right "
            f"({_percent(self.precision)}). With 95 % confidence {_percent(low)} to {_percent(high)} of "
            f"all these rows are right: {math.floor((1 - high) * self.population + 0.5):,} to "
            f"{math.floor((1 - low) * self.population + 0.5):,} of them are wrong."
        )
        if not self.is_final:
            told += (
                f" This is provisional: {counted(self.unanswered, 'drawn row is', 'drawn rows are')} not "
                f"answered, {self.unsettled:,} answers differ from the file and are not settled."
            )
        return told


def finite_interval(right: int, n: int, population: int, *, confidence: float = CONFIDENCE) -> Interval:
    """The exact interval of the share that is right in a population, of which n rows were drawn.

    Clopper and Pearson's interval for a draw without replacement: the smallest and the largest number of
    right rows in the population for which a sample at least, or at most, as good has a probability over
    (1 - confidence) / 2 under the hypergeometric distribution (Buonaccorsi 1987). It is never too narrow,
    narrower than the binomial interval where much of the population was drawn, and a point where all was.

    Raises:
        InputError: the counts do not fit each other.
    """
    if not 0 <= right <= n <= population or n == 0:
        raise InputError(f"an interval needs right <= drawn <= all rows; found {right}, {n} and {population}")
    return _finite_interval(right, n, population, confidence)


@lru_cache(maxsize=1_000)
def _finite_interval(right: int, n: int, population: int, confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    # Bounds that the sample itself leaves: what was seen right is right, what was seen wrong is wrong.
    least, most = right, population - (n - right)
    lower = _first(least, most, lambda number: _at_least(right, n, number, population) > tail)
    # "at most right" has a probability that falls as the number of right rows grows.
    above = _first(least, most + 1, lambda number: _at_most(right, n, number, population) <= tail)
    return Interval(low=lower / population, high=(above - 1) / population)


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The first number of a range for which a condition holds that then holds for all further ones."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _at_least(seen: int, n: int, number: int, population: int) -> float:
    return _probability(range(seen, min(n, number) + 1), n, number, population)


def _at_most(seen: int, n: int, number: int, population: int) -> float:
    return _probability(range(max(0, n - (population - number)), seen + 1), n, number, population)


def _probability(outcomes: range, n: int, number: int, population: int) -> float:
    """That a sample of n has one of some numbers of right rows, of a population with `number` of them."""
    if len(outcomes) == 0:
        return 0.0
    k = np.arange(outcomes.start, outcomes.stop, dtype=np.float64)
    all_draws = _log_choose(population, np.array([float(n)]))
    logarithms = _log_choose(number, k) + _log_choose(population - number, n - k) - all_draws
    return float(np.exp(logarithms).sum())


def _log_choose(n: float, k: Doubles) -> Doubles:
    result: Doubles = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
    return result


def suggested_size(population: int, *, precision: float = 0.95, width: float = 0.05) -> int:
    """How many rows to draw so that the interval is at most `width` wide if the precision is as expected.

    The precision is from 0.5 to 1, the width, from the lower to the upper bound, from 0.005 to 1.

    Raises:
        InputError: an argument is out of its range.
    """
    if not 1 <= population <= MOST_ROWS or not 0.5 <= precision <= 1 or not LEAST_WIDTH <= width <= 1:
        raise InputError(
            "a sample size needs at least one approved row, an expected precision from 0.5 to 1 and a width "
            f"from {LEAST_WIDTH} to 1; found {population}, {precision:g} and {width:g}"
        )

    def is_enough(n: int) -> bool:
        wrong = math.ceil((1 - precision) * n)  # rounded so that the size is rather too large
        return finite_interval(n - wrong, n, population).width <= width

    return _first(1, population, is_enough)


def _percent(share: float) -> str:
    """A share in percent, never rounded up to 100 or down to 0."""
    if 0 < share < 1:
        share = min(max(share, 0.0005), 0.9995)
    return f"{share * 100:.1f} %"
