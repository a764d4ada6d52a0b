"""The approved names most similar to a term vote on its candidates, except those of the term itself."""

from __future__ import annotations

import numpy as np
import pytest

from omop_emb.mapping.evaluation.leakage import LeakageGuard
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.features.name_sharing import sharing_rates
from omop_emb.mapping.features.neighbour_features import SHARED_FEATURES, NeighbourFeatures
from omop_emb.mapping.records import SourceTerm, Variant
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.concept_attributes import concept_attributes
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.queries import Query
from tests.unit.mapping.small_index import candidates_of, features_of, small_index

CONCEPTS = [
    (1, "Sodium [Moles/volume] in Serum or Plasma", "LOINC"),
    (2, "Sodium [Mass/volume] in Serum or Plasma", "LOINC"),
    (3, "Potassium [Moles/volume] in Serum or Plasma", "LOINC"),
    (4, "Potassium [Mass/volume] in Serum or Plasma", "LOINC"),
    (5, "Serum potassium measurement", "SNOMED"),
    (6, "Chloride [Moles/volume] in Serum or Plasma", "LOINC"),
]


@pytest.fixture(scope="module")
def lexical() -> LexicalIndex:
    columns = ("concept_id", "concept_name", "vocabulary_id")
    return small_index(
        [{**dict(zip(columns, row, strict=True)), "domain_id": "Measurement"} for row in CONCEPTS]
    )


def measurement(name: str) -> Query:
    return Query.of((Variant(name),), "Measurement")


def memory_of(lexical: LexicalIndex, *approved: tuple[str, int]) -> MemoryIndex:
    rows = lexical.lexicon.rows([concept for _, concept in approved])
    return MemoryIndex(lexical, [name for name, _ in approved], rows)


def test_a_site_that_counts_moles_is_offered_moles_for_a_new_name(lexical: LexicalIndex) -> None:
    memory = memory_of(lexical, ("S-Sodium lab", 1), ("S-Chloride lab", 6))
    features = features_of(measurement("S-Potassium lab"), lexical, memory)
    assert features["memory property"].loc[3] == pytest.approx(1)
    assert features["memory property"].loc[4] == 0
    assert features["memory vocabulary"].loc[5] == 0
    assert features["memory concept"].loc[3] == 0


def test_votes_are_weighted_by_similarity(lexical: LexicalIndex) -> None:
    memory = memory_of(lexical, ("potassium in blood", 4), ("sodium in urine", 1))
    features = features_of(measurement("potassium blood"), lexical, memory)
    assert features["memory concept"].idxmax() == 4
    assert 0 < features["memory similarity"].max() <= 2


def test_approvals_of_other_domains_have_no_vote(lexical: LexicalIndex) -> None:
    memory = memory_of(lexical, ("potassium", 4))
    candidates = candidates_of(Query.of((Variant("potassium"),), "Condition"), lexical, memory)
    assert not len(candidates.concept)
    neighbours = NeighbourFeatures(memory, lexical.lexicon, concept_attributes(lexical))
    assert not neighbours.votes(candidates).weight.any()


def test_a_term_does_not_vote_for_itself(lexical: LexicalIndex) -> None:
    memory = memory_of(lexical, ("potassium", 4), ("sodium", 1))
    query = measurement("Potassium")
    assert features_of(query, lexical, memory)["memory concept"].loc[4] > 0.9 / 6  # two names, none shared
    hidden = LeakageGuard(lexical.lexicon, memory).hide(query, SourceTerm(name="Potassium"))
    assert features_of(hidden, lexical, memory)["memory concept"].loc[4] == 0
    candidates = candidates_of(hidden, lexical, memory)
    found_by_memory = candidates.concept[candidates.found_by["memory"]]
    assert 4 not in lexical.lexicon.concept_id[found_by_memory]


def test_approvals_of_a_concept_are_counted_without_the_terms_own(lexical: LexicalIndex) -> None:
    memory = memory_of(lexical, ("potassium", 4), ("K in serum", 4), ("sodium", 1))
    query = measurement("potassium")
    assert features_of(query, lexical, memory)["memory approvals"].loc[4] == pytest.approx(np.log(3) * 3 / 7)
    hidden = LeakageGuard(lexical.lexicon, memory).hide(query, SourceTerm(name="potassium"))
    assert features_of(hidden, lexical, memory)["memory approvals"].loc[4] == pytest.approx(np.log(2) * 3 / 7)


@pytest.mark.parametrize(
    ("approved", "rate"),
    [
        ([], 0.25),
        ([("a", 1), ("b", 2), ("c", 3), ("d", 4)], 1 / 8),
        ([("a", 1), ("b", 1), ("c", 1), ("d", 4)], 4 / 8),
        ([("a", 1), ("A", 1), ("b", 2), ("c", 3)], 1 / 7),  # the same name twice is one name
    ],
)
def test_similarity_counts_as_far_as_a_site_gives_several_names_one_concept(
    lexical: LexicalIndex, approved: list[tuple[str, int]], rate: float
) -> None:
    memory = memory_of(lexical, *approved)
    assert sharing_rates(memory, lexical.lexicon).tolist() == pytest.approx([rate])


def test_without_a_memory_its_features_are_zero(lexical: LexicalIndex) -> None:
    features = features_of(measurement("potassium"), lexical)
    assert not features[list(SHARED_FEATURES)].to_numpy().any()
    assert np.isfinite(features[list(NAMES)].to_numpy()).all()
