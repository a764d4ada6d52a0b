"""Abbreviations that a vocabulary's own names and synonyms explain."""

from __future__ import annotations

import pytest

from omop_emb.mapping.terms.harvested_abbreviations import harvest, is_short_form
from omop_emb.mapping.terms.variants import query_variants
from tests.unit.mapping.small_index import small_index


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("XQI - Xanthic quiet infarction", ("XQI", "Xanthic quiet infarction")),
        ("RhA - Rheumatoid arthritis", ("RhA", "Rheumatoid arthritis")),
        ("COPD - Chronic obstructive pulmonary disease", ("COPD", "Chronic obstructive pulmonary disease")),
        ("Oral erythropoietin (EPO) [Units/volume] in Serum", ("EPO", "erythropoietin")),
        ("Cells by Flow cytometry (FC)", ("FC", "Flow cytometry")),
        (
            "SCID (severe combined immunodeficiency) due to absence",
            ("SCID", "severe combined immunodeficiency"),
        ),
        ("Carcinoma of the breast (CB)", ("CB", "Carcinoma of the breast")),
    ],
)
def test_an_explanation_is_read(text: str, pair: tuple[str, str]) -> None:
    assert harvest([(0, text)]) == {pair[0]: ((pair[1], 1),)}


@pytest.mark.parametrize(
    "text",
    [
        "GI - Gastrointestinal hemorrhage",  # the bleeding has no letter
        "Medroxyprogesterone (US)",
        "Bushel (US)",
        "Cells (count)",
        "DC - Docetaxel",
        "PSA - PSA measurement",
        "T-cell - natural",
    ],
)
def test_what_explains_no_short_form_is_none(text: str) -> None:
    assert harvest([(0, text)]) == {}


def test_alternatives_are_counted_by_concept_and_the_commonest_is_first() -> None:
    texts = [
        (1, "QF - Quick fox"),
        (2, "Red quiet fire (QF)"),
        (3, "QF - quiet fire"),
        (3, "QF - Quiet fire"),
    ]
    assert harvest(texts)["QF"] == (("quiet fire", 2), ("Quick fox", 1))


def test_every_word_has_a_letter_in_order() -> None:
    assert is_short_form("OAS", "Osteoarthritis of shoulder")
    assert not is_short_form("OS", "Shoulder osteoarthritis")


def test_each_meaning_is_a_variant_beside_the_original() -> None:
    index = small_index(
        [
            {"concept_id": 1, "concept_name": "QFX - Quick fox xeroderma"},
            {"concept_id": 2, "concept_name": "Quiet fire xanthoma (QFX)"},
        ]
    )

    def texts(text: str) -> list[str]:
        found = query_variants(text, domain="Condition", harvested=index.abbreviations)
        return [variant.text for variant in found if variant.rule == "abbreviation in the vocabulary"]

    assert texts("QFX of left arm") == ["Quick fox xeroderma of left arm", "Quiet fire xanthoma of left arm"]
    assert len(texts("QFX")) == 2
    assert texts("NO QFX FOUND") == []  # in capitals alone, it may be a word
    assert texts("qfx of left arm") == []
    variants = query_variants("QFX", rules=("clean",), harvested=index.abbreviations)
    assert {variant.rule for variant in variants} <= {"original", "clean"}
