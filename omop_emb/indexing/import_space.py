"""Space import: a space created from the file that another site exported, if model and vocabulary match."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from psycopg import errors as postgres, sql
from sqlalchemy import Engine

from omop_emb.database import migrations
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import InputError, SpaceError, SpaceMismatchError, SpaceNotFoundError, VocabularyError
from omop_emb.indexing import space_file
from omop_emb.indexing.build_plan import discard_plan
from omop_emb.indexing.connections import Connection, open_connection
from omop_emb.indexing.report import Phase, Progress, ProgressCallback
from omop_emb.indexing.space_file import SpaceMetadata
from omop_emb.indexing.verify import NORM_TOLERANCE
from omop_emb.records import Concept, IndexType, TextKind
from omop_emb.safe_files.parquet_file import SafeParquetFile
from omop_emb.search.prepare_space import prepare_for_readers
from omop_emb.search.vector_indexes import IndexSettings
from omop_emb.spaces import lifecycle, registry
from omop_emb.spaces.copy_rows import copy_to_space
from omop_emb.spaces.lifecycle import SpaceSettings
from omop_emb.spaces.registry import Space
from omop_emb.spaces.tables import KEY_COLUMNS, TEXT_COLUMNS
from omop_emb.spaces.text_rows import TextRows
from omop_emb.spaces.upsert import record_write
from omop_emb.vocabulary import reader

_BATCH_ROWS = 5000
_IMPORT = "import"  # recorded as the settings of a build, by which an import keeps readers and builds away
_KINDS = {kind.value: kind for kind in TextKind if kind is not TextKind.ALIAS}
_DETAILS = [column for column in TEXT_COLUMNS if column not in (*KEY_COLUMNS, "text")]


def import_index(
    engine: Engine,
    path: Path,
    name: str | None = None,
    *,
    index_type: IndexType | str | None = None,
    any_release: bool = False,
    ask_model: bool = True,
    on_progress: ProgressCallback | None = None,
) -> Space:
    """Create a space from a file that export_index() wrote, with its index.

    Its rows are written in one transaction: an interrupted import starts again. The space becomes active if
    no space is.

    Args:
        engine: the database.
        path: the file.
        name: of the new space; by default after the model.
        index_type: FLAT or HNSW; by default that of the exported space.
        any_release: accept a file of another vocabulary release than the loaded one, or without a loaded one;
            the next index build brings it up to date.
        ask_model: whether this site's model is asked whether it is the one that embedded the file.
        on_progress: called with the progress of the import.

    Raises:
        InputError: the file was not written by index export, or is damaged.
        VocabularyError: it is of another vocabulary release.
        SpaceMismatchError: this site's model is another one.
        SpaceError: such a space already exists, or the name is taken.
        DatabaseError: the database cannot be reached or used.
        MissingExtraError: pyarrow is not installed.
    """
    chosen = None if index_type is None else IndexType.parse(index_type, "index_type")
    with space_file.open_space_file(path) as (file, metadata):
        if ask_model:
            _check_model(metadata, path)
        with open_connection(engine) as connection:
            migrations.migrate(connection)
            if not any_release:
                _check_vocabulary(connection, metadata, path)
            space = _create(connection, metadata, chosen or metadata.index_type, name)
            connection.commit()
        try:
            with open_connection(engine) as connection:
                _lock_empty(connection, space)
                _load(connection, space, file, metadata, path, on_progress or (lambda _: None))
                connection.commit()
        except BaseException:
            _drop_empty(engine, space)
            raise
        with open_connection(engine) as connection:
            return registry.space_by_name(connection, space.name)


def _check_model(metadata: SpaceMetadata, path: Path) -> None:
    fingerprint = EmbeddingClient.for_fingerprint(metadata.fingerprint).fingerprint
    differences = fingerprint.differences(metadata.fingerprint)
    if differences:
        raise SpaceMismatchError(
            f"{path} was embedded with a different model from this site's: {'; '.join(differences)}; "
            "install the file's model"
        )


def _check_vocabulary(connection: Connection, metadata: SpaceMetadata, path: Path) -> None:
    if metadata.vocabulary_release is None:
        return
    vocabulary = reader.vocabulary_tables(connection)
    loaded = None if vocabulary is None else vocabulary.version
    if loaded != metadata.vocabulary_release:
        here = "none is loaded here" if vocabulary is None else f"{loaded} is loaded here"
        raise VocabularyError(
            f"{path} is of vocabulary {metadata.vocabulary_release}, and {here}: load that one, or add "
            "--any-release and then run omop-emb index build --name with its name, which embeds what differs"
        )


def _create(
    connection: Connection, metadata: SpaceMetadata, index_type: IndexType, name: str | None
) -> Space:
    """Create the space, empty and marked as being built, so that nobody reads it."""
    settings: SpaceSettings = {"name": name, **_settings(metadata, index_type)}
    space, _ = lifecycle.ensure_space(
        connection, metadata.fingerprint, index_type, with_index=False, **settings
    )
    _lock_empty(connection, space)
    connection.execute(
        "insert into omop_emb.build (space_id, settings, lease_until) values (%s, %s, now()) "
        "on conflict do nothing",
        (space.space_id, _IMPORT),
    )
    return space


def _settings(metadata: SpaceMetadata, index_type: IndexType) -> SpaceSettings:
    """The exported space's settings; those of HNSW indexes only if both spaces have such."""
    settings: SpaceSettings = {
        "texts": metadata.texts,
        "template": metadata.template,
        "synonym_languages": metadata.synonym_languages,
    }
    if index_type is metadata.index_type is IndexType.HNSW:
        settings |= {
            "hnsw_m": metadata.hnsw_m,
            "hnsw_ef_construction": metadata.hnsw_ef_construction,
            "first_pass": metadata.first_pass,
            "partial": metadata.partial,
        }
    return settings


