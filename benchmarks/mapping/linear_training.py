"""Training of the linear ranker that ships with omop-emb, by maximum likelihood of the targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Doubles, Floats, Mask
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.features.feature_signs import SIGNS
from omop_emb.mapping.features.neighbour_features import SHARED_FEATURES
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.ranking.linear import OTHER_DOMAINS

# Targets further down are no examples: with them the ranker learned to prefer remote candidates, and
# recall@1 fell to .03.
_NEAREST_CANDIDATES = 60
_CORRECTED_DOMAINS = ("Condition", "Drug", "Measurement", "Procedure", "Observation", "Unit")
MEMORY_FEATURES = (
    "memory lexical",
    "memory dense",
    "memory approvals",
    *SHARED_FEATURES,
)
"""Features of the memory that get a weight; an exactly equal approved name comes first in any case."""


@dataclass(frozen=True, eq=False)
class LinearWeights:
    """Weights of a linear ranker; see LinearRanker."""

    weights: Floats
    corrections: dict[str, Floats]

    def score_examples(self, examples: Examples) -> Floats:
        """(p,) scores of all candidates."""
        return self.score(examples.features.astype(np.float32, copy=False), examples.domains)

    def score(self, features: Floats, domains: npt.NDArray[np.str_]) -> Floats:
        """(p,) scores."""
        scores = features @ self.weights
        corrected = np.where(np.isin(domains, list(self.corrections)), domains, OTHER_DOMAINS)
        for domain, row in self.corrections.items():
            rows = corrected == domain
            scores[rows] += features[rows] @ row
        return np.asarray(scores, np.float32)


def fit_linear(
    examples: Examples, *, penalty: float = 300.0, penalty_domain: float = 1000.0, iterations: int = 60
) -> LinearWeights:
    """Weights with which the targets are most likely to come first (softmax over a term's candidates).

    Each source counts by the square root of its terms, so that no large one dominates. The penalties shrink
    weights towards 0, and those of a domain towards those of all; they were chosen by leaving families out.
    In no domain does agreement get a negative weight or contradiction a positive one (see SIGNS).
    """
    near = _nearest(examples)
    is_target = examples.is_target & near
    owner = np.repeat(np.arange(len(examples)), np.diff(examples.offsets))
    rows = np.flatnonzero(near & _has_target(examples, is_target)[owner])
    features = examples.features[rows].astype(np.float32, copy=False)
    spread = features.std(axis=0)
    spread[spread < 1e-6] = 1
    scaled = ((features - features.mean(axis=0)) / spread).astype(np.float32)
    terms = _Terms(owner[rows], is_target[rows])
    _, inverse, counts = np.unique(
        examples.sources[owner[rows][terms.start]], return_inverse=True, return_counts=True
    )
    weight = np.sqrt(100 / np.maximum(counts[inverse], 20))
    names = [*_CORRECTED_DOMAINS, OTHER_DOMAINS]
    domains = examples.domains[rows]
    members = [np.flatnonzero(domains == name) for name in _CORRECTED_DOMAINS]
    members.append(np.flatnonzero(~np.isin(domains, _CORRECTED_DOMAINS)))
    blocks = [scaled[part] for part in members]
    shape = (len(names), scaled.shape[1])

    # Each domain has weights of its own, so that each can be bounded; those of all are the best compromise.
    def common(w: Doubles) -> Doubles:
        return np.asarray(penalty_domain * w.sum(axis=0) / (penalty + penalty_domain * len(names)))

    def loss(flat: Doubles) -> tuple[float, Doubles]:
        w = flat.reshape(shape)
        w_common = common(w)
        scores = np.empty(len(scaled), np.float32)
        for part, block, row in zip(members, blocks, w, strict=True):
            scores[part] = block @ row.astype(np.float32)
        likelihood, gap = terms.likelihood(scores)
        residual = (gap * weight[terms.segment]).astype(np.float32)
        gradient = penalty_domain * (w - w_common)
        for number, (part, block) in enumerate(zip(members, blocks, strict=True)):
            gradient[number] += residual[part] @ block
        value = -(weight * np.log(likelihood)).sum()
        value += 0.5 * penalty * (w_common**2).sum() + 0.5 * penalty_domain * ((w - w_common) ** 2).sum()
        return float(value), gradient.ravel()

    w = _minimize(loss, np.tile(SIGNS, len(names)), iterations).reshape(shape) / spread
    of_all = common(w)
    return LinearWeights(
        of_all.astype(np.float32),
        {name: (row - of_all).astype(np.float32) for name, row in zip(names, w, strict=True)},
    )


def _minimize(
    loss: Callable[[Doubles], tuple[float, Doubles]], signs: npt.NDArray[np.int8], iterations: int
) -> Doubles:
    """The weights with the smallest loss; a weight with a sign has it, or is 0."""
    from scipy.optimize import Bounds, minimize

    bounds = Bounds(np.where(signs > 0, 0, -np.inf), np.where(signs < 0, 0, np.inf))
    options = {"maxiter": iterations}
    solution = minimize(
        loss, np.zeros(len(signs)), jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    return np.asarray(solution.x)


def fit_memory(examples: Examples, linear: LinearWeights) -> LinearWeights:
    """The weights with those of the memory learned on top; all others stay.

    So a site without approvals is ranked as before.
    """
    columns = [NAMES.index(name) for name in MEMORY_FEATURES]
    owner = np.repeat(np.arange(len(examples)), np.diff(examples.offsets))
    rows = np.flatnonzero(_has_target(examples, examples.is_target)[owner])
    terms = _Terms(owner[rows], examples.is_target[rows])
    base = linear.score(examples.features[rows].astype(np.float32, copy=False), examples.domains[rows])
    memory = examples.features[rows][:, columns].astype(np.float64)

    def loss(w: Doubles) -> tuple[float, Doubles]:
        likelihood, gap = terms.likelihood(base + memory @ w)
        return float(-np.log(likelihood).sum()), gap @ memory

    weights = linear.weights.copy()
    weights[columns] = _minimize(loss, SIGNS[columns], iterations=1000)
    corrections = {name: row.copy() for name, row in linear.corrections.items()}
    for row in corrections.values():
        row[columns] = 0
    return LinearWeights(weights, corrections)


class _Terms:
    """Candidates grouped by term, and the likelihood that a term's targets come first."""

    def __init__(self, owner: npt.NDArray[np.int64], is_target: Mask) -> None:
        is_first = np.concatenate([[True], owner[1:] != owner[:-1]])
        self.start, self.segment = np.flatnonzero(is_first), np.cumsum(is_first) - 1
        self.is_target = is_target

    def likelihood(self, scores: Floats | Doubles) -> tuple[Doubles, Doubles]:
        """(terms,) likelihoods and (p,) derivatives of their negative logarithm by the scores."""
        exponential = np.exp(scores - np.maximum.reduceat(scores, self.start)[self.segment])
        total = np.add.reduceat(exponential, self.start)
        targets = np.where(self.is_target, exponential, 0)
        hit = np.maximum(np.add.reduceat(targets, self.start), 1e-12)
        return hit / total, exponential / total[self.segment] - targets / hit[self.segment]


def _has_target(examples: Examples, is_target: Mask) -> Mask:
    """(n,) whether a term has candidates, and a target among them."""
    has_target = np.add.reduceat(np.append(is_target, False), examples.offsets[:-1]) > 0
    return has_target & (np.diff(examples.offsets) > 0)


def _nearest(examples: Examples) -> Mask:
    """(p,) whether a candidate is among the nearest of its term by vectors, spelling and equality."""
    nearness = examples.dense + examples.lexical + 2 * examples.equal_text
    near = np.zeros(len(nearness), bool)
    for start, stop in zip(examples.offsets[:-1], examples.offsets[1:], strict=True):
        own, count = nearness[start:stop], _NEAREST_CANDIDATES
        limit = np.partition(own, len(own) - count)[len(own) - count] if len(own) > count else -np.inf
        near[start:stop] = own >= limit
    return near
