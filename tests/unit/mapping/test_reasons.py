"""Reasons for a candidate against its rival."""

from __future__ import annotations

import numpy as np
import pytest

from omop_emb.arrays import Floats
from omop_emb.mapping.features import relative_features
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.features.feature_signs import SIGNS
from omop_emb.mapping.ranking.linear import LinearRanker, default_ranker
from omop_emb.mapping.ranking.reasons import compare, reason_of


def columns(**values: float) -> Floats:
    """The columns of a candidate; underscores are spaces."""
    row = np.zeros(len(NAMES), np.float32)
    for name, value in values.items():
        row[NAMES.index(name.replace("_", " "))] = value
    return row


def ranker(**weights: float) -> LinearRanker:
    return LinearRanker("test", "", False, None, columns(**weights), {})


def test_a_candidate_is_compared_with_its_rival_and_equal_features_say_nothing() -> None:
    own = columns(strengths_agree=1, same_unit=1, box=0.001)
    rival = columns(strengths_differ=1, same_unit=1)
    scorer = ranker(strengths_agree=1.5, strengths_differ=-0.5, same_unit=4, box=-1)
    (reason,) = compare(scorer, (own, "Drug"), (rival, "Drug"))
    assert reason.reason == "strength"
    assert reason.contribution == pytest.approx(2.0)
    (against,) = compare(scorer, (rival, "Drug"), (own, "Drug"))
    assert against.contribution == pytest.approx(-2.0)


def test_reasons_add_up_to_the_difference_of_the_scores() -> None:
    rng = np.random.default_rng(1)
    two = rng.random((2, len(NAMES))).astype(np.float32)
    two[:, NAMES.index("memory exact")] = 1, 0
    scorer = default_ranker()
    scores = scorer.score(two, ["Drug", "Condition"])
    total = sum(entry.contribution for entry in compare(scorer, (two[0], "Drug"), (two[1], "Condition")))
    assert total == pytest.approx(scores[0] - scores[1], abs=0.2)


def test_features_that_say_the_same_are_one_reason() -> None:
    own = columns(exact_equal=1, found_by_exact=1)
    scorer = ranker(exact_equal=-0.4, found_by_exact=1.0)
    (reason,) = compare(scorer, (own, "Drug"), None)
    assert reason.reason == "equal text"
    assert reason.contribution == pytest.approx(0.6)


@pytest.mark.parametrize("feature", relative_features.names("default-2"))
def test_every_reason_is_in_words_and_not_the_name_of_a_feature(feature: str) -> None:
    assert not reason_of(feature).endswith(
        ("differs", "agree", "differ", "in the term", "rewritten", "none requested")
    )


@pytest.mark.parametrize(
    ("feature", "sign"),
    [
        ("exact equal", 1),
        ("found by exact", 1),
        ("same unit", 1),
        ("strengths agree", 1),
        ("term words found, original", 1),
        ("memory dense", 1),
        ("specimen agrees", 1),
        ("strengths differ", -1),
        ("laterality differs", -1),
        ("another contrast differs", -1),
        ("negation only in the concept", -1),
        ("not the default specimen", -1),
        ("vocabulary SNOMED", 0),
        ("concept longer", 0),
    ],
)
def test_agreement_raises_and_contradiction_lowers(feature: str, sign: int) -> None:
    assert SIGNS[NAMES.index(feature)] == sign


def test_no_weight_of_the_shipped_ranker_speaks_against_agreement_or_for_contradiction() -> None:
    shipped = default_ranker()
    wrong = [
        f"{name} {weight:+.3f} ({domain})"
        for domain, correction in shipped.corrections.items()
        for name, sign, weight in zip(NAMES, SIGNS, shipped.weights + correction, strict=True)
        if sign * weight < -1e-4
    ]
    assert wrong == []
