"""Import store: imported terms as rows, with the decisions and assignments of their file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

from omop_emb.database.fetch import fetch_value
from omop_emb.mapping.records import SourceTerm
from omop_emb.service.review.decision_records import Action
from omop_emb.service.review.imports.imported_term import ImportedTerm
from omop_emb.service.review.project_records import Project, ReviewTerm
from omop_emb.service.review.project_store import store_terms
from omop_emb.service.review.term_keys import group_key, text_key


def store_imported(
    connection: psycopg.Connection[Any], project: Project, first: int, imported: Sequence[ImportedTerm]
) -> None:
    """Add terms from a position on, and what their file says about them; the caller commits."""
    numbered = list(enumerate(imported, start=first))
    store_terms(connection, project.project_id, (_review_term(position, one) for position, one in numbered))
    decided = [(position, one) for position, one in numbered if one.verdict is not None]
    if decided:
        _store_decisions(connection, project, decided)
    assigned = [(position, one.assigned_to) for position, one in numbered if one.assigned_to]
    if assigned:
        statement = "copy omop_emb.review_assignment (project_id, position, reviewer, assigned_by) from stdin"
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            for position, reviewer in assigned:
                copy.write_row((project.project_id, position, reviewer, project.created_by))


def stored_terms(connection: psycopg.Connection[Any], project_id: int) -> int:
    """How many of a project's terms are stored; they are the first ones of its file."""
    return int(
        fetch_value(
            connection,
            "select coalesce(max(position), 0) from omop_emb.review_term where project_id = %s",
            (project_id,),
        )
    )


def _store_decisions(
    connection: psycopg.Connection[Any], project: Project, decided: Sequence[tuple[int, ImportedTerm]]
) -> None:
    """Decisions on terms that this transaction added, so that no others can be there."""
    batch_id, now = _batch(connection, project), datetime.now(UTC)
    statement = (
        "copy omop_emb.review_decision (project_id, position, version, request_id, reviewer, decided_at, "
        "action, state, targets, mapping_types, equivalence, comment, batch_id) from stdin"
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for position, one in decided:
            verdict = one.verdict
            assert verdict is not None  # noqa: S101 - the caller chose those with one
            copy.write_row(
                (
                    project.project_id,
                    position,
                    1,
                    uuid4(),
                    one.reviewer or project.created_by,
                    one.decided_at or now,
                    Action.IMPORT.value,
                    verdict.state.value,
                    [target.concept_id for target in verdict.targets],
                    [target.mapping_type for target in verdict.targets],
                    verdict.equivalence.value,
                    verdict.comment,
                    batch_id,
                )
            )


def _batch(connection: psycopg.Connection[Any], project: Project) -> UUID:
    """The batch of a project's imported decisions."""
    found: UUID | None = fetch_value(
        connection,
        "select batch_id from omop_emb.review_batch where project_id = %s and kind = 'import'",
        (project.project_id,),
    )
    if found is not None:
        return found
    made = uuid4()
    connection.execute(
        "insert into omop_emb.review_batch (batch_id, project_id, kind, reviewer, details) "
        "values (%s, %s, 'import', %s, %s)",
        (made, project.project_id, project.created_by, Jsonb({"file": project.file_name})),
    )
    return made


def _review_term(position: int, one: ImportedTerm) -> ReviewTerm:
    term = _storable(one.term)
    return ReviewTerm(
        position=position,
        term=term,
        text_key=text_key(term.name),
        group_key=group_key(term),
        source_state=_text(one.source_state),
    )


def _storable(term: SourceTerm) -> SourceTerm:
    """A term with texts that the database has: without NUL, and without half a surrogate pair."""
    return replace(
        term,
        name=_text(term.name),
        code=_text(term.code),
        domain=None if term.domain is None else _text(term.domain),
        source_vocabulary=None if term.source_vocabulary is None else _text(term.source_vocabulary),
        further_names=tuple(map(_text, term.further_names)),
        translation=_text(term.translation),
        context={_text(name): _text(value) for name, value in term.context.items()},
        extra={_text(name): _text(value) for name, value in term.extra.items()},
    )


def _text(text: str) -> str:
    return text.replace("\0", "").encode("utf-8", "replace").decode()
