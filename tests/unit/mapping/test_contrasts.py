"""Contrasts between a term and a concept, and phrases that are none."""

from __future__ import annotations

import pytest

from omop_emb.mapping.results import flags
from omop_emb.mapping.retrieval.concept_attributes import concept_attributes
from omop_emb.mapping.terms import contrasts
from omop_emb.mapping.terms.words import normalise
from tests.unit.mapping.small_index import small_index

UNSPECIFIED = (
    "Arthritis, not elsewhere classified",
    "Arthritis, NEC",
    "Arthritis NOS",
    "Arthritis, not otherwise specified",
    "Arthritis, unspecified",
    "Arthritis (not stated)",
)


@pytest.mark.parametrize("term", UNSPECIFIED)
def test_not_elsewhere_classified_and_the_like_are_no_negation(term: str) -> None:
    assert flags(term, "Arthritis", is_drug=False) == ()
    assert flags("Arthritis", term, is_drug=False) == ()


def test_a_negation_beside_such_a_phrase_counts() -> None:
    (flag,) = flags("Coma, not elsewhere classified", "Injury without coma", is_drug=False)[:1] or ("",)
    assert flag.startswith("negation: the concept says no")
    assert flags("Arthritis not present", "Arthritis", is_drug=False)


def test_a_concept_has_the_bits_of_a_term_with_the_same_words() -> None:
    names = [*UNSPECIFIED, "Injury without coma", "Not for use, not elsewhere classified", "Left leg"]
    index = small_index(
        [{"concept_id": number, "concept_name": name} for number, name in enumerate(names, start=1)]
    )
    bits = concept_attributes(index).contrasts.tolist()
    assert bits == [contrasts.bits(normalise(name)) for name in index.lexicon.names]
    assert [name for name, of_name in zip(names, bits, strict=True) if of_name] == names[-3:]
