"""States: what is in a database and a folder, without what no two runs have in common."""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path
from typing import TypeAlias

import psycopg
from psycopg.sql import SQL, Identifier, Literal

TableStates: TypeAlias = dict[str, list[tuple[int, str]]]
"""Rows and digest of each table; those that differ in numbers alone stand under one name."""

# Numbers that the database gives, times, transactions; and a table of random ids that name a space's state.
_VOLATILE_TYPES = ("timestamp with time zone", "uuid", "xid8", "smallint")
_VOLATILE_COLUMNS = (
    *("project_id", "decision_id", "undoes"),  # of sequences, in which a kill leaves gaps
    *("space_id", "release_id", "run_id", "memory_id", "ranker_id", "job_id", "recall_sample", "recall"),
    *("partial_recall", "chunk", "sha256", "fingerprint"),
    "model",  # that of a local one is its folder, which differs from run to run
)
_VOLATILE_TABLES = ("space_write", "space_count", "label")


# Files that say when they were made: milliseconds since 1970, or ISO 8601.
_WITH_TIMES = (".usagi.csv", "report.json")
_TIMES = re.compile(rb"\b1[0-9]{12}\b|20[0-9]{2}-[0-9]{2}-[0-9]{2}[T ][0-9:+]+")


def database_state(url: str) -> TableStates:
    """Of every table of the schema omop_emb."""
    state: TableStates = {}
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "select table_name::text, array_agg(column_name::text) filter (where data_type = any(%s))"
            " from information_schema.columns where table_schema = 'omop_emb' group by 1 order by 1",
            (list(_VOLATILE_TYPES),),
        ).fetchall()
        for table, volatile in tables:
            if table in _VOLATILE_TABLES:
                continue
            query = SQL(
                "select count(*), coalesce(md5(string_agg(row, '' order by row)), '') from"
                " (select md5((to_jsonb(t) - {}::text[])::text) as row from omop_emb.{} t) rows"
            ).format(Literal([*(volatile or ()), *_VOLATILE_COLUMNS]), Identifier(table))
            row = connection.execute(query).fetchone()
            assert row is not None
            state.setdefault(re.sub(r"\d+", "N", table), []).append((row[0], row[1]))
    return {table: sorted(rows) for table, rows in state.items()}


def folder_state(folder: Path) -> dict[str, str]:
    """A digest of each file, by its path; of a workbook without the time at which it was made."""
    return {
        str(path.relative_to(folder)): _digest(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _digest(path: Path) -> str:
    if path.suffix == ".xlsx" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as book:
            names = [name for name in sorted(book.namelist()) if "docProps" not in name]
            parts = [_TIMES.sub(b"", book.read(name)) for name in names]
        return hashlib.sha256(b"".join(parts)).hexdigest()
    if path.suffix == ".dump":  # holds its time; what is in it is compared by the test that restores it
        return "a dump" if path.read_bytes()[:5] == b"PGDMP" else "half a dump"
    content = path.read_bytes()
    if path.name.endswith(_WITH_TIMES):
        content = _TIMES.sub(b"", content)
    return hashlib.sha256(content).hexdigest()
