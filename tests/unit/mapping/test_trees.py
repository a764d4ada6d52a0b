"""Trees of a site's own: they order anew what the shipped ranker puts first, and say by what they look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from omop_emb.errors import ConfigurationError
from omop_emb.mapping.features import relative
from omop_emb.mapping.features.names import NAMES
from omop_emb.mapping.ranking import trees
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.ranking.linear import default_ranker
from omop_emb.mapping.training.linear_training import ranks

VOTES = NAMES.index("memory concept")


def examples(terms: int, seed: int, per: int = 120) -> Examples:
    """Terms whose right candidate the shipped ranker puts anywhere, and one feature tells."""
    rng = np.random.default_rng(seed)
    features = np.zeros((terms * per, len(NAMES)), np.float16)
    right = np.zeros(terms * per, bool)
    place = np.arange(terms) * per + rng.integers(0, per, terms)
    right[place] = True
    features[place, VOTES] = 1
    values = rng.random(terms * per).astype(np.float32)
    return Examples(
        features,
        np.array(["Condition"] * (terms * per)),
        np.arange(terms + 1) * per,
        right,
        np.array(["north"] * terms),
        values,
        values,
        np.zeros(terms * per, np.float32),
        np.zeros(terms * per, bool),
        np.ones(terms, bool),
        values,
    )


def stored(model: str, features: Sequence[str]) -> trees.TreeRanker:
    return trees.TreeRanker.of(
        model, name="site-1", fingerprint="", calibration=None, features=features, domains=("Condition",)
    )


def test_columns_say_how_a_candidate_stands_beside_the_others_of_its_term() -> None:
    features = np.zeros((5, len(NAMES)), np.float32)
    features[:, NAMES.index("dense original")] = [0.5, 0.9, 0.7, 0.2, 0.2]
    shipped = np.array([3, 1, 2, 5, 5], np.float32)
    named = relative.names("default-2")
    found = relative.columns(features, np.array([0, 3, 3, 5]), shipped)
    assert found.shape == (5, len(named))
    assert found[:, named.index("place by default-2")].tolist() == [0, 2, 1, 0, 1]
    assert found[:, named.index("score of default-2 below the best")].tolist() == [0, -2, -1, 0, 0]
    assert found[:, named.index("dense below the best")].tolist() == pytest.approx([-0.4, 0, -0.2, 0, 0])
    some = relative.columns(features, np.array([0, 3, 3, 5]), shipped, np.array([4, 1]))
    assert (some == found[[4, 1]]).all()


def test_trees_reorder_the_shipped_rankers_first_and_leave_the_rest_behind_in_its_order() -> None:
    there, unseen = examples(150, 1), examples(60, 2)
    booster = trees.Booster(trees.train_on(there, rounds=20), trees.domains_of(there))
    scores = booster.of(unseen)
    place = relative.places(unseen.shipped, unseen.first)
    near = unseen.right & (place < trees.REORDERED)
    found = ranks(unseen, scores)
    assert (found[near.reshape(60, -1).any(axis=1)] == 1).all()
    behind = place >= trees.REORDERED
    assert scores[behind].max() < scores[~behind].min()
    assert (np.diff(scores[behind][np.argsort(place[behind], kind="stable")]) <= 0).all()


def test_a_ranker_of_other_features_or_behind_another_shipped_one_is_refused() -> None:
    there = examples(150, 1)
    model = trees.train_on(there, rounds=5)
    ranker = stored(model, relative.names(default_ranker(NAMES).name))
    columns = ranker.columns(there.features[:120].astype(np.float32), np.array([0, 120]), ["Condition"] * 120)
    assert ranker.score(columns, ["Condition"] * 120).argmax() == there.right[:120].argmax()
    assert ranker.explain(columns[there.right[:120].argmax()], "Condition")[0].feature == "memory concept"
    for features in (NAMES, relative.names("default-1")):
        with pytest.raises(ConfigurationError, match="calibrate again"):
            stored(model, features)
