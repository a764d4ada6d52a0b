"""Term keys: the same but for case, punctuation and plural, and nothing else."""

from __future__ import annotations

import pytest

from omop_emb.mapping.records import SourceTerm
from omop_emb.service.review.term_keys import group_key, text_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Asthma", "ASTHMA."),
        ("biopsy of liver", "Biopsies of liver"),
        ("Crohn's disease", "Crohn\u2019s Disease"),
        ("Crohn's disease", "Crohns diseases"),
        ("fracture, hand", "Fractures (hand)"),
        ("abscess", "abscesses"),
        ("metastasis to bone", "Metastases to bone"),
        ("non-smoker", "Non smoker"),
        ("Arm", "arms"),
        ("10\u00b3/\u00b5L", "10^3/uL"),
        ("HEADACHES", "headache"),
        ("A & E", "A and E"),
        ("\u03b2-blocker", "beta blockers"),
        ("\u2265 5", ">=5"),
    ],
)
def test_case_punctuation_and_plural_make_no_difference(one: str, other: str) -> None:
    assert text_key(one) == text_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("left knee", "right knee"),
        ("Grade 1", "Grade 2"),
        ("1.5 mg", "15 mg"),
        ("1.5 mg", "-1.5 mg"),
        ("Rh+", "Rh-"),
        ("> 5", "< 5"),
        ("> 5", ">= 5"),
        ("10^3", "10^6"),
        ("WBC #", "WBC %"),
        ("WBC #", "WBC"),
        ("? stroke", "stroke"),
        ("hepatitis A/B", "hepatitis A B"),
        ("a\u00f1o", "ano"),
        ('5" screw', "5 screw"),
        ("AIDS", "aid"),
        ("Graves disease", "grave disease"),
        ("means", "mean"),
        ("pus", "pu"),
        ("lens", "len"),
        ("arthrosis", "arthrosi"),
        ("no fever", "fever"),
        ("shingles", "shingle"),
        ("H1N1", "H1N2"),
        ("#", "%"),
        ("\u4f53\u91cd", "\u4f53\u6e29"),
    ],
)
def test_whatever_may_change_the_meaning_makes_a_difference(one: str, other: str) -> None:
    assert text_key(one) != text_key(other)


TERM = SourceTerm(name="Glucose", domain="Measurement", context={"specimen": "blood"})


@pytest.mark.parametrize(
    "other",
    [
        SourceTerm(name="Glucose", domain="Observation", context={"specimen": "blood"}),
        SourceTerm(name="Glucose", domain="Measurement", context={"specimen": "urine"}),
        SourceTerm(name="Glucose", domain="Measurement", context={"ward": "blood"}),
        SourceTerm(name="Glucose", domain="Measurement"),
        SourceTerm(
            name="Glucose", domain="Measurement", context={"specimen": "blood"}, further_names=("sugar",)
        ),
    ],
)
def test_a_group_needs_the_same_domain_context_and_further_names(other: SourceTerm) -> None:
    assert group_key(other) != group_key(TERM)
    same = SourceTerm(name="glucose.", code="7", domain="Measurement", context={"specimen": " Blood"})
    assert group_key(same) == group_key(TERM)


def test_a_unit_keeps_its_case_and_a_code_counts_where_its_vocabulary_is_known() -> None:
    units = [SourceTerm(name=name, domain="Unit") for name in ("mg", "Mg", "mg")]
    assert group_key(units[0]) == group_key(units[2]) != group_key(units[1])
    one, other = (SourceTerm(name="Fall", code=code, source_vocabulary="ICD10") for code in ("W00", "W01"))
    assert group_key(one) != group_key(other)
