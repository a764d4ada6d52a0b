"""From a ranker's scores to the probability that the first candidate is right, and thresholds that hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from omop_emb.arrays import Doubles, Floats, Ints, Mask

SIGNALS = ("share of the first", "margin", "score", "dense", "lexical", "reads alike", "rivals")
"""What a probability is made from: see signals()."""

APPROVED = 100.0
"""What a ranker adds to the score of a concept that was approved for precisely this name: it comes first."""

_RIVALS = 10
_Z = 1.645  # one-sided 95 %


def signals(
    scores: Floats,
    first: Ints,
    dense: Floats,
    lexical: Floats,
    alike: Floats,
) -> tuple[Doubles, Ints]:
    """Signals (n, SIGNALS) of each query's best candidate and (n,) its place; zeros and -1 without one.

    Args:
        scores: (p,) of all candidates, query by query.
        first: (n + 1,) where each query's candidates begin.
        dense: (p,) best cosines of vectors.
        lexical: (p,) best cosines of 3-grams.
        alike: (p,) 1 where a text reads exactly like the term.
    """
    count = len(first) - 1
    result, best = np.zeros((count, len(SIGNALS))), np.full(count, -1, np.int64)
    for query in range(count):
        start, stop = int(first[query]), int(first[query + 1])
        if start == stop:
            continue
        own = scores[start:stop].astype(np.float64)
        top = int(own.argmax())
        ordered = np.sort(own)[::-1]
        exponential = np.exp(ordered - ordered[0])
        share = 1 / exponential.sum()
        margin = ordered[0] - ordered[1] if len(ordered) > 1 else 5.0
        rivals = np.exp(-np.abs(ordered[1 : 1 + _RIVALS] - ordered[0])).sum()
        best[query] = start + top
        approved = ordered[0] > APPROVED / 2
        result[query] = (
            np.log(share / max(1e-6, 1 - share)).clip(-6, 6),
            min(margin, 5.0),
            ordered[0] - APPROVED if approved else ordered[0],
            # an approved name is a text of its concept, and the term reads like it
            1.0 if approved else dense[start + top],
            1.0 if approved else lexical[start + top],
            1.0 if approved else alike[start + top],
            np.log1p(rivals),
        )
    return result, best


@dataclass(frozen=True, kw_only=True)
class Curve:
    """How often the first candidate was right at or above a probability, on terms it did not learn from.

    Attributes:
        probability: thresholds, descending.
        count: terms at or above each.
        right: of these, how many were right.
    """

    probability: tuple[float, ...]
    count: tuple[int, ...]
    right: tuple[int, ...]

    @classmethod
    def of(cls, probability: Doubles, right: Mask, points: int = 60) -> Curve:
        """From out-of-sample probabilities."""
        order = np.argsort(-probability, kind="stable")
        n = len(order)
        places = np.unique(np.linspace(0, n - 1, min(points, n)).astype(int)) if n else np.zeros(0, int)
        # ties stand on one side of a threshold, whole
        places = np.array(
            [np.searchsorted(-probability[order], -probability[order][p], "right") - 1 for p in places], int
        )
        places = np.unique(places)
        total = np.cumsum(right[order])
        return cls(
            probability=tuple(round(float(probability[order][p]), 5) for p in places),
            count=tuple(int(p) + 1 for p in places),
            right=tuple(int(total[p]) for p in places),
        )

    def threshold(self, precision: float) -> float | None:
        """The lowest probability above which the precision holds with 95 % confidence; None if nowhere.

        Every stricter threshold must hold too, so that one lucky point is not taken.
        """
        found = None
        for probability, count, right in zip(self.probability, self.count, self.right, strict=True):
            if count < least(precision):
                continue
            if lower_bound(right, count) < precision:
                if found is not None:
                    break
                continue
            found = probability
        return found


def least(precision: float) -> int:
    """How many right answers in a row it takes before their lower bound can reach a precision."""
    return int(np.ceil(_Z**2 * precision / (1 - precision))) if precision < 1 else 10**9


def lower_bound(right: int, count: int) -> float:
    """Wilson's one-sided 95 % lower bound of a share (Wilson 1927)."""
    if count == 0:
        return 0.0
    share, square = right / count, _Z**2
    centre = share + square / (2 * count)
    spread = _Z * np.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return float((centre - spread) / (1 + square / count))


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """A logistic curve over a few signals, with an intercept a domain, bent to what was observed.

    Attributes:
        weights: one a signal.
        intercepts: domain -> intercept; "" is everybody else's.
        knots: (x, y) of an isotonic curve over the logistic probability; empty for none.
        curves: domain -> precision by threshold; "" is all together.
        terms: how many terms it was learned from.
        judged: how much each of a judge's answers moves the logarithm of the odds (judge_calibration.py).
    """

    weights: tuple[float, ...]
    intercepts: Mapping[str, float]
    knots: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    curves: Mapping[str, Curve] = field(default_factory=dict)
    terms: int = 0
    judged: Mapping[str, float] = field(default_factory=dict)

    def probability(self, values: Doubles, domains: Sequence[str]) -> Doubles:
        """(n,) probability that the best candidate is right, from (n, SIGNALS) and its domain."""
        base = self.intercepts[""]
        logit = values @ np.array(self.weights) + np.array([self.intercepts.get(d, base) for d in domains])
        plain = 1 / (1 + np.exp(-logit))
        x, y = self.knots
        return np.asarray(np.interp(plain, x, y) if len(x) > 1 else plain, np.float64)

    def threshold(self, precision: float, domain: str) -> float | None:
        """The probability above which a domain's first candidates reach a precision; None: nowhere."""
        curve = self.curves.get(domain)
        return curve.threshold(precision) if curve is not None else None

    def to_json(self) -> dict[str, Any]:
        """All of it, as plain values."""
        return {
            "weights": dict(zip(SIGNALS, (round(w, 5) for w in self.weights), strict=True)),
            "intercepts": {domain: round(value, 5) for domain, value in self.intercepts.items()},
            "knots": [[round(float(v), 5) for v in part] for part in self.knots],
            "curves": {
                domain: {"probability": curve.probability, "count": curve.count, "right": curve.right}
                for domain, curve in self.curves.items()
            },
            "terms": self.terms,
            "judged": {answer: round(shift, 5) for answer, shift in self.judged.items()},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """What to_json wrote."""
        return cls(
            weights=tuple(values["weights"][name] for name in SIGNALS),
            intercepts=values["intercepts"],
            knots=(tuple(values["knots"][0]), tuple(values["knots"][1])),
            curves={
                domain: Curve(**{name: tuple(row) for name, row in curve.items()})
                for domain, curve in values["curves"].items()
            },
            terms=values["terms"],
            judged=values.get("judged", {}),
        )


def fit(
    values: Doubles,
    domains: Sequence[str],
    right: Mask,
    *,
    isotonic: bool,
    least_terms: int = 100,
) -> Calibration:
    """Learn a calibration from out-of-sample signals and whether the best candidate was right.

    Args:
        values: (n, SIGNALS).
        domains: (n,) domain of the best candidate; one with fewer than least_terms shares an intercept.
        right: (n,) whether it was right; a term without a match in the vocabulary never is.
        isotonic: bend the logistic curve to what was observed; needs many terms of the same sources.
        least_terms: how many terms a domain needs for an intercept of its own.
    """
    from scipy.optimize import minimize

    names, counts = np.unique(np.array(domains, dtype=object).astype(str), return_counts=True)
    own = [str(name) for name, count in zip(names, counts, strict=True) if count >= least_terms and name]
    place = {name: number + 1 for number, name in enumerate(own)}
    column = np.array([place.get(domain, 0) for domain in domains])
    mean, spread = values.mean(axis=0), values.std(axis=0) + 1e-9
    scaled = (values - mean) / spread
    target = right.astype(np.float64)
    size = scaled.shape[1]

    def loss(w: Doubles) -> tuple[float, Doubles]:
        shift = np.where(column > 0, w[size + 1 + np.maximum(column - 1, 0)] if own else 0.0, 0.0)
        logit = scaled @ w[:size] + w[size] + shift
        p = 1 / (1 + np.exp(-logit))
        gap = p - target
        value = -(target * np.log(p + 1e-12) + (1 - target) * np.log(1 - p + 1e-12)).sum()
        gradient = np.concatenate([gap @ scaled, [gap.sum()], np.bincount(column, gap, len(own) + 1)[1:]])
        # weak for signals, stronger for domains: an intercept needs evidence
        penalty = np.concatenate([np.full(size, 1.0), [0.0], np.full(len(own), 5.0)])
        return float(value + 0.5 * (penalty * w**2).sum()), gradient + penalty * w

    solution = minimize(loss, np.zeros(size + 1 + len(own)), jac=True, method="L-BFGS-B").x
    weights = solution[:size] / spread
    base = float(solution[size] - (weights * mean).sum())
    intercepts = {"": base, **{name: base + float(solution[size + place[name]]) for name in own}}
    result = Calibration(weights=tuple(float(w) for w in weights), intercepts=intercepts, terms=len(values))
    if isotonic:
        result = Calibration(
            weights=result.weights,
            intercepts=intercepts,
            knots=isotonic_knots(result.probability(values, domains), target),
            terms=len(values),
        )
    return result


def isotonic_knots(x: Doubles, y: Doubles, points: int = 20) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Knots of the rising curve nearest to (x, y): equal bins, then pool adjacent violators."""
    order = np.argsort(x, kind="stable")
    parts = np.array_split(order, max(2, min(points, len(order) // 30)))
    blocks: list[list[float]] = []
    for part in parts:
        if not len(part):
            continue
        blocks.append([float(x[part].mean()), float(y[part].mean()), float(len(part))])
        while len(blocks) > 1 and blocks[-2][1] >= blocks[-1][1]:
            last, before = blocks.pop(), blocks.pop()
            weight = last[2] + before[2]
            blocks.append(
                [(a * before[2] + b * last[2]) / weight for a, b in zip(before[:2], last[:2], strict=True)]
                + [weight]
            )
    xs, ys = (
        [0.0, *(b[0] for b in blocks), 1.0],
        [blocks[0][1] / 2, *(b[1] for b in blocks), (1 + blocks[-1][1]) / 2],
    )
    return tuple(xs), tuple(ys)


def calibration_error(probability: Doubles, right: Mask, bins: int = 15) -> float:
    """Expected calibration error: |share right - mean probability| over equal bins (Naeini 2015)."""
    if not len(probability):
        return 0.0
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return float(sum(abs(right[p].mean() - probability[p].mean()) * len(p) for p in parts) / len(order))
