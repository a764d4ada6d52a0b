"""The approved names that are most like a term vote on its candidates, those of the term itself aside."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from omop_emb.mapping.evaluation.leakage import OwnSource
from omop_emb.mapping.features.features import Features
from omop_emb.mapping.features.names import HABITS, NAMES
from omop_emb.mapping.records import Variant, SourceTerm
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.candidates import MEMORY, Query, find
from omop_emb.mapping.retrieval.concept_attributes import Facts, gather
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.lexicon import build

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
    concept = pd.DataFrame(CONCEPTS, columns=["concept_id", "concept_name", "vocabulary_id"]).assign(
        domain_id="Measurement",
        concept_class_id="",
        standard_concept="S",
        concept_code=lambda frame: frame.concept_id.astype(str),
        invalid_reason="",
    )
    return LexicalIndex(
        build(
            concept,
            pd.DataFrame({"concept_id": [], "concept_synonym_name": []}),
            pd.DataFrame({"concept_id_1": [], "concept_id_2": [], "relationship_id": []}),
        )
    )


def described(lexical: LexicalIndex, query: Query, memory: MemoryIndex) -> pd.DataFrame:
    facts: Facts = gather(lexical.lexicon, lexical)
    found = find([query], lexical, facts, None, None, memory)
    scored = Features(lexical, facts, None, memory).score([query], found)
    frame = pd.DataFrame(scored.features, columns=NAMES, index=lexical.lexicon.concept_id[found.concept])
    return frame.assign(by=found.by)


def remembered(lexical: LexicalIndex, *approved: tuple[str, int]) -> MemoryIndex:
    rows = lexical.lexicon.rows([concept for _, concept in approved])
    return MemoryIndex(lexical, [name for name, _ in approved], rows)


def test_a_site_that_counts_moles_is_offered_moles_for_a_name_it_never_approved(
    lexical: LexicalIndex,
) -> None:
    memory = remembered(lexical, ("S-Sodium lab", 1), ("S-Chloride lab", 6))
    of = described(lexical, Query.of((Variant("S-Potassium lab"),), "Measurement"), memory)
    assert of["memory property"].loc[3] == pytest.approx(1)
    assert of["memory property"].loc[4] == 0
    assert of["memory vocabulary"].loc[5] == 0
    assert of["memory concept"].loc[3] == 0


def test_votes_count_by_likeness_and_the_nearest_names_concept_gets_the_most(lexical: LexicalIndex) -> None:
    memory = remembered(lexical, ("potassium in blood", 4), ("sodium in urine", 1))
    of = described(lexical, Query.of((Variant("potassium blood"),), "Measurement"), memory)
    assert of["memory concept"].idxmax() == 4
    assert 0 < of["memory nearness"].max() <= 2


def test_approvals_of_other_domains_have_no_vote(lexical: LexicalIndex) -> None:
    memory = remembered(lexical, ("potassium", 4))
    query = Query.of((Variant("potassium"),), "Condition")
    facts = gather(lexical.lexicon, lexical)
    found = find([query], lexical, facts, None, None, memory)
    assert not len(found.concept)
    votes = Features(lexical, facts, None, memory)._neighbours
    assert votes is not None
    assert not votes.nearest([query], found).weight.any()


def test_a_term_does_not_vote_for_itself(lexical: LexicalIndex) -> None:
    memory = remembered(lexical, ("potassium", 4), ("sodium", 1))
    term = SourceTerm(name="Potassium")
    query = Query.of((Variant(term.name),), "Measurement")
    assert described(lexical, query, memory)["memory concept"].loc[4] > 0.9
    hidden = OwnSource(lexical.lexicon, memory).hide(query, term)
    of = described(lexical, hidden, memory)
    assert of["memory concept"].loc[4] == 0
    assert not (of["by"] & MEMORY).loc[4]


def test_a_concept_that_was_approved_for_several_names_says_so_the_terms_own_aside(
    lexical: LexicalIndex,
) -> None:
    memory = remembered(lexical, ("potassium", 4), ("K in serum", 4), ("sodium", 1))
    term = SourceTerm(name="potassium")
    query = Query.of((Variant(term.name),), "Measurement")
    assert described(lexical, query, memory)["memory approvals"].loc[4] == pytest.approx(np.log(3))
    hidden = OwnSource(lexical.lexicon, memory).hide(query, term)
    assert described(lexical, hidden, memory)["memory approvals"].loc[4] == pytest.approx(np.log(2))


def test_without_a_memory_no_habit_speaks(lexical: LexicalIndex) -> None:
    facts = gather(lexical.lexicon, lexical)
    query = Query.of((Variant("potassium"),), "Measurement")
    features = Features(lexical, facts, None).score([query], find([query], lexical, facts, None, None))
    assert not features.features[:, [NAMES.index(f"memory {habit}") for habit in HABITS]].any()
    assert np.isfinite(features.features).all()
