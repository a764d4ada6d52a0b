"""Tree rankers: they rerank what the shipped ranker puts first, and explain the order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from omop_emb.errors import ConfigurationError
from omop_emb.mapping.features import relative_features
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.ranking import trees
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.ranking.linear import default_ranker
from omop_emb.mapping.ranking.ranker_store import read_ranker, written_ranker
from omop_emb.mapping.ranking.reasons import compare

VOTES = NAMES.index("memory concept")


def make_examples(terms: int, seed: int, per_term: int = 120) -> Examples:
    """Terms whose target the shipped ranker puts anywhere, and one feature identifies."""
    rng = np.random.default_rng(seed)
    count = terms * per_term
    targets = np.arange(terms) * per_term + rng.integers(0, per_term, terms)
    is_target = np.zeros(count, bool)
    is_target[targets] = True
    features = np.zeros((count, len(NAMES)), np.float16)
    features[targets, VOTES] = 1
    values = rng.random(count).astype(np.float32)
    return Examples(
        features=features,
        domains=np.array(["Condition"] * count),
        offsets=np.arange(terms + 1) * per_term,
        is_target=is_target,
        sources=np.array(["north"] * terms),
        dense=values,
        lexical=values,
        equal_text=np.zeros(count, np.float32),
        memory_only=np.zeros(count, bool),
        findable=np.ones(terms, bool),
        shipped_scores=values,
        concept_ids=np.arange(count),
    )


def stored(text: str, features: Sequence[str]) -> trees.TreeRanker:
    return trees.TreeRanker.from_stored(
        text, name="site-1", fingerprint="", calibration=None, features=features, domains=("Condition",)
    )


def test_columns_compare_a_candidate_with_the_others_of_its_term() -> None:
    features = np.zeros((5, len(NAMES)), np.float32)
    features[:, NAMES.index("dense original")] = [0.5, 0.9, 0.7, 0.2, 0.2]
    shipped = np.array([3, 1, 2, 5, 5], np.float32)
    named = relative_features.names("default-2")
    found = relative_features.columns(features, np.array([0, 3, 3, 5]), shipped)
    assert found.shape == (5, len(named))
    assert found[:, named.index("rank by default-2")].tolist() == [0, 2, 1, 0, 1]
    assert found[:, named.index("score of default-2 below the best")].tolist() == [0, -2, -1, 0, 0]
    assert found[:, named.index("dense below the best")].tolist() == pytest.approx([-0.4, 0, -0.2, 0, 0])
    some = relative_features.columns(features, np.array([0, 3, 3, 5]), shipped, np.array([4, 1]))
    assert (some == found[[4, 1]]).all()


def test_trees_rerank_the_shipped_rankers_first_candidates_and_leave_the_rest_behind_in_its_order() -> None:
    unseen = make_examples(60, 2)
    scores = trees.train_trees(make_examples(150, 1), rounds=20).score_examples(unseen)
    rank = relative_features.ranks(unseen.shipped_scores, unseen.offsets)
    reranked = rank < trees.MAX_RERANKED
    has_reranked_target = (unseen.is_target & reranked).reshape(60, -1).any(axis=1)
    assert (unseen.target_ranks(scores)[has_reranked_target] == 1).all()
    behind = ~reranked
    assert scores[behind].max() < scores[reranked].min()
    assert (np.diff(scores[behind][np.argsort(rank[behind], kind="stable")]) <= 0).all()


def test_what_was_approved_for_a_name_comes_first_wherever_the_shipped_ranker_puts_it() -> None:
    unseen = make_examples(5, 2)
    last = unseen.offsets[:-1] + relative_features.ranks(unseen.shipped_scores, unseen.offsets).reshape(
        5, -1
    ).argmax(axis=1)
    unseen.features[last, NAMES.index("memory exact")] = 1
    scores = trees.train_trees(make_examples(150, 1), rounds=20).score_examples(unseen)
    assert (scores.reshape(5, -1).argmax(axis=1) + unseen.offsets[:-1]).tolist() == last.tolist()


def test_agreement_never_lowers_a_score_and_contradiction_never_raises_one() -> None:
    examples = make_examples(150, 1)
    # What is learned against its meaning: the target is contradicted, and all others agree.
    examples.features[:, NAMES.index("strengths agree")] = ~examples.is_target
    examples.features[:, NAMES.index("strengths differ")] = examples.is_target
    examples.features[:, VOTES] = 0
    model = trees.train_trees(examples, rounds=20)
    columns = relative_features.columns(examples.features, examples.offsets, examples.shipped_scores)[:50]
    columns[:, relative_features.RANK_COLUMN] = 0
    for name, sign in (("strengths agree", 1), ("strengths differ", -1)):
        with_it, without = columns.copy(), columns.copy()
        with_it[:, NAMES.index(name)], without[:, NAMES.index(name)] = 1, 0
        change = model.score(with_it, ["Condition"] * 50) - model.score(without, ["Condition"] * 50)
        assert (sign * change >= 0).all()


def test_a_ranker_of_other_features_or_another_shipped_ranker_is_refused() -> None:
    examples = make_examples(150, 1)
    text = trees.train_trees(examples, rounds=5).text
    ranker = stored(text, relative_features.names(default_ranker().name))
    features, domains = examples.features[:120].astype(np.float32), ["Condition"] * 120
    columns = ranker.columns(features, np.array([0, 120]), domains)
    target = examples.is_target[:120].argmax()
    assert ranker.score(columns, domains).argmax() == target
    rival = (target + 1) % 120
    reasons = compare(ranker, (columns[target], "Condition"), (columns[rival], "Condition"))
    assert (reasons[0].reason, reasons[0].contribution > 0) == ("approved names", True)
    for names in (NAMES, relative_features.names("default-1")):
        with pytest.raises(ConfigurationError, match="calibrate again"):
            stored(text, names)


def test_a_stored_ranker_keeps_the_shipped_ranker_that_its_trees_know() -> None:
    examples = make_examples(150, 1)
    weights = default_ranker().weights.copy()
    weights[NAMES.index("dense original")] -= 0.25
    earlier = replace(default_ranker(), name="shipped-9", weights=weights)
    model = trees.train_trees(examples, rounds=5)
    kind, text, shape = written_ranker(trees.TreeRanker("site-1", "", earlier.calibration, model, earlier))
    assert earlier.calibration is not None
    ranker = read_ranker("", "site-1", kind, text, earlier.calibration.to_json(), shape)
    assert isinstance(ranker, trees.TreeRanker)
    assert ranker.features == relative_features.names("shipped-9")
    features, domains = np.eye(len(NAMES), dtype=np.float32)[:120], ["Condition"] * 120
    assert ranker.shipped.weigh(features, domains) == pytest.approx(earlier.weigh(features, domains))


def test_trees_that_were_stored_without_the_shipped_ranker_rerank_the_one_that_ships_now() -> None:
    text = trees.train_trees(make_examples(150, 1), rounds=5).text
    ranker = stored(text, relative_features.names("shipped-2"))
    assert ranker.shipped.name == default_ranker().name
    features = np.zeros((3, len(NAMES)), np.float32)
    features[1, VOTES] = 1
    columns = ranker.columns(features, np.array([0, 3]), ["Condition"] * 3)
    assert ranker.score(columns, ["Condition"] * 3).argmax() == 1
