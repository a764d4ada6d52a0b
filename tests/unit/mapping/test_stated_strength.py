"""A drug of the stated strength is before the same drug without one, whatever the weights."""

from __future__ import annotations

import numpy as np
import pytest

from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.ranking.stated_strength import prefer_stated_strength

LEFT_OUT, AGREES, APPROVED = "strength left out", "strengths agree", "memory exact"


@pytest.mark.parametrize(
    ("scores", "kinds", "order"),
    [
        ([9.0, 7.0, 6.0], ["left out", "agrees", ""], [1, 0, 2]),
        ([9.0, 7.0, 8.0], ["left out", "agrees", "agrees"], [2, 0, 1]),
        ([9.0, 8.5, 7.0], ["left out", "left out", "agrees"], [2, 0, 1]),
        ([9.0, 7.0, 10.0], ["left out", "agrees", "other"], [2, 1, 0]),
        ([7.0, 9.0, 8.0], ["left out", "agrees", "other"], [1, 2, 0]),
        ([9.0, 7.0, 6.0], ["approved", "agrees", "left out"], [0, 1, 2]),
        ([9.0, 7.0, 6.0], ["left out", "", ""], [0, 1, 2]),
        ([9.0, 7.0, 6.0], ["", "agrees", ""], [0, 1, 2]),
    ],
)
def test_the_best_of_the_stated_strength_comes_before_what_leaves_it_out(
    scores: list[float], kinds: list[str], order: list[int]
) -> None:
    features = np.zeros((len(scores), len(NAMES)), np.float32)
    for row, kind in enumerate(kinds):
        features[row, NAMES.index(LEFT_OUT)] = kind in ("left out", "approved")
        features[row, NAMES.index(APPROVED)] = kind == "approved"
        features[row, NAMES.index(AGREES)] = kind == "agrees"
    other = np.zeros((2, len(NAMES)), np.float32)  # candidates of the terms before and after
    all_scores = np.array([99.0, *scores, 98.0], np.float32)
    result = prefer_stated_strength(
        all_scores,
        np.vstack([other[:1], features, other[1:]]),
        np.array([0, 1, 1 + len(scores), 2 + len(scores)]),
    )
    assert (-result[1:-1]).argsort(kind="stable").tolist() == order
    assert (result[0], result[-1]) == (99.0, 98.0)
    assert all_scores[1:-1].tolist() == scores
