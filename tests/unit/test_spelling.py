"""Spelling of the vocabulary's values: what is certain is resolved, what is not is left alone."""

from __future__ import annotations

import pytest

from omop_emb.vocabulary.spelling import closest_values, intended_value, split_values

VOCABULARIES = ("ATC", "CPT4", "ICD10", "ICD10CM", "ICD10CN", "ICD9CM", "LOINC", "RxNorm", "SNOMED", "dm+d")
DOMAINS = ("Condition", "Condition/Meas", "Drug", "Meas Value", "Measurement", "Observation", "Procedure")
CLASSES = ("Clinical Drug", "Clinical Drug Comp", "Disorder", "4-char billing code")


@pytest.mark.parametrize(
    ("existing", "written", "meant"),
    [
        (VOCABULARIES, "ICD10-CM", "ICD10CM"),
        (VOCABULARIES, "icd10cm", "ICD10CM"),
        (VOCABULARIES, "ICD 10 CM", "ICD10CM"),
        (VOCABULARIES, "ICD-10-CM", "ICD10CM"),
        (VOCABULARIES, "ICD_9_CM", "ICD9CM"),
        (VOCABULARIES, "ICD 10", "ICD10"),
        (VOCABULARIES, "icd-10", "ICD10"),
        (VOCABULARIES, "Snomed CT", "SNOMED"),
        (VOCABULARIES, "SNOMED-CT", "SNOMED"),
        (VOCABULARIES, "SNOMEDCT_US", "SNOMED"),
        (VOCABULARIES, "snowmed", "SNOMED"),
        (VOCABULARIES, "LOINC ", "LOINC"),
        (VOCABULARIES, "LNC", "LOINC"),
        (VOCABULARIES, "Rx-Norm", "RxNorm"),
        (VOCABULARIES, "CPT", "CPT4"),
        (VOCABULARIES, "DM&D", "dm+d"),
        (VOCABULARIES, "ICD10MC", None),
        (VOCABULARIES, "ICD10C", None),
        (VOCABULARIES, "ICD9", None),
        (VOCABULARIES, "ICD11", None),
        (VOCABULARIES, "MY_LAB", None),
        (VOCABULARIES, "", None),
        (("ICD10CM",), "ICD10", None),
        (("ICD10CM",), "ICD10CN", None),
        (DOMAINS, "condition", "Condition"),
        (DOMAINS, "Conditions", "Condition"),
        (DOMAINS, "conditon", "Condition"),
        (DOMAINS, "DRUGS", "Drug"),
        (DOMAINS, "measurements", "Measurement"),
        (DOMAINS, "Meas_Value", "Meas Value"),
        (DOMAINS, "Lab", None),
        (CLASSES, "disorders", "Disorder"),
        (CLASSES, "clinical-drug", "Clinical Drug"),
        (("a b", "A-B"), "ab", None),
    ],
)
def test_a_value_is_resolved_only_where_one_can_be_meant(
    existing: tuple[str, ...], written: str, meant: str | None
) -> None:
    assert intended_value(written, existing) == meant


@pytest.mark.parametrize(
    ("existing", "written", "first"),
    [
        (VOCABULARIES, "ICD10CMM", "ICD10CM"),
        (VOCABULARIES, "Snomed CT", "SNOMED"),
        (DOMAINS, "condition", "Condition"),
        (DOMAINS, "drug", "Drug"),
    ],
)
def test_the_nearest_value_comes_first(existing: tuple[str, ...], written: str, first: str) -> None:
    assert closest_values(written, existing)[0] == first


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("ICD10CM,ICD9CM", ["ICD10CM", "ICD9CM"]),
        (" ICD10CM ; ICD9CM ", ["ICD10CM", "ICD9CM"]),
        ("ICD10CM|ICD10CM|", ["ICD10CM"]),
        ("", []),
    ],
)
def test_a_cell_may_hold_several_values(text: str, values: list[str]) -> None:
    assert split_values(text, VOCABULARIES) == values
