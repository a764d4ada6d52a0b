"""Further features: similarity of a term and a candidate in each further space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from omop_emb.arrays import Floats, Ints, Mask, Vectors
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.retrieval.further_spaces import FurtherSpace

_OF_SPACE = ("cosine", "best cosine", "standardised cosine", "cosine below the best")
_BEST, _STANDARDISED = _OF_SPACE.index("best cosine"), _OF_SPACE.index("standardised cosine")
_MIN_SPREAD = 1e-3  # of the cosines of a term's candidates; less is noise


def names(spaces: int) -> tuple[str, ...]:
    """The features of so many further spaces, whose columns follow those of NAMES."""
    return tuple(f"space {number}: {name}" for number in range(1, spaces + 1) for name in _OF_SPACE)


def describe(spaces: Sequence[FurtherSpace], vectors: Sequence[Vectors], concepts: Ints) -> Floats:
    """(p, features) of (p,) concept rows in every space; NaN where a space has no vector of a concept.

    vectors: by space, (v, dimensions) of the term's variants, the original first.
    """
    return np.hstack(
        [
            _of_space(space.dense.similarity(rows, concepts), space.dense.has_vector(concepts))
            for space, rows in zip(spaces, vectors, strict=True)
        ]
    )


def _of_space(cosines: Floats, has_vector: Mask) -> Floats:
    """(p, features) from (v, p) cosines; standardised: the best of a concept, among the term's candidates."""
    columns = np.full((cosines.shape[1], len(_OF_SPACE)), np.nan, np.float32)
    if has_vector.any():
        best = cosines.max(axis=0)[has_vector]
        spread = max(float(best.std()), _MIN_SPREAD)
        columns[has_vector] = np.column_stack(
            [cosines[0, has_vector], best, (best - best.mean()) / spread, best - best.max()]
        )
    return columns


def best_cosines(features: Floats) -> Floats:
    """(p, spaces) the best cosine over a term's variants in each further space, from (p, all features)."""
    return features[:, len(NAMES) + _BEST :: len(_OF_SPACE)]


def standardised_cosines(features: Floats) -> Floats:
    """(p, spaces) cosines of each further space in standard deviations, 0 where it lacks a concept."""
    return np.nan_to_num(features[:, len(NAMES) + _STANDARDISED :: len(_OF_SPACE)])