def _lock_empty(connection: Connection, space: Space) -> None:
    """Keep builds and other imports away from an empty space until the transaction ends."""
    lifecycle.lock_build(connection, space)
    if space.space_id not in [other.space_id for other in registry.all_spaces(connection)]:
        raise SpaceNotFoundError(f"space {space.name!r} was dropped in the meantime: import again")
    row = connection.execute(
        sql.SQL(
            "select exists (select from {}) or exists "
            "(select from omop_emb.build where space_id = %s and settings <> %s)"
        ).format(space.tables.texts),
        (space.space_id, _IMPORT),
    ).fetchone()
    if row is None or row[0]:
        raise SpaceError(
            f"space {space.name!r} already has texts of this model, prefixes and index type: run omop-emb "
            f"index drop {space.name} first, or choose another --index-type"
        )


def _load(
    connection: Connection,
    space: Space,
    file: SafeParquetFile,
    metadata: SpaceMetadata,
    path: Path,
    on_progress: ProgressCallback,
) -> None:
    """Load the file's rows, create the index and activate the space."""
    # PostgreSQL need not log what is loaded into a table that the same transaction has emptied.
    connection.execute(sql.SQL("truncate {}, {}").format(space.tables.rows, space.tables.texts))
    loaded = 0
    for batch in file.batches(_BATCH_ROWS):
        _copy_batch(connection, space, batch, path)
        loaded += batch.num_rows
        on_progress(Progress(Phase.READ_FILE, fraction=loaded / max(1, metadata.rows)))
    on_progress(Progress(Phase.FINISH))
    _record(connection, space, metadata)
    discard_plan(connection, space)
    record_write(connection, space)
    space = registry.space_by_name(connection, space.name)
    prepare_for_readers(connection, space, IndexSettings.resolve(space, None, None))


def _record(connection: Connection, space: Space, metadata: SpaceMetadata) -> None:
    """Record what the file says; an empty space that an earlier import left may have been of another file."""
    columns: dict[str, Any] = {
        **_settings(metadata, space.index_type),
        "synonym_languages": list(metadata.synonym_languages),
        "selection": None if metadata.selection is None else json.dumps(metadata.selection),
        "vocabulary_release": metadata.vocabulary_release,
    }
    assignments = (sql.SQL("{} = {}").format(sql.Identifier(n), sql.Placeholder(n)) for n in columns)
    connection.execute(
        sql.SQL("update omop_emb.space set {} where space_id = %(space_id)s").format(
            sql.SQL(", ").join(assignments)
        ),
        {**columns, "space_id": space.space_id},
    )


def _copy_batch(connection: Connection, space: Space, batch: Any, path: Path) -> None:
    columns = space_file.batch_columns(batch, path)
    unknown_kinds = set(columns["text_kind"]) - _KINDS.keys()
    if unknown_kinds:
        raise InputError(f"{path} is damaged: it holds texts of kind {min(unknown_kinds)[:20]!r}")
    vectors = space_file.batch_vectors(batch, space.fingerprint.dimensions)
    with np.errstate(invalid="ignore", over="ignore"):
        norms = np.linalg.norm(vectors.astype(np.float32), axis=1)
    if not np.all(np.abs(norms - 1) <= NORM_TOLERANCE):
        raise InputError(f"{path} is damaged: it holds vectors that are not of unit length")
    rows = TextRows.from_concepts(
        concepts=[
            Concept(*values)
            for values in zip(columns["concept_id"], *(columns[name] for name in _DETAILS), strict=True)
        ],
        kinds=[_KINDS[kind] for kind in columns["text_kind"]],
        texts=columns["text"],
        text_hashes=np.array(columns["text_hash"], np.int64),
        vectors=vectors,
    )
    try:
        copy_to_space(connection, space, rows)
    except (postgres.UniqueViolation, postgres.DataError) as error:
        raise InputError(f"{path} is damaged: it holds a text twice, or one that is not valid") from error


def _drop_empty(engine: Engine, space: Space) -> None:
    """Drop the space of a failed import, unless somebody else has filled it."""
    with open_connection(engine) as connection:
        try:
            _lock_empty(connection, space)
        except SpaceError:
            return
        lifecycle.drop_space(connection, space)
        connection.commit()
