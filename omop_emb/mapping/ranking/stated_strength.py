"""Stated strength: a drug that has the strength in the term comes before the same drug without one."""

from __future__ import annotations

import numpy as np

from omop_emb.arrays import Floats, Ints
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.ranking.ranker import APPROVED_COLUMN

_LEFT_OUT, _AGREES = NAMES.index("strength left out"), NAMES.index("strengths agree")
_LEAD = 0.001  # in units of a score: just before the other


def prefer_stated_strength(scores: Floats, features: Floats, offsets: Ints) -> Floats:
    """(p,) scores in which the best drug of the stated strength is before the best that leaves it out.

    Weights cannot say this: sources that map every drug to its ingredient outvote those that do not. What a
    site has approved for precisely this name stays before both. Not for a site's own ranker, which knows its
    habit.
    """
    left_out = (features[:, _LEFT_OUT] > 0) & (features[:, APPROVED_COLUMN] == 0)
    agrees = features[:, _AGREES] > 0
    result = scores.copy()
    for term in np.unique(np.searchsorted(offsets, np.flatnonzero(left_out), side="right") - 1):
        rows = np.arange(offsets[term], offsets[term + 1])
        with_strength = rows[agrees[rows]]
        if len(with_strength):
            best = with_strength[scores[with_strength].argmax()]
            result[best] = max(scores[best], scores[rows[left_out[rows]]].max() + _LEAD)
    return result
