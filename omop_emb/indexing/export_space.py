"""A space written into one file, in flat memory, for other sites to load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from psycopg import sql
from sqlalchemy import Engine

from omop_emb.atomic_file import atomic_write
from omop_emb.errors import SpaceError
from omop_emb.indexing import space_file
from omop_emb.indexing.connections import open_connection
from omop_emb.indexing.report import Phase, Progress, ProgressCallback
from omop_emb.indexing.space_file import SpaceMetadata
from omop_emb.indexing.status import space_status
from omop_emb.records import TextKind
from omop_emb.spaces import registry
from omop_emb.spaces.registry import Space
from omop_emb.spaces.tables import TEXT_COLUMNS

_BATCH_ROWS = 5000


def export_index(
    engine: Engine, path: Path, name: str | None = None, *, progress: ProgressCallback | None = None
) -> SpaceMetadata:
    """Write a space into a Parquet file, which appears whole or not at all; what was written.

    It is one state of the space, whatever is written meanwhile. Names that a site approved are left out:
    they are its own, and may be clinical text.

    Args:
        engine: the database.
        path: the file; one that is there is replaced.
        name: of the space; None is the active one.
        progress: is told how far it is.

    Raises:
        SpaceNotFoundError: there is no such space.
        SpaceError: it is being built.
        InputError: the file cannot be written.
        MissingExtraError: pyarrow is not installed.
    """
    _, parquet = space_file.import_parquet()
    tell = progress or (lambda _: None)
    with open_connection(engine) as connection:
        connection.execute("set transaction isolation level repeatable read, read only")
        space = (
            registry.active_space(connection) if name is None else registry.space_by_name(connection, name)
        )
        description = _description(connection, space)
        schema = space_file.schema(space.fingerprint.dimensions, description)
        done = 0
        with (
            atomic_write(path) as handle,
            # Vectors are as good as random: nothing but time is gained by compressing or indexing them.
            parquet.ParquetWriter(
                handle,
                schema,
                compression=dict.fromkeys(TEXT_COLUMNS, "zstd") | {"embedding": "none"},
                use_dictionary=["domain_id", "vocabulary_id", "concept_class_id"],
                write_statistics=["concept_id"],
            ) as writer,
        ):
            for columns, halves in _batches(connection, space):
                writer.write_batch(space_file.record_batch(columns, halves))
                done += len(halves)
                tell(Progress(Phase.WRITE_FILE, fraction=done / description.rows))
    return description


def _description(connection: psycopg.Connection[Any], space: Space) -> SpaceMetadata:
    found = space_status(connection, space)
    if found.waiting is not None:
        raise SpaceError(
            f"space {space.name!r} is not built to the end: run omop-emb index build, then export it"
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
        selection=found.selection,
        vocabulary_release=space.vocabulary_release,
        rows=row[0] if row else 0,
    )


def _batches(
    connection: psycopg.Connection[Any], space: Space
) -> Iterator[tuple[dict[str, list[Any]], np.ndarray[tuple[int, int], np.dtype[np.float16]]]]:
    # All rows are read: by default a cursor is planned for the first ones, by an index that jumps about.
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
        cursor.execute(statement)
        while found := cursor.fetchmany(_BATCH_ROWS):
            *columns, vectors = zip(*found, strict=True)
            block = np.frombuffer(b"".join(vectors), ">u2").reshape(len(found), dimensions + 2)
            named = dict(zip(TEXT_COLUMNS, map(list, columns), strict=True))
            named["text_kind"] = [_text(kind) for kind in named["text_kind"]]
            yield named, block[:, 2:].view(">f2").astype("<f2")


def _text(kind: bytes | str) -> str:
    """PostgreSQL's "char", which comes as bytes in binary."""
    return kind.decode() if isinstance(kind, bytes) else kind
