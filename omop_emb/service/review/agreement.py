"""Agreement: how often two people who decide alone say the same, and Cohen's kappa with its interval."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from omop_emb.service.review.decision_records import Verdict

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval; both bounds belong to it."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """Its length."""
        return self.high - self.low


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two people agree.

    Attributes:
        n: terms that both have decided.
        agreed: on how many both say the same.
        interval: of the share that agrees, by Wilson; None without terms.
        kappa: Cohen's, 1 for perfect agreement and 0 for what chance gives; None where it is not defined,
            because both always say one and the same or there is no term.
        kappa_interval: of kappa, see cohens_kappa(); None with it.
    """

    n: int
    agreed: int
    interval: Interval | None
    kappa: float | None
    kappa_interval: Interval | None

    @property
    def share(self) -> float | None:
        """The share of terms on which both say the same, 0 to 1; None without terms."""
        return self.agreed / self.n if self.n else None


def choice(verdict: Verdict) -> Hashable:
    """What two verdicts must have in common to be the same: state and targets, not equivalence or comment."""
    return verdict.state, frozenset(verdict.targets)


def measure_agreement(pairs: Iterable[tuple[Hashable, Hashable]]) -> Agreement:
    """The agreement of pairs of choices, one pair a term."""
    counts = Counter(pairs)
    n, agreed = counts.total(), sum(count for (one, other), count in counts.items() if one == other)
    kappa, interval = cohens_kappa(counts)
    return Agreement(
        n=n,
        agreed=agreed,
        interval=wilson_interval(agreed, n) if n else None,
        kappa=kappa,
        kappa_interval=interval,
    )


def agreement_by(
    pairs: Iterable[tuple[str, Hashable, Hashable]],
) -> tuple[Agreement, Mapping[str, Agreement]]:
    """The agreement in all, and by the first entry of each triple, such as its domain, in order of name."""
    everything: list[tuple[Hashable, Hashable]] = []
    by_name: dict[str, list[tuple[Hashable, Hashable]]] = {}
    for name, first, second in pairs:
        everything.append((first, second))
        by_name.setdefault(name, []).append((first, second))
    parts = {name: measure_agreement(by_name[name]) for name in sorted(by_name)}
    return measure_agreement(everything), parts


def cohens_kappa(
    counts: Mapping[tuple[Hashable, Hashable], int], *, confidence: float = CONFIDENCE
) -> tuple[float | None, Interval | None]:
    """Cohen's kappa of a table of counts, and its interval; None for both where it is not defined.

    kappa = (po - pe) / (1 - pe), with po the share that agrees and pe the share that would agree by chance,
    the sum over the categories of the product of both people's shares (Cohen 1960). The interval is kappa
    plus or minus z standard errors for large samples, not beyond -1 and 1: the variance is
    {sum_i p_ii [1 - (p_i. + p_.i)(1 - kappa)]^2 + (1 - kappa)^2 sum_{i!=j} p_ij (p_.i + p_j.)^2
    - [kappa - pe (1 - kappa)]^2} / {n (1 - pe)^2} (Fleiss, Cohen and Everitt 1969). Where all agree, the
    variance is 0 and the interval says nothing about the size of the sample.
    """
    n = sum(counts.values())
    rows: Counter[Hashable] = Counter()
    columns: Counter[Hashable] = Counter()
    for (first, second), count in counts.items():
        rows[first] += count
        columns[second] += count
    if n == 0:
        return None, None
    expected = math.fsum(rows[one] * columns[one] for one in rows) / n**2
    if expected >= 1:
        return None, None
    observed = sum(count for (one, other), count in counts.items() if one == other) / n
    kappa = (observed - expected) / (1 - expected)
    same, different = [], []
    for (first, second), count in counts.items():
        if first == second:
            same.append(count / n * (1 - (rows[first] + columns[first]) / n * (1 - kappa)) ** 2)
        else:
            different.append(count / n * ((columns[first] + rows[second]) / n) ** 2)
    spread = math.fsum(same) + (1 - kappa) ** 2 * math.fsum(different)
    variance = (spread - (kappa - expected * (1 - kappa)) ** 2) / (n * (1 - expected) ** 2)
    half = _z(confidence) * math.sqrt(max(variance, 0.0))
    return kappa, Interval(low=max(kappa - half, -1.0), high=min(kappa + half, 1.0))


def wilson_interval(successes: int, n: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's interval (1927) of a share, for terms drawn from far more terms; n is at least 1."""
    z, share = _z(confidence), successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(
        low=0.0 if successes == 0 else max(middle - half, 0.0),
        high=1.0 if successes == n else min(middle + half, 1.0),
    )


def kappa_in_words(kappa: float | None) -> str:
    """What a kappa means, in the words of Landis and Koch (1977)."""
    if kappa is None:
        return "undefined: both always give the same single answer"
    words: Sequence[tuple[float, str]] = (
        (0.0, "no better than chance"),
        (0.2, "slight"),
        (0.4, "fair"),
        (0.6, "moderate"),
        (0.8, "substantial"),
    )
    return next((word for bound, word in words if kappa <= bound), "almost perfect")


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)
