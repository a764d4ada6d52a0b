"""Differences that matter between a term and a concept, and phrases that make none."""

from __future__ import annotations

import pandas as pd
import pytest

from omop_emb.mapping.results import flags
from omop_emb.mapping.retrieval.concept_attributes import gather
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.lexicon import build
from omop_emb.mapping.terms import contrasts
from omop_emb.mapping.terms.words import normal

UNSPECIFIED = (
    "Arthritis, not elsewhere classified",
    "Arthritis, NEC",
    "Arthritis NOS",
    "Arthritis, not otherwise specified",
    "Arthritis, unspecified",
    "Arthritis (not stated)",
)


@pytest.mark.parametrize("term", UNSPECIFIED)
def test_saying_that_no_more_is_known_is_no_negation(term: str) -> None:
    assert flags(term, "Arthritis", is_drug=False) == ()
    assert flags("Arthritis", term, is_drug=False) == ()


def test_a_negation_beside_such_a_phrase_is_still_seen() -> None:
    (flag,) = flags("Coma, not elsewhere classified", "Injury without coma", is_drug=False)[:1] or ("",)
    assert flag.startswith("negation: the concept says no")
    assert flags("Arthritis not present", "Arthritis", is_drug=False)


def test_a_concept_and_a_term_of_the_same_words_have_the_same_bits() -> None:
    names = [*UNSPECIFIED, "Injury without coma", "Not for use, not elsewhere classified", "Left leg"]
    concept = pd.DataFrame(
        {
            "concept_id": range(1, len(names) + 1),
            "concept_name": names,
            "domain_id": "Condition",
            "vocabulary_id": "SNOMED",
            "concept_class_id": "Disorder",
            "standard_concept": "S",
            "concept_code": [str(number) for number in range(len(names))],
            "invalid_reason": "",
        }
    )
    synonym = pd.DataFrame({"concept_id": [], "concept_synonym_name": []})
    relationship = pd.DataFrame({"concept_id_1": [], "concept_id_2": [], "relationship_id": []})
    lexicon = build(concept, synonym, relationship)
    found = gather(lexicon, LexicalIndex(lexicon)).contrast
    assert found.tolist() == [contrasts.bits(normal(name)) for name in lexicon.names]
    assert [name for name, bits in zip(lexicon.names, found, strict=True) if bits] == names[-3:]
