"""Laboratory features: analyte, specimen, 24-hour collections, and how old a LOINC name is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from omop_emb.mapping.records import Variant
from omop_emb.mapping.retrieval.queries import Query
from omop_emb.mapping.terms.laboratory import is_24_hour, loinc_axes
from tests.unit.mapping.small_index import features_of, small_index

CONCEPTS = [
    (3004501, "Glucose [Mass/volume] in Serum or Plasma"),
    (3000483, "Glucose [Mass/volume] in Blood"),
    (40757503, "Glucose tolerance [Mass/volume] in Serum or Plasma"),
    (3020682, "Glucose [Mass/time] in 24 hour Urine"),
    (3033408, "Monocytes/100 leukocytes in Blood"),
]


def described(term: str) -> pd.DataFrame:
    """The features of all candidates of a term, by concept id."""
    index = small_index(
        [
            {
                "concept_id": concept_id,
                "concept_name": name,
                "domain_id": "Measurement",
                "vocabulary_id": "LOINC",
            }
            for concept_id, name in CONCEPTS
        ]
    )
    return features_of(Query.of((Variant(term),), "Measurement"), index)


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
    assert loinc_axes(name) == stated


def test_an_analyte_is_compared_without_specimen_and_words_for_measuring() -> None:
    features = described("Glucose in serum")
    assert features["analyte in the term"].loc[3004501] == pytest.approx(1)
    assert features["term is the analyte"].loc[3004501] == pytest.approx(1)
    assert 0 < features["analyte in the term"].loc[40757503] < 1


def test_blood_may_mean_serum_but_urine_may_not() -> None:
    blood, urine = described("Glucose in blood"), described("Glucose in urine")
    assert blood["serum or plasma for blood"].loc[3004501] == 1
    assert blood["serum or plasma for blood"].loc[3000483] == 0
    assert not urine["serum or plasma for blood"].any()


def test_24_hours_agree_only_if_the_term_names_them() -> None:
    assert is_24_hour("24 hr Glucose")
    assert is_24_hour("dU-Gluk")
    assert not is_24_hour("U-Gluk")
    with_24_hours, plain = described("24 hr glucose in urine"), described("glucose in urine")
    assert list(np.flatnonzero(with_24_hours["24 hours agree"])) == [list(with_24_hours.index).index(3020682)]
    assert plain["24 hours only in the concept"].loc[3020682] == 1


def test_early_loinc_names_have_a_feature() -> None:
    features = described("glucose")
    assert features["early LOINC"].loc[3004501] == 1
    assert features["early LOINC"].loc[40757503] == 0
