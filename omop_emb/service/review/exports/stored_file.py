"""The file that a review came from, as it was stored, read like any other file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from omop_emb.mapping.files.file_format import FileKind
from omop_emb.mapping.files.input_file import InputFile
from omop_emb.mapping.files.read_options import ReadOptions
from omop_emb.mapping.files.table_file import TableFile
from omop_emb.mapping.files.usagi_file import UsagiFile
from omop_emb.mapping.files.usagi_values import is_usagi_header
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.project_store import file_content


@contextmanager
def stored_file(connection: psycopg.Connection[Any], project: Project) -> Iterator[InputFile]:
    """The stored bytes, in an anonymous temporary file that is gone at the end of the block."""
    with tempfile.TemporaryFile(prefix="omop-emb-") as copy:
        for piece in file_content(connection, project.project_id):
            copy.write(piece)
        copy.flush()
        with InputFile(project.file_name, content=copy) as source:
            yield source


def stored_table(source: InputFile, settings: Mapping[str, object]) -> TableFile:
    """The stored file as a table, read with the settings of its review."""
    of_file = settings.get("file")
    settings = of_file if isinstance(of_file, Mapping) else settings
    kind = settings.get("kind")
    given: dict[str, Any] = {}
    if kind in (FileKind.DELIMITED.value, FileKind.USAGI.value) and settings.get("encoding"):
        given = {"encoding": settings["encoding"], "separator": settings.get("separator")}
    if settings.get("sheet"):
        given = {"sheet": settings["sheet"]}
    if given and isinstance(settings.get("header_line"), int):
        given["header_row"] = settings["header_line"]
    return TableFile(source, ReadOptions(**given))


def as_usagi(table: TableFile) -> UsagiFile | None:
    """A table as the file that Usagi saved; None if it has not Usagi's columns."""
    if table.is_usagi_csv and table.encoding is not None:
        return UsagiFile(table.source, table.encoding)
    return UsagiFile(table.source, table=table) if is_usagi_header(table.headers) else None


def source_headers(connection: psycopg.Connection[Any], project_id: int, table: TableFile) -> list[str]:
    """The columns that the terms of a review have beside code, name and frequency, in the file's order."""
    row = connection.cursor(row_factory=tuple_row).execute(
        "select array(select jsonb_object_keys(term -> 'extra')) from omop_emb.review_term "
        "where project_id = %s order by position limit 1",
        (project_id,),
    )
    found = row.fetchone()
    names: list[str] = found[0] if found else []
    order = {header: place for place, header in enumerate(table.headers)}
    return sorted(names, key=lambda name: order.get(name, len(order)))
