"""Text differences: what a reviewer sees marked in a term and in a concept's name."""

from __future__ import annotations

import pytest

from omop_emb.mapping.records import Candidate, PathStep, Variant
from omop_emb.service.review.text_differences import Span, SpanKind, TextComparison, compare_texts


def compared(
    term: str,
    name: str,
    domain: str = "Condition",
    *,
    variant: Variant | None = None,
    matched: str = "",
    path: tuple[PathStep, ...] = (),
) -> TextComparison:
    candidate = Candidate(
        rank=1,
        concept_id=1,
        concept_name=name,
        domain_id=domain,
        vocabulary_id="SNOMED",
        concept_class_id="Disorder",
        standard_concept="S",
        concept_code="1",
        score=1.0,
        probability=None,
        variant=variant or Variant(term),
        matched_text=matched or name,
        matched_kind="name",
        retrievers={},
        path=path,
    )
    return compare_texts(term, candidate)


def differing(spans: tuple[Span, ...]) -> list[tuple[str, str]]:
    return [(span.text, span.about) for span in spans if span.kind is SpanKind.DIFFERS]


def of_kind(spans: tuple[Span, ...], kind: SpanKind) -> list[str]:
    return [span.text for span in spans if span.kind is kind]


@pytest.mark.parametrize(
    ("term", "name", "domain", "in_term", "in_name"),
    [
        (
            "Fracture of left femur",
            "Fracture of right femur",
            "Condition",
            [("left", "laterality")],
            [("right", "laterality")],
        ),
        (
            "Fraktur li. Knie",
            "Fracture of right knee",
            "Condition",
            [("li.", "laterality")],
            [("right", "laterality")],
        ),
        ("knee pain, R", "Left knee pain", "Condition", [("R", "laterality")], [("Left", "laterality")]),
        ("no chest pain", "Chest pain", "Condition", [("no", "negation")], []),
        (
            "glucose in urine",
            "Glucose [Mass/volume] in Serum or Plasma",
            "Measurement",
            [("urine", "specimen")],
            [("Serum", "specimen"), ("Plasma", "specimen")],
        ),
        (
            "Metformin 500mg tab",
            "metformin 850 MG Oral Tablet",
            "Drug",
            [("500", "strength")],
            [("850", "strength")],
        ),
        ("Metformin 500 mg", "metformin", "Drug", [("500 mg", "strength")], []),
        ("Rh +", "Rh negative", "Measurement", [("+", "polarity")], [("negative", "negation")]),
        ("stage 2 wound", "Stage 3 wound", "Condition", [("2", "number")], [("3", "number")]),
        ("length 5 cm", "length 5 mm", "Measurement", [("cm", "unit")], [("mm", "unit")]),
        ("family history of asthma", "Asthma", "Condition", [("family history", "history")], []),
    ],
)
def test_what_changes_the_meaning_is_marked(
    term: str, name: str, domain: str, in_term: list[tuple[str, str]], in_name: list[tuple[str, str]]
) -> None:
    found = compared(term, name, domain)
    assert differing(found.term) == in_term
    assert differing(found.name) == in_name


def test_the_same_strength_in_another_unit_is_the_same() -> None:
    found = compared("Metformin 0.5 g tab", "metformin 500 MG Oral Tablet", "Drug")
    assert differing(found.term) == differing(found.name) == []
    assert of_kind(found.term, SpanKind.SAME) == ["Metformin 0.5 g tab"]
    assert of_kind(found.name, SpanKind.ONLY) == ["Oral"]


def test_case_punctuation_and_plural_are_no_difference() -> None:
    assert compared("ASTHMAS", "Asthma").is_same
    assert compared("type-2 diabetes", "Type 2 diabetes").is_same
    assert not compared("Rh+", "Rh-").is_same
    assert not compared("", "").is_same


def test_words_that_were_read_in_another_way_are_alike() -> None:
    rewritten = Variant("hypertension", "abbreviation")
    found = compared("HTN", "Hypertensive disorder", variant=rewritten, matched="Hypertension")
    assert of_kind(found.term, SpanKind.LIKE) == ["HTN"]
    assert of_kind(found.name, SpanKind.LIKE) == ["Hypertensive disorder"]
    found = compared("heart attack", "Myocardial infarction", matched="Heart attack")
    assert of_kind(found.term, SpanKind.LIKE) == ["heart attack"]
    path = (PathStep(1, "Old heart attack", "Maps to"),)
    found = compared("heart attack", "Myocardial infarction", path=path)
    assert of_kind(found.name, SpanKind.ONLY) == ["Myocardial infarction"]


@pytest.mark.parametrize(
    "text", ["", " ", "a", "Ünïcode — ßtraße", "5/325 mg (NDC)", "<b>x</b>\n\ty", "\U0001d6fc-1", "1,5.2..3"]
)
def test_the_spans_together_are_the_text(text: str) -> None:
    found = compared(text, text[::-1] or "x", "Drug")
    assert "".join(span.text for span in found.term) == text
    assert "".join(span.text for span in found.name) == (text[::-1] or "x")
