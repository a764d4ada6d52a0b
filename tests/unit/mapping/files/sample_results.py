"""Mapped terms for the tests of files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omop_emb.mapping.records import (
    Candidate,
    Decision,
    MappedTerm,
    MappedValue,
    PathStep,
    Provenance,
    Retriever,
    SourceTerm,
    Variant,
)

PROVENANCE = Provenance(
    space_id=1,
    model="local:all-MiniLM-L6-v2",
    fingerprint="ab" * 32,
    vocabulary="v5.0 27-FEB-25",
    ranker="default-1",
    calibrated=True,
    accept_precision=None,
    accept_untrained=False,
    version="0.1.0",
)


def candidate(concept_id: int, name: str = "Cough", rank: int = 1, **changed: Any) -> Candidate:
    values: dict[str, Any] = {
        "rank": rank,
        "concept_id": concept_id,
        "concept_name": name,
        "domain_id": "Condition",
        "vocabulary_id": "SNOMED",
        "concept_class_id": "Clinical Finding",
        "standard_concept": "S",
        "concept_code": "49727002",
        "score": 2.5,
        "probability": 0.75,
        "variant": Variant("cough"),
        "matched_text": name,
        "matched_kind": "name",
        "retrievers": {Retriever.DENSE: 0.91, Retriever.LEXICAL: 0.8},
    }
    return Candidate(**{**values, **changed})


def mapped(
    term: SourceTerm,
    *candidates: Candidate,
    decision: Decision = Decision.REVIEW,
    reason: str = "nothing is accepted without review",
    probability: float | None = 0.75,
    **changed: Any,
) -> MappedTerm:
    values: dict[str, Any] = {
        "term": term,
        "candidates": candidates,
        "decision": decision,
        "reason": reason,
        "probability": probability,
        "priority": 1.0,
        "provenance": PROVENANCE,
    }
    return MappedTerm(**{**values, **changed})


def rich(term: SourceTerm, extra: Mapping[str, Any] | None = None) -> MappedTerm:
    """A term with everything that a result can have."""
    first = candidate(
        254761,
        path=(PathStep(1, "Hoesten", "Maps to"),),
        mapped_values=(
            MappedValue("Maps to value", 317009, "Asthma"),
            MappedValue("Maps to value", 4191479, "Tuberculosis"),
            MappedValue("Maps to unit", 9529, "kilogram"),
        ),
        flags=("laterality: left, not right",),
        judged=True,
    )
    second = candidate(257581, "Exacerbation of asthma", rank=2, probability=None)
    return mapped(term, first, second, by_code=(254761,), judge="254761: it is a cough", **(extra or {}))
