"""Training: a linear ranker by listwise likelihood, folds that keep sources apart, figures out of sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Doubles, Floats, Ints, Mask
from omop_emb.mapping.features.names import HABITS, NAMES
from omop_emb.mapping.ranking import calibration
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.ranking.linear import OTHER

Score = Callable[[Examples], Floats]
"""(p,) scores of all candidates of terms."""

# A ranker learns from the candidates that come nearest; what is right but stands below them is no example:
# adding it teaches that the far-fetched is right (recall@1 fell to .03).
_NEAREST = 60
_CORRECTED = ("Condition", "Drug", "Measurement", "Procedure", "Observation", "Unit")


@dataclass(frozen=True, eq=False)
class Linear:
    """Weights of a linear ranker before it has a name."""

    weights: Floats
    corrections: dict[str, Floats]
    centre: Floats

    def of(self, examples: Examples) -> Floats:
        """(p,) scores of all candidates of terms."""
        return self.score(examples.features.astype(np.float32, copy=False), examples.domains)

    def score(self, features: Floats, domains: npt.NDArray[np.str_]) -> Floats:
        """(p,) scores."""
        result = features @ self.weights
        places = np.where(np.isin(domains, list(self.corrections)), domains, OTHER)
        for domain, row in self.corrections.items():
            chosen = places == domain
            result[chosen] += features[chosen] @ row
        return np.asarray(result, np.float32)


def fit_linear(
    examples: Examples, *, penalty: float = 300.0, penalty_domain: float = 1000.0, iterations: int = 60
) -> Linear:
    """The weights under which what is right is likeliest to come first (softmax over a term's candidates).

    Each source counts by the root of its terms, so that no large one decides alone. The penalties shrink
    weights towards 0, and those of a domain towards those of all; chosen by leaving families out.
    """
    from scipy.optimize import minimize

    near = nearest(examples)
    right = examples.right & near
    keep_term = np.add.reduceat(np.append(right, False), examples.first[:-1]) > 0
    keep_term &= np.diff(examples.first) > 0
    owner = np.repeat(np.arange(len(examples)), np.diff(examples.first))
    rows = np.flatnonzero(near & keep_term[owner])
    plain = examples.features[rows].astype(np.float32, copy=False)
    mean, spread = plain.mean(axis=0), plain.std(axis=0)
    spread[spread < 1e-6] = 1
    scaled = ((plain - mean) / spread).astype(np.float32)
    own, right = owner[rows], right[rows]
    start = np.flatnonzero(np.concatenate([[True], own[1:] != own[:-1]]))
    segment = np.cumsum(np.concatenate([[True], own[1:] != own[:-1]])) - 1
    _, inverse, counts = np.unique(examples.source[own[start]], return_inverse=True, return_counts=True)
    weight = np.sqrt(100 / np.maximum(counts[inverse], 20))
    domains = examples.domains[rows]
    names = [*_CORRECTED, OTHER]
    chosen = [np.flatnonzero(domains == name) for name in _CORRECTED]
    chosen.append(np.flatnonzero(~np.isin(domains, _CORRECTED)))
    blocks = [scaled[part] for part in chosen]
    shape = (len(names) + 1, scaled.shape[1])

    def loss(flat: Doubles) -> tuple[float, Doubles]:
        w = flat.reshape(shape)
        scores = scaled @ w[0].astype(np.float32)
        for part, block, row in zip(chosen, blocks, w[1:], strict=True):
            scores[part] += block @ row.astype(np.float32)
        top = np.maximum.reduceat(scores, start)
        exponential = np.exp(scores - top[segment])
        total = np.add.reduceat(exponential, start)
        good = np.where(right, exponential, 0)
        hit = np.maximum(np.add.reduceat(good, start), 1e-12)
        residual = ((exponential / total[segment] - good / hit[segment]) * weight[segment]).astype(np.float32)
        gradient = np.zeros(shape)
        gradient[0] = residual @ scaled + penalty * w[0]
        for number, (part, block) in enumerate(zip(chosen, blocks, strict=True)):
            gradient[number + 1] = residual[part] @ block + penalty_domain * w[number + 1]
        value = -(weight * np.log(hit / total)).sum()
        value += 0.5 * penalty * (w[0] ** 2).sum() + 0.5 * penalty_domain * (w[1:] ** 2).sum()
        return float(value), gradient.ravel()

    found = minimize(
        loss, np.zeros(shape[0] * shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": iterations}
    )
    w = found.x.reshape(shape) / spread
    return Linear(
        w[0].astype(np.float32),
        {name: row.astype(np.float32) for name, row in zip(names, w[1:], strict=True)},
        mean.astype(np.float32),
    )


MEMORY = ("memory lexical", "memory dense", "memory approvals", *(f"memory {habit}" for habit in HABITS))
"""Features of the memory that a linear ranker weighs; what reads exactly alike comes first anyway."""


def fit_memory(examples: Examples, linear: Linear) -> Linear:
    """The ranker with weights for the memory, learned behind all others, which stay as they are.

    So a site that has approved nothing is ranked as before.
    """
    from scipy.optimize import minimize

    columns = [NAMES.index(name) for name in MEMORY]
    owner = np.repeat(np.arange(len(examples)), np.diff(examples.first))
    learns = np.add.reduceat(np.append(examples.right, False), examples.first[:-1]) > 0
    learns &= np.diff(examples.first) > 0
    rows = np.flatnonzero(learns[owner])
    own, right = owner[rows], examples.right[rows]
    offset = linear.score(examples.features[rows].astype(np.float32, copy=False), examples.domains[rows])
    remembered = examples.features[rows][:, columns].astype(np.float64)
    new = np.concatenate([[True], own[1:] != own[:-1]])
    start, segment = np.flatnonzero(new), np.cumsum(new) - 1

    def loss(w: Doubles) -> tuple[float, Doubles]:
        scores = offset + remembered @ w
        exponential = np.exp(scores - np.maximum.reduceat(scores, start)[segment])
        total = np.add.reduceat(exponential, start)
        good = np.where(right, exponential, 0)
        hit = np.maximum(np.add.reduceat(good, start), 1e-12)
        residual = exponential / total[segment] - good / hit[segment]
        return float(-np.log(hit / total).sum()), residual @ remembered

    found = minimize(loss, np.zeros(len(columns)), jac=True, method="L-BFGS-B").x
    weights = linear.weights.copy()
    weights[columns] = found
    corrections = {name: row.copy() for name, row in linear.corrections.items()}
    for row in corrections.values():
        row[columns] = 0
    return Linear(weights, corrections, linear.centre)


def nearest(examples: Examples, count: int = _NEAREST) -> Mask:
    """(p,) whether a candidate is among the count nearest of its term by vectors, letters and equality."""
    base = examples.dense + examples.lexical + 2 * examples.alike
    keep = np.zeros(len(base), bool)
    for start, stop in zip(examples.first[:-1], examples.first[1:], strict=True):
        own = base[start:stop]
        limit = np.partition(own, len(own) - count)[len(own) - count] if len(own) > count else -np.inf
        keep[start:stop] = own >= limit
    return keep


def ranks(examples: Examples, scores: Floats) -> Ints:
    """(n,) rank of each term's first target, 0 where none is among its candidates; ties in order of rows."""
    result = np.zeros(len(examples), np.int64)
    for term in range(len(examples)):
        span = slice(int(examples.first[term]), int(examples.first[term + 1]))
        right = np.flatnonzero(examples.right[span])
        if not len(right):
            continue
        own = scores[span]
        best = right[own[right].argmax()]
        result[term] = 1 + (own > own[best]).sum() + (own[:best] == own[best]).sum()
    return result


def folds(source: npt.NDArray[np.str_], *, count: int = 3, by_source: bool, seed: int = 1) -> Ints:
    """(n,) number of each term's fold: a source is one fold, or terms are dealt out at random."""
    if by_source:
        return np.unique(source, return_inverse=True)[1].astype(np.int64)
    dealt = np.arange(len(source)) % count
    return np.asarray(np.random.default_rng(seed).permutation(dealt), np.int64)


def out_of_sample(examples: Examples, fold: Ints, fit: Callable[[Examples], Score]) -> Floats:
    """(p,) scores of each term by a ranker that was fitted without its fold."""
    scores = np.zeros(len(examples.features), np.float32)
    for number in np.unique(fold):
        inside = np.flatnonzero(fold == number)
        score = fit(examples.take(np.flatnonzero(fold != number)))
        scores[examples.rows(inside)] = score(examples.take(inside))
    return scores


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A calibration and what it says about terms that it was not fitted on."""

    calibration: calibration.Calibration
    probability: Doubles
    right: Mask
    domains: npt.NDArray[np.str_]


def calibrate(examples: Examples, scores: Floats, fold: Ints, *, isotonic: bool) -> Calibrated:
    """Fit a calibration to out-of-sample scores; its curves come from a second round of the same folds."""
    values, best = calibration.signals(
        scores, examples.first, examples.dense, examples.lexical, examples.alike
    )
    right = np.array([place >= 0 and bool(examples.right[place]) for place in best])
    domains = np.array([str(examples.domains[place]) if place >= 0 else "" for place in best])
    probability = np.zeros(len(right))
    for number in np.unique(fold):
        inside, outside = fold == number, fold != number
        fitted = calibration.fit(values[outside], list(domains[outside]), right[outside], isotonic=isotonic)
        probability[inside] = fitted.probability(values[inside], list(domains[inside]))
    probability[best < 0] = 0
    final = calibration.fit(values, list(domains), right, isotonic=isotonic)
    curves = {
        str(name): calibration.Curve.of(probability[domains == name], right[domains == name])
        for name in np.unique(domains)
        if name and (domains == name).sum() >= 50
    }
    curves[""] = calibration.Curve.of(probability, right)
    final = calibration.Calibration(
        weights=final.weights, intercepts=final.intercepts, knots=final.knots, curves=curves, terms=len(right)
    )
    return Calibrated(final, probability, right, domains)
