"""Reviews for the tests of exports: made of the bytes of a file, mapped and decided by hand."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import psycopg

from omop_emb.mapping.files.term_file import TermFile, open_terms
from omop_emb.mapping.files.usagi_file import UsagiMapping
from omop_emb.mapping.records import SourceTerm
from omop_emb.service.review.decision_records import (
    Action,
    DecisionResult,
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
from tests.unit.mapping.files.sample_results import candidate, mapped

ASTHMA, DIABETES, HYPERTENSION = 317009, 201826, 316866
HYPERTENSIVE = 320128  # essential hypertension


def make_review(
    connection: psycopg.Connection[Any], content: bytes, *, name: str = "review", file_name: str = "terms.csv"
) -> int:
    """A review of a file's terms; of Usagi's file all source codes are terms, whatever their state."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file_name
        path.write_bytes(content)
        with open_terms(path) as file:
            terms = [*_usagi_terms(file)] if file.usagi is not None else [(term, "") for term in file]
            settings = file.settings
    project_id = create_project(
        connection,
        name=name,
        site="north",
        file_name=file_name,
        file_digest=hashlib.sha256(content).hexdigest(),
        settings=settings,
        created_by="Ada",
        content=io.BytesIO(content),
    )
    store_terms(
        connection,
        project_id,
        [
            ReviewTerm(
                position=position,
                term=term,
                text_key=text_key(term.name),
                group_key=group_key(term),
                source_state=state,
            )
            for position, (term, state) in enumerate(terms, start=1)
        ],
    )
    return project_id


def suggest(
    connection: psycopg.Connection[Any],
    project_id: int,
    position: int,
    term: SourceTerm,
    *concepts: tuple[int, str],
    probability: float | None = 0.75,
) -> None:
    """Store candidates for a term."""
    found = [candidate(concept_id, name, rank) for rank, (concept_id, name) in enumerate(concepts, start=1)]
    result = mapped(term, *found, probability=probability)
    store_suggestions(connection, project_id, [(position, result)])


def verdict(
    state: str,
    *targets: int | tuple[int, str],
    equivalence: Equivalence = Equivalence.EQUIVALENT,
    comment: str = "",
) -> Verdict:
    """A verdict; a target is an id, or one with its mapping type."""
    return Verdict(
        state=ReviewState(state),
        targets=tuple(Target(one) if isinstance(one, int) else Target(*one) for one in targets),
        equivalence=equivalence,
        comment=comment,
    )


def decided(
    connection: psycopg.Connection[Any],
    project_id: int,
    position: int,
    said: Verdict,
    *,
    version: int = 0,
    reviewer: str = "Ada",
    action: Action = Action.DECIDE,
) -> DecisionResult:
    """Decide a term."""
    new = NewDecision(position=position, version=version, verdict=said)
    (result,) = decide(connection, project_id, reviewer, [new], action=action)
    return result


def _usagi_terms(file: TermFile) -> Iterable[tuple[SourceTerm, str]]:
    assert file.usagi is not None
    for mapping in file.usagi.mappings():
        if not mapping.problem:
            yield _usagi_term(mapping, file.extra_headers), mapping.status


def _usagi_term(mapping: UsagiMapping, headers: Sequence[str]) -> SourceTerm:
    code, name = mapping.key
    extra = {header: mapping.rows[0].get(f"ADD_INFO:{header}", "") for header in headers}
    return SourceTerm(name=name, code=code, line=mapping.line, extra=extra)
