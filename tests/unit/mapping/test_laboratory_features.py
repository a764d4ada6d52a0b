"""What laboratory names say, as features: analyte, specimen, a day's collection, and how old a concept is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from omop_emb.mapping.features.features import Features
from omop_emb.mapping.features.names import NAMES
from omop_emb.mapping.records import Variant
from omop_emb.mapping.retrieval.candidates import Query, find
from omop_emb.mapping.retrieval.concept_attributes import gather
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.lexicon import build
from omop_emb.mapping.terms.laboratory import axes, whole_day

CONCEPTS = [
    (3004501, "Glucose [Mass/volume] in Serum or Plasma"),
    (3000483, "Glucose [Mass/volume] in Blood"),
    (40757503, "Glucose tolerance [Mass/volume] in Serum or Plasma"),
    (3020682, "Glucose [Mass/time] in 24 hour Urine"),
    (3033408, "Monocytes/100 leukocytes in Blood"),
]


def described(term: str) -> pd.DataFrame:
    """The features of all candidates of a term, by concept id."""
    concept = pd.DataFrame(CONCEPTS, columns=["concept_id", "concept_name"]).assign(
        domain_id="Measurement",
        vocabulary_id="LOINC",
        concept_class_id="Lab Test",
        standard_concept="S",
        concept_code=lambda frame: frame.concept_id.astype(str),
        invalid_reason="",
    )
    lexical = LexicalIndex(
        build(
            concept,
            pd.DataFrame({"concept_id": [], "concept_synonym_name": []}),
            pd.DataFrame({"concept_id_1": [], "concept_id_2": [], "relationship_id": []}),
        )
    )
    facts = gather(lexical.lexicon, lexical)
    query = Query.of((Variant(term),), "Measurement")
    found = find([query], lexical, facts, None, None)
    scored = Features(lexical, facts, None).score([query], found)
    return pd.DataFrame(scored.features, columns=NAMES, index=lexical.lexicon.concept_id[found.concept])


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        ("Glucose [Mass/volume] in Serum by Test strip", ("Glucose", "Mass/volume", "Serum", "Test strip")),
        ("Monocytes/100 leukocytes in Blood", ("Monocytes/100 leukocytes", "", "Blood", "")),
        ("Protein panel - 24 hour Urine", ("Protein", "", "24 hour Urine", "")),
        ("Hematocrit [Volume Fraction] of Blood", ("Hematocrit", "Volume Fraction", "Blood", "")),
        ("Gentamicin [Mass/volume] in Serum --trough", ("Gentamicin", "Mass/volume", "Serum", "")),
    ],
)
def test_axes_are_read_from_names_with_and_without_a_property(
    name: str, stated: tuple[str, str, str, str]
) -> None:
    assert axes(name) == stated


def test_an_analyte_is_compared_without_specimen_and_words_that_say_that_something_is_measured() -> None:
    of = described("Glucose in serum")
    assert of["analyte in the term"].loc[3004501] == pytest.approx(1)
    assert of["term is the analyte"].loc[3004501] == pytest.approx(1)
    assert 0 < of["analyte in the term"].loc[40757503] < 1


def test_serum_may_be_meant_where_blood_is_said_but_not_where_urine_is() -> None:
    blood, urine = described("Glucose in blood"), described("Glucose in urine")
    assert blood["serum or plasma for blood"].loc[3004501] == 1
    assert blood["serum or plasma for blood"].loc[3000483] == 0
    assert not urine["serum or plasma for blood"].any()


def test_what_a_day_collected_agrees_where_the_term_says_so() -> None:
    assert whole_day("24 hr Glucose")
    assert whole_day("dU-Gluk")
    assert not whole_day("U-Gluk")
    asked, plain = described("24 hr glucose in urine"), described("glucose in urine")
    assert list(np.flatnonzero(asked["24 hours agree"])) == [list(asked.index).index(3020682)]
    assert plain["24 hours only in the concept"].loc[3020682] == 1


def test_loincs_first_names_are_told_from_later_ones() -> None:
    of = described("glucose")
    assert of["early LOINC"].loc[3004501] == 1
    assert of["early LOINC"].loc[40757503] == 0
