"""Relative features: how a candidate compares with the others of its term; trees read them too."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Floats, Ints
from omop_emb.mapping.features import further_features
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.features.similarity_features import VARIANT_GROUPS

_COMPARED = {
    "joint score": ("joint score",),
    "dense": ("dense original",),
    "lexical": ("lexical original",),
    "term words found": tuple(f"term words found, {group}" for group in VARIANT_GROUPS),
    "concept words found": tuple(f"concept words found, {group}" for group in VARIANT_GROUPS),
}
RANK_COLUMN = len(NAMES)
"""The column of a candidate's rank by the shipped ranker, 0 for the first."""


def names(shipped: str, further: int = 0) -> tuple[str, ...]:
    """Names of all columns, with so many further spaces; they contain the name of the shipped ranker."""
    return (
        *NAMES,
        f"rank by {shipped}",
        f"score of {shipped}",
        f"score of {shipped} below the best",
        "rank by joint score",
        *(f"{name} below the best" for name in _COMPARED),
        *further_features.names(further),
    )


def columns(
    features: npt.NDArray[np.floating], offsets: Ints, shipped: Floats, rows: Ints | None = None
) -> Floats:
    """(p, columns) the features, how each candidate compares with the others of its term, further spaces.

    Args:
        features: (p, features), term by term.
        offsets: (n + 1,) where each term's candidates begin.
        shipped: (p,) scores of the shipped ranker.
        rows: the candidates whose columns are returned; None: all.
    """
    compared = [
        features[:, [NAMES.index(name) for name in members]].max(axis=1).astype(np.float32)
        for members in _COMPARED.values()
    ]
    relative = np.column_stack(
        [
            ranks(shipped, offsets),
            shipped,
            _below_best(shipped, offsets),
            ranks(compared[0], offsets),
            *(_below_best(values, offsets) for values in compared),
        ]
    )
    if rows is not None:
        features, relative = features[rows], relative[rows]
    parts = features[:, : len(NAMES)], relative, features[:, len(NAMES) :]
    return np.hstack([part.astype(np.float32, copy=False) for part in parts])


def ranks(scores: Floats, offsets: Ints) -> Floats:
    """(p,) rank of each candidate within its term, 0 for the highest score, equal ones in their order."""
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((-scores, owner))
    result = np.empty(len(scores), np.float32)
    result[order] = np.arange(len(scores)) - offsets[owner]
    return result


def _below_best(scores: Floats, offsets: Ints) -> Floats:
    sizes = np.diff(offsets)
    best = np.maximum.reduceat(scores, offsets[:-1][sizes > 0]) if len(scores) else scores
    return np.asarray(scores - np.repeat(best, sizes[sizes > 0]), np.float32)
