"""Project store: reviews, the files they came from, and their terms."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, BinaryIO

import psycopg
from psycopg.rows import dict_row, tuple_row
from psycopg.types.json import Jsonb

from omop_emb.database.fetch import fetch_value
from omop_emb.database.migrations import migrate
from omop_emb.errors import InputError
from omop_emb.mapping.records import SourceTerm
from omop_emb.service.review.decision_records import (
    reviewer_name,
)
from omop_emb.service.review.project_records import (
    Project,
    ReadingReport,
    ReviewTerm,
)

_LONGEST_KEY = 2_000  # bytes
_PIECE = 1 << 20  # bytes of a file in one row
_PROJECTS = (
    "select project_id, name, site, file_name, file_digest, settings, "
    "coalesce(provenance, '{}') as provenance, created_by, created_at, read_at, ready_at, reading, "
    # Counted only while terms are being read: it takes a while for 100,000.
    "coalesce((reading ->> 'terms')::integer, (select count(*) from omop_emb.review_term as term "
    "where term.project_id = project.project_id)) as terms "
    "from omop_emb.review_project as project "
)


def create_project(
    connection: psycopg.Connection[Any],
    *,
    name: str,
    site: str,
    file_name: str,
    file_digest: str,
    settings: Mapping[str, object],
    created_by: str,
    content: BinaryIO,
) -> int:
    """Begin a project with the bytes of its file; returns its id. The caller commits.

    Raises:
        InputError: a project has that name already, or the name is empty.
    """
    migrate(connection)
    name = name.strip()
    if not name or not name.isprintable():
        raise InputError("a review needs a name of printable characters")
    project_id = fetch_value(
        connection,
        "insert into omop_emb.review_project (name, site, file_name, file_digest, settings, created_by) "
        "values (%s, %s, %s, %s, %s, %s) on conflict do nothing returning project_id",
        (name, site, file_name, file_digest, Jsonb(dict(settings)), reviewer_name(created_by)),
    )
    if project_id is None:
        raise InputError(f"there is a review named {name!r} already: give this one another name")
    pieces = enumerate(iter(lambda: content.read(_PIECE), b""))
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into omop_emb.review_file (project_id, piece, content) values (%s, %s, %s)",
            ((project_id, number, piece) for number, piece in pieces),
        )
    return int(project_id)


def list_projects(connection: psycopg.Connection[Any]) -> list[Project]:
    """All projects, the latest first; none where the schema is older than reviews."""
    if not has_review_tables(connection):
        return []
    rows = connection.cursor(row_factory=dict_row).execute(_PROJECTS + "order by project_id desc")
    return [_project(row) for row in rows]


def find_project(connection: psycopg.Connection[Any], project: int | str) -> Project:
    """The project with an id, or a name.

    Raises:
        InputError: there is none.
    """
    rows = []
    if has_review_tables(connection):
        cursor = connection.cursor(row_factory=dict_row)
        if isinstance(project, int):
            rows = cursor.execute(_PROJECTS + "where project_id = %s", (project,)).fetchall()
        else:
            rows = cursor.execute(_PROJECTS + "where name = %s", (project,)).fetchall()
    if not rows:
        raise InputError(f"there is no review {project!r}: omop-emb review --list shows all")
    return _project(rows[0])


def _project(row: dict[str, Any]) -> Project:
    return Project(**{**row, "reading": ReadingReport(**row["reading"])})


def mark_ready(connection: psycopg.Connection[Any], project_id: int) -> None:
    """Record that all terms of a project have been read and mapped."""
    connection.execute(
        "update omop_emb.review_project set ready_at = clock_timestamp() "
        "where project_id = %s and ready_at is null",
        (project_id,),
    )


def store_provenance(
    connection: psycopg.Connection[Any], project_id: int, provenance: Mapping[str, object]
) -> None:
    """Record what the first suggestions of a project were made with."""
    connection.execute(
        "update omop_emb.review_project set provenance = %s where project_id = %s and provenance is null",
        (Jsonb(dict(provenance)), project_id),
    )


def delete_project(connection: psycopg.Connection[Any], project_id: int) -> None:
    """Delete a project with its file, terms and decisions; what was approved stays remembered."""
    connection.execute("delete from omop_emb.review_project where project_id = %s", (project_id,))


def file_content(connection: psycopg.Connection[Any], project_id: int) -> Iterator[bytes]:
    """The bytes of a project's file, in pieces."""
    with connection.cursor(name="review_file", row_factory=tuple_row) as cursor:
        cursor.itersize = 8
        cursor.execute(
            "select content from omop_emb.review_file where project_id = %s order by piece", (project_id,)
        )
        for (piece,) in cursor:
            yield bytes(piece)


def store_terms(connection: psycopg.Connection[Any], project_id: int, terms: Iterable[ReviewTerm]) -> None:
    """Add terms to a project; the caller commits."""
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "copy omop_emb.review_term (project_id, position, line, source_code, source_name, frequency, "
            "domain, text_key, group_key, term, source_state) from stdin"
        ) as copy,
    ):
        for one in terms:
            term = one.term
            copy.write_row(
                (
                    project_id,
                    one.position,
                    term.line or 0,
                    term.code,
                    term.name,
                    term.frequency,
                    term.domain,
                    _indexed(one.text_key),
                    _indexed(one.group_key),
                    Jsonb({**asdict(term), "context": dict(term.context), "extra": dict(term.extra)}),
                    one.source_state,
                )
            )


def _indexed(key: str) -> str:
    """A key, or of a long one its beginning and digest: an index of PostgreSQL holds about 2,700 bytes."""
    encoded = key.encode()
    if len(encoded) <= _LONGEST_KEY:
        return key
    return f"{key[: _LONGEST_KEY // 8]}\u2026{hashlib.sha256(encoded).hexdigest()}"


def read_terms(
    connection: psycopg.Connection[Any], project_id: int, positions: Iterable[int] | None = None
) -> list[ReviewTerm]:
    """Terms of a project by position, or all of them, in the order of the file."""
    wanted = None if positions is None else list(positions)
    rows = connection.cursor(row_factory=dict_row).execute(
        "select position, text_key, group_key, term, source_state from omop_emb.review_term "
        "where project_id = %(project)s "
        "and (%(positions)s::integer[] is null or position = any(%(positions)s)) order by position",
        {"project": project_id, "positions": wanted},
    )
    return [ReviewTerm(**{**row, "term": source_term(row["term"])}) for row in rows]


def has_review_tables(connection: psycopg.Connection[Any]) -> bool:
    """Whether the schema has the tables of reviews."""
    return bool(fetch_value(connection, "select to_regclass('omop_emb.review_project') is not null"))


def source_term(values: dict[str, Any]) -> SourceTerm:
    """The term of a row's column `term`."""
    tuples = {name: tuple(values[name]) for name in ("further_names", "suggestions")}
    return SourceTerm(**{**values, **tuples})
