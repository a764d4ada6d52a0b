"""Calibration: from a ranker's scores to the probability that the first candidate is correct."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from omop_emb.arrays import Doubles, Floats, Ints, Mask
from omop_emb.errors import ConfigurationError
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.judge.judge_calibration import JudgeCalibration

SIGNALS = ("share of the first", "margin", "score", "dense", "lexical", "normalised equal", "rivals")
"""What a probability is computed from, see compute_signals(). Stored calibrations use these names."""

APPROVED_BONUS = 100.0
"""Added to the score of a concept that was approved for precisely this name, so that it comes first."""

_EQUAL_TEXT = [column for column, name in enumerate(NAMES) if name.startswith("normalised equal")]
_MAX_RIVALS = 10
_MAX_MARGIN = 5.0
_CHANCE = 0.05  # that a threshold's precision is lower than requested
# Where testing starts, times the fewest terms that could show the precision: one wrong answer among the very
# first ends only the first sequence.
_STARTS = (1, 2, 4)
_MAX_CURVE_POINTS = 60
_KNOTS = 20
_MIN_TERMS_PER_KNOT = 30
_MIN_TERMS_PER_DOMAIN = 100  # fewer share one intercept
# An intercept of a domain needs more evidence than the weight of a signal.
_SIGNAL_PENALTY, _DOMAIN_PENALTY = 1.0, 5.0
_MIN_SPREAD = 1e-2  # a signal that varies less says nothing: its last digits must not be enlarged


def equal_text(features: Floats) -> Floats:
    """(p,) 1 where a text of the candidate equals the term, from (p, features)."""
    return np.asarray(features[:, _EQUAL_TEXT].max(axis=1, initial=0), np.float32)


def compute_signals(
    scores: Floats, offsets: Ints, dense: Floats, lexical: Floats, equal: Floats
) -> tuple[Doubles, Ints]:
    """Signals (n, SIGNALS) of each query's best candidate and (n,) its row; zeros and -1 without candidates.

    A query's candidates begin at (n + 1,) offsets in the (p,) arrays: best cosines of vectors (dense) and of
    3-grams (lexical), and equal_text().
    """
    count = len(offsets) - 1
    signals, best = np.zeros((count, len(SIGNALS))), np.full(count, -1, np.int64)
    for query in range(count):
        start, stop = int(offsets[query]), int(offsets[query + 1])
        if start == stop:
            continue
        own = scores[start:stop].astype(np.float64)
        row = start + int(own.argmax())
        ordered = np.sort(own)[::-1]
        share = 1 / np.exp(ordered - ordered[0]).sum()
        margin = ordered[0] - ordered[1] if len(ordered) > 1 else _MAX_MARGIN
        rivals = np.exp(-np.abs(ordered[1 : 1 + _MAX_RIVALS] - ordered[0])).sum()
        best[query] = row
        approved = ordered[0] > APPROVED_BONUS / 2
        signals[query] = (
            np.log(share / max(1e-6, 1 - share)).clip(-6, 6),
            min(margin, _MAX_MARGIN),
            ordered[0] - APPROVED_BONUS if approved else ordered[0],
            # An approved name counts as a text of its concept, and equals the term.
            *((1.0, 1.0, 1.0) if approved else (dense[row], lexical[row], equal[row])),
            np.log1p(rivals),
        )
    return signals, best


@dataclass(frozen=True, kw_only=True)
class PrecisionCurve:
    """How often the first candidate was correct at or above a probability, for terms not learned from."""

    probability: tuple[float, ...]  # thresholds, descending
    count: tuple[int, ...]  # terms at or above each
    right: tuple[int, ...]  # of these, terms whose first candidate was correct

    @classmethod
    def from_predictions(cls, probability: Doubles, correct: Mask) -> PrecisionCurve:
        """The curve of out-of-sample probabilities."""
        order = np.argsort(-probability, kind="stable")
        descending = probability[order]
        last = np.linspace(0, len(order) - 1, min(_MAX_CURVE_POINTS, len(order))).astype(int)
        # Terms of equal probability are all above a threshold or all below it.
        last = np.unique(np.searchsorted(-descending, -descending[last], "right") - 1)
        total = np.cumsum(correct[order])
        return cls(
            probability=tuple(round(float(value), 5) for value in descending[last]),
            count=tuple(int(n) + 1 for n in last),
            right=tuple(int(n) for n in total[last]),
        )

    def threshold(self, precision: float) -> float | None:
        """The lowest probability above which the precision holds with 95 % confidence; None if there is none.

        By fixed sequence testing (Angelopoulos et al., "Learn then Test", 2021, algorithm 1): from each of a
        few starts, thresholds are tested one by one, stricter ones first, and the first that fails ends the
        sequence. So the precision is below the requested one with a chance of at most 5 %, however many
        thresholds are tested.
        """
        from scipy.special import bdtrc

        count, right = np.array(self.count), np.array(self.right)
        # How likely as many are right if the precision is just below the requested one.
        likelihood = bdtrc(np.maximum(right, 1) - 1, count, precision)
        fails = np.append(likelihood > _CHANCE / len(_STARTS), True)
        lowest = -1
        for start in _STARTS:
            begin = int(np.searchsorted(count, start * min_terms_for(precision)))
            passed = int(fails[begin:].argmax())
            if passed:
                lowest = max(lowest, begin + passed - 1)
        return self.probability[lowest] if lowest >= 0 else None


def min_terms_for(precision: float) -> int:
    """How many terms, all correct, it takes to show a precision."""
    return int(np.ceil(np.log(_CHANCE / len(_STARTS)) / np.log(precision)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Logistic regression on a few signals with an intercept per domain, optionally made isotonic."""

    weights: tuple[float, ...]  # one per signal
    intercepts: Mapping[str, float]  # by domain; "" for all other domains
    # (x, y) of an isotonic curve over the logistic probability; empty for none
    knots: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    # precision by threshold, by domain
    curves: Mapping[str, PrecisionCurve] = field(default_factory=dict)
    terms: int = 0  # number of terms it was learned from
    # what the answers of each judge (provider:model) are worth
    judges: Mapping[str, JudgeCalibration] = field(default_factory=dict)

    def probability(self, signals: Doubles, domains: Sequence[str]) -> Doubles:
        """(n,) probability that the best candidate is correct, from (n, SIGNALS) signals and its domain."""
        from scipy.special import expit

        other = self.intercepts[""]
        intercepts = np.array([self.intercepts.get(domain, other) for domain in domains])
        logistic = expit(signals @ np.array(self.weights) + intercepts)
        x, y = self.knots
        return np.asarray(np.interp(logistic, x, y) if len(x) > 1 else logistic, np.float64)

    def threshold(self, precision: float, domain: str) -> float | None:
        """The probability above which a domain reaches a precision; None if there is none."""
        curve = self.curves.get(domain)
        return curve.threshold(precision) if curve is not None else None

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values, numbers rounded to five decimals."""
        return {
            "weights": dict(zip(SIGNALS, (round(w, 5) for w in self.weights), strict=True)),
            "intercepts": {domain: round(value, 5) for domain, value in self.intercepts.items()},
            "knots": [[round(float(v), 5) for v in part] for part in self.knots],
            "curves": {
                domain: {"probability": curve.probability, "count": curve.count, "right": curve.right}
                for domain, curve in self.curves.items()
            },
            "terms": self.terms,
            "judges": {source: judge.to_json() for source, judge in self.judges.items()},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """The calibration that to_json() wrote."""
        if set(values["weights"]) != set(SIGNALS):
            raise ConfigurationError(
                "an earlier version fitted the site's probabilities: run omop-emb calibrate again"
            )
        return cls(
            weights=tuple(values["weights"][name] for name in SIGNALS),
            intercepts=values["intercepts"],
            knots=(tuple(values["knots"][0]), tuple(values["knots"][1])),
            curves={
                domain: PrecisionCurve(**{name: tuple(row) for name, row in curve.items()})
                for domain, curve in values["curves"].items()
            },
            terms=values["terms"],
            judges=_judges(values),
        )


def _judges(values: Mapping[str, Any]) -> dict[str, JudgeCalibration]:
    # An earlier version learned shifts from the answers of all judges together.
    if shifts := values.get("judged"):
        return {"": JudgeCalibration(shifts=shifts)}
    return {source: JudgeCalibration.from_json(one) for source, one in values.get("judges", {}).items()}


def fit_calibration(
    signals: Doubles, domains: Sequence[str], correct: Mask, *, isotonic: bool
) -> Calibration:
    """Learn a calibration from out-of-sample signals of best candidates and whether these were correct.

    With `isotonic`, a curve is fitted through the observed shares too; that needs many terms of the same
    sources.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    names, counts = np.unique(np.array(domains, dtype=object).astype(str), return_counts=True)
    own = [str(n) for n, count in zip(names, counts, strict=True) if count >= _MIN_TERMS_PER_DOMAIN and n]
    codes = {name: code for code, name in enumerate(own, start=1)}
    code = np.array([codes.get(domain, 0) for domain in domains])
    mean, spread = signals.mean(axis=0), np.maximum(signals.std(axis=0), _MIN_SPREAD)
    scaled, target, size = (signals - mean) / spread, correct.astype(np.float64), signals.shape[1]
    penalty = np.concatenate([np.full(size, _SIGNAL_PENALTY), [0.0], np.full(len(own), _DOMAIN_PENALTY)])

    def loss(w: Doubles) -> tuple[float, Doubles]:
        shifts = np.concatenate([[0.0], w[size + 1 :]])[code]
        p = expit(scaled @ w[:size] + w[size] + shifts)
        gap = p - target
        value = -(target * np.log(p + 1e-12) + (1 - target) * np.log(1 - p + 1e-12)).sum()
        gradient = np.concatenate([gap @ scaled, [gap.sum()], np.bincount(code, gap, len(own) + 1)[1:]])
        return float(value + 0.5 * (penalty * w**2).sum()), gradient + penalty * w

    solution = minimize(loss, np.zeros(size + 1 + len(own)), jac=True, method="L-BFGS-B").x
    weights = solution[:size] / spread
    base = float(solution[size] - (weights * mean).sum())
    intercepts = {"": base, **{name: base + float(solution[size + n]) for name, n in codes.items()}}
    fitted = Calibration(weights=tuple(float(w) for w in weights), intercepts=intercepts, terms=len(signals))
    if not isotonic:
        return fitted
    return replace(fitted, knots=isotonic_knots(fitted.probability(signals, domains), target))


