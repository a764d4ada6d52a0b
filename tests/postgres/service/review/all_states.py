"""A review in which every state and equivalence occurs, for the tests of exports."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.mapping.records import MappedValue, Retriever, SourceTerm
from omop_emb.service.review.decision_records import (
    Action,
    Equivalence,
    NewDecision,
    ReviewState,
    Target,
    Verdict,
)
from omop_emb.service.review.decision_store import decide
from omop_emb.service.review.project_records import ReviewTerm
from omop_emb.service.review.project_store import create_project, store_terms
from omop_emb.service.review.suggestion_store import store_suggestions
from omop_emb.service.review.term_keys import group_key, text_key
from tests.small_vocabulary import ConceptRow, SmallVocabulary
from tests.unit.mapping.files.sample_results import candidate, mapped

HYPERTENSION, DISORDER, STAGE_TWO, PRESSURE, HUNDRED, MMHG = 1, 2, 3, 4, 5, 6
APPROVED, FLAGGED = ReviewState.APPROVED, ReviewState.FLAGGED
TERMS = (
    SourceTerm(name="high blood pressure", code="H1", frequency=9, domain="Condition"),
    SourceTerm(name='stage 2 "HTN"\tor more', code="H/2", domain="Condition"),
    SourceTerm(name="HTN", code="H 3"),
    SourceTerm(name="blood pressure of heart", code="H4"),
    SourceTerm(name="asdf", code="X|1"),
    SourceTerm(name="systolic 100 mmHg"),
    SourceTerm(name="not looked at", code="U1"),
    SourceTerm(name="ask somebody", code="F1"),
    SourceTerm(name="a comment of the laboratory", code="I1"),
    SourceTerm(name="essential hypertension", code="I10", source_vocabulary="ICD10CM"),
)
VERDICTS: tuple[Verdict | None, ...] = (
    Verdict(state=APPROVED, targets=(Target(HYPERTENSION),), equivalence=Equivalence.EQUIVALENT),
    # The term says more than the concept: Usagi's NARROWER.
    Verdict(
        state=APPROVED,
        targets=(Target(HYPERTENSION),),
        equivalence=Equivalence.NARROWER,
        comment='no "stage" there\nsee page 2',
    ),
    # The concept says more than the term: Usagi's WIDER.
    Verdict(state=APPROVED, targets=(Target(STAGE_TWO),), equivalence=Equivalence.WIDER),
    Verdict(
        state=APPROVED, targets=(Target(HYPERTENSION), Target(DISORDER)), equivalence=Equivalence.INEXACT
    ),
    Verdict(state=ReviewState.NO_MATCH, equivalence=Equivalence.UNMATCHED, comment="keyboard test"),
    Verdict(
        state=APPROVED,
        targets=(Target(PRESSURE), Target(HUNDRED, "MAPS_TO_VALUE"), Target(MMHG, "MAPS_TO_UNIT")),
        equivalence=Equivalence.EQUAL,
    ),
    None,
    Verdict(state=FLAGGED, targets=(Target(DISORDER),), comment="is it?"),
    Verdict(state=ReviewState.IGNORED),
    Verdict(state=APPROVED, targets=(Target(HYPERTENSION),)),
)


@dataclass(frozen=True)
class DecidedReview:
    """A review in a database of its own."""

    engine: Engine
    project_id: int


def load_concepts(engine: Engine, folder: Path) -> None:
    """The concepts that the review's terms map to."""
    value: dict[str, Any] = {"domain": "Meas Value", "concept_class": "Qualifier Value"}
    SmallVocabulary(engine, folder).load(
        ConceptRow(HYPERTENSION, "Hypertension", code="38341003"),
        ConceptRow(DISORDER, "Disorder of heart", code="56265001"),
        ConceptRow(STAGE_TWO, "Stage 2 hypertension", code="827068005"),
        ConceptRow(PRESSURE, "Systolic pressure", domain="Measurement", vocabulary="LOINC", code="8480-6"),
        ConceptRow(HUNDRED, "100", **value),
        ConceptRow(MMHG, "millimeter mercury column", domain="Unit", vocabulary="UCUM", code="mm[Hg]"),
    )


def begin_review(
    connection: psycopg.Connection, terms: tuple[SourceTerm, ...], name: str = "all states"
) -> int:
    """A review of terms, each with a suggestion; the caller commits."""
    project_id = create_project(
        connection,
        name=name,
        site="north",
        file_name="terms.csv",
        file_digest="ab" * 32,
        settings={},
        created_by="Ada",
        content=io.BytesIO(b"..."),
    )
    store_terms(
        connection,
        project_id,
        [
            ReviewTerm(position=number, term=term, text_key=text_key(term.name), group_key=group_key(term))
            for number, term in enumerate(terms, start=1)
        ],
    )
    best = candidate(
        HYPERTENSION,
        "Hypertension",
        concept_code="38341003",
        retrievers={Retriever.LEXICAL: 0.8},
        mapped_values=(MappedValue("Maps to value", HUNDRED, "100"),),
    )
    store_suggestions(
        connection,
        project_id,
        [(number, mapped(term, best)) for number, term in enumerate(terms, start=1)],
    )
    return project_id


def decide_all(connection: psycopg.Connection, project_id: int) -> None:
    """Ada decides every term that is decided; Bob has said the same of the first, and other of the second."""
    bob = [
        Verdict(state=APPROVED, targets=(Target(HYPERTENSION),)),
        Verdict(state=APPROVED, targets=(Target(DISORDER),)),
    ]
    for position, verdict in enumerate(bob, start=1):
        new = NewDecision(position=position, version=0, verdict=verdict)
        decide(connection, project_id, "Bob", [new])
    for position, decided in enumerate(VERDICTS, start=1):
        if decided is not None:
            version = 1 if position <= len(bob) else 0
            new = NewDecision(position=position, version=version, verdict=decided)
            decide(connection, project_id, "Ada | Lovelace", [new], action=Action.DECIDE)


def decided_review(engine: Engine, folder: Path) -> DecidedReview:
    """The review with all states."""
    load_concepts(engine, folder)
    with session_scope(engine) as session:
        connection = driver_connection(session)
        project_id = begin_review(connection, TERMS)
        decide_all(connection, project_id)
    return DecidedReview(engine, project_id)
