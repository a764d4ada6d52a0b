"""How a candidate stands beside the others of its term: what trees look at besides its own features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Floats, Ints
from omop_emb.mapping.features.names import GROUPS, NAMES

_COMPARED = {
    "joint score": ("joint score",),
    "dense": ("dense original",),
    "lexical": ("lexical original",),
    "term words found": tuple(f"term words found, {group}" for group in GROUPS),
    "concept words found": tuple(f"concept words found, {group}" for group in GROUPS),
}
PLACE = len(NAMES)
"""The column in which a candidate's place by the shipped ranker stands, 0 for its first."""


def names(shipped: str) -> tuple[str, ...]:
    """Names of all columns, the features first; they name the shipped ranker that they are made with."""
    return (
        *NAMES,
        f"place by {shipped}",
        f"score of {shipped}",
        f"score of {shipped} below the best",
        "place by joint score",
        *(f"{name} below the best" for name in _COMPARED),
    )


def columns(
    features: npt.NDArray[np.floating], first: Ints, shipped: Floats, rows: Ints | None = None
) -> Floats:
    """(p, columns) the features and how they stand beside those of a term's other candidates.

    Args:
        features: (p, features), term by term.
        first: (n + 1,) where each term's candidates begin.
        shipped: (p,) scores of the shipped ranker.
        rows: the candidates whose columns are wanted; None: all.
    """
    compared = [
        features[:, [NAMES.index(one) for one in members]].max(axis=1).astype(np.float32)
        for members in _COMPARED.values()
    ]
    stands = np.column_stack(
        [
            places(shipped, first),
            shipped,
            _below(shipped, first),
            places(compared[0], first),
            *(_below(values, first) for values in compared),
        ]
    )
    if rows is not None:
        features, stands = features[rows], stands[rows]
    return np.hstack([features.astype(np.float32, copy=False), stands.astype(np.float32, copy=False)])


def places(scores: Floats, first: Ints) -> Floats:
    """(p,) place of each candidate within its term, 0 for the highest score, equal ones in their order."""
    owner = np.repeat(np.arange(len(first) - 1), np.diff(first))
    order = np.lexsort((-scores, owner))
    result = np.empty(len(scores), np.float32)
    result[order] = np.arange(len(scores)) - first[owner]
    return result


def _below(scores: Floats, first: Ints) -> Floats:
    sizes = np.diff(first)
    best = np.maximum.reduceat(scores, first[:-1][sizes > 0]) if len(scores) else scores
    return np.asarray(scores - np.repeat(best, sizes[sizes > 0]), np.float32)
