"""Run store: mapping runs in the database, every candidate of every term with the run's provenance."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from omop_emb.mapping.files.result_rows import candidate_rows
from omop_emb.mapping.records import MappedTerm, Provenance

_COPY = (
    "copy omop_emb.mapping_result "
    "(run_id, place, source_code, source_name, rank, concept_id, score, probability, decision, result) "
    "from stdin"
)
ResultRow = tuple[Any, ...]


class RunOrigin(NamedTuple):
    """Where a run's results are from."""

    site: str
    input_name: str
    provenance: Provenance


def result_rows(term_number: int, mapped: MappedTerm) -> list[ResultRow]:
    """A term's rows of mapping_result without the run's id: one per candidate, or one with rank 0."""
    return [
        (
            term_number,
            mapped.term.code,
            mapped.term.name,
            row.get("rank", 0),
            row.get("concept_id", 0),
            row.get("score"),
            row.get("probability"),
            mapped.decision.value,
            json.dumps(row, ensure_ascii=False, default=float),
        )
        for row in candidate_rows(mapped)
    ]


def store_run(connection: psycopg.Connection[Any], origin: RunOrigin, rows: Iterable[ResultRow]) -> int:
    """Store a run in mapping_run and its rows in mapping_result, uncommitted; returns the run's id."""
    inserted = (
        connection.cursor(row_factory=tuple_row)
        .execute(
            "insert into omop_emb.mapping_run (site, input, provenance) "
            "values (%(site)s, %(input)s, %(provenance)s) returning run_id",
            {
                "site": origin.site,
                "input": origin.input_name,
                "provenance": Jsonb(asdict(origin.provenance)),
            },
        )
        .fetchone()
    )
    assert inserted is not None  # noqa: S101 - an insert with returning gives one row
    run_id = int(inserted[0])
    with connection.cursor().copy(_COPY) as copy:
        for row in rows:
            copy.write_row((run_id, *row))
    return run_id