def isotonic_knots(x: Doubles, y: Doubles) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Knots of the rising curve closest to (x, y), fitted to the means of equally large bins."""
    from scipy.optimize import isotonic_regression

    order = np.argsort(x, kind="stable")
    bins = np.array_split(order, max(2, min(_KNOTS, len(order) // _MIN_TERMS_PER_KNOT)))
    bins = [rows for rows in bins if len(rows)]
    sizes = np.array([len(rows) for rows in bins], np.float64)
    fitted = isotonic_regression([y[rows].mean() for rows in bins], weights=sizes)
    starts = fitted.blocks[:-1]
    # A block of pooled bins is one knot, at the mean of its terms.
    sums = np.add.reduceat(sizes * [x[rows].mean() for rows in bins], starts)
    xs, ys = sums / np.add.reduceat(sizes, starts), fitted.x[starts]
    return (0.0, *xs.tolist(), 1.0), (float(ys[0] / 2), *ys.tolist(), float((1 + ys[-1]) / 2))


def calibration_error(probability: Doubles, correct: Mask, bins: int = 15) -> float:
    """Expected calibration error: |share correct - mean probability| over equal bins (Naeini 2015)."""
    if not len(probability):
        return 0.0
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return float(sum(abs(correct[p].mean() - probability[p].mean()) * len(p) for p in parts) / len(order))
