"""Space export: a space written into one Parquet file, in flat memory, for other sites to import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from psycopg import sql
from sqlalchemy import Engine

from omop_emb.arrays import HalfVectors
from omop_emb.database.binary_format import load_half_vectors_as_bytes
from omop_emb.errors import SpaceError
from omop_emb.indexing import space_file
from omop_emb.indexing.connections import Connection, open_connection
from omop_emb.indexing.report import Phase, Progress, ProgressCallback
from omop_emb.indexing.space_file import SpaceMetadata
from omop_emb.indexing.status import space_status
from omop_emb.records import TextKind
from omop_emb.spaces import registry
from omop_emb.spaces.registry import Space
from omop_emb.spaces.tables import TEXT_COLUMNS

_BATCH_ROWS = 5000
_Batch = tuple[dict[str, list[Any]], HalfVectors]  # of TEXT_COLUMNS, and (n, dimensions)


def export_index(
    engine: Engine, path: Path, name: str | None = None, *, on_progress: ProgressCallback | None = None
) -> SpaceMetadata:
    """Write one state of a space into a Parquet file, which appears completely or not at all.

    Names that a site approved are left out: they belong to the site, and may be clinical text.

    Args:
        engine: the database.
        path: the file; an existing one is replaced.
        name: of the space; by default the active one.
        on_progress: called with the progress of the export.

    Returns:
        What the file says about the space.

    Raises:
        SpaceNotFoundError: there is no such space.
        SpaceError: it is being built.
        InputError: the file cannot be written, or does not end in .parquet.
        MissingExtraError: pyarrow is not installed.
    """
    space_file.check_space_file_name(path)
    with open_connection(engine) as connection:
        connection.execute("set transaction isolation level repeatable read, read only")
        space = (
            registry.active_space(connection) if name is None else registry.space_by_name(connection, name)
        )
        metadata = space_metadata(connection, space)
        batches = space_batches(connection, space)
        batches = _with_progress(batches, metadata.rows, on_progress or (lambda _: None))
        space_file.write_space_file(path, metadata, batches)
    return metadata


def space_metadata(connection: Connection, space: Space) -> SpaceMetadata:
    """What an exported copy says about a space; SpaceError if it is being built."""
    status = space_status(connection, space)
    if status.pending_texts is not None:
        raise SpaceError(
            f"space {space.name!r} has an unfinished build: run {registry.build_command(space.name)}, then "
            "copy it"
        )
    row = connection.execute(
        sql.SQL("select count(*) from {} where text_kind <> {}").format(
            space.tables.texts, sql.Literal(TextKind.ALIAS.value)
        )
    ).fetchone()
    return SpaceMetadata(
        fingerprint=space.fingerprint,
        index_type=space.index_type,
        texts=space.texts,
        template=space.template,
        synonym_languages=space.synonym_languages,
        hnsw_m=space.hnsw_m,
        hnsw_ef_construction=space.hnsw_ef_construction,
        first_pass=space.first_pass,
        partial=space.partial,
        selection=status.selection,
        vocabulary_release=space.vocabulary_release,
        rows=row[0] if row else 0,
    )


def _with_progress(batches: Iterator[_Batch], rows: int, on_progress: ProgressCallback) -> Iterator[_Batch]:
    written = 0
    for columns, halves in batches:
        yield columns, halves
        written += len(halves)
        on_progress(Progress(Phase.WRITE_FILE, fraction=written / rows))


def space_batches(connection: Connection, space: Space) -> Iterator[_Batch]:
    """The rows of a space but for approved names: its text table's columns, and (n, dimensions) vectors."""
    # By default a cursor is planned for its first rows, with an index that reads the table at random.
    connection.execute("select set_config('cursor_tuple_fraction', '1', true)")
    statement = sql.SQL(
        "select {columns}, embedding from {texts} join {rows} using (concept_id, text_kind, text_hash) "
        "where text_kind <> {alias}"
    ).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, TEXT_COLUMNS)),
        texts=space.tables.texts,
        rows=space.tables.rows,
        alias=sql.Literal(TextKind.ALIAS.value),
    )
    dimensions = space.fingerprint.dimensions
    with connection.cursor("omop_emb_export", binary=True) as cursor:
        load_half_vectors_as_bytes(cursor.adapters)
        cursor.execute(statement)
        while rows := cursor.fetchmany(_BATCH_ROWS):
            *columns, vectors = zip(*rows, strict=True)
            # A binary halfvec: its dimensions and an unused field, 16 bits each, then the numbers.
            block = np.frombuffer(b"".join(vectors), ">u2").reshape(len(rows), dimensions + 2)
            named = dict(zip(TEXT_COLUMNS, map(list, columns), strict=True))
            named["text_kind"] = [TextKind(kind).value for kind in named["text_kind"]]
            yield named, block[:, 2:].view(">f2").astype("<f2")
