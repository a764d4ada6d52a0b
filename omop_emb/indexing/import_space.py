"""A space read from the file that another site exported, refused where it does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from psycopg import errors as postgres, sql
from sqlalchemy import Engine

from omop_emb.database import migrations
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import InputError, SpaceError, SpaceMismatchError, SpaceNotFoundError, VocabularyError
from omop_emb.indexing import space_file
from omop_emb.indexing.build_plan import discard_plan
from omop_emb.indexing.connections import open_connection
from omop_emb.indexing.report import Phase, Progress, ProgressCallback
from omop_emb.indexing.space_file import SpaceMetadata
from omop_emb.indexing.vector_indexes import IndexSettings, reconcile_indexes
from omop_emb.records import Concept, IndexType, TextKind
from omop_emb.spaces import lifecycle, registry, row_counts
from omop_emb.spaces.copy_rows import copy_new
from omop_emb.spaces.registry import Space
from omop_emb.spaces.tables import KEY_COLUMNS, TEXT_COLUMNS
from omop_emb.spaces.text_rows import TextRows
from omop_emb.spaces.upsert import record_write
from omop_emb.vocabulary import reader

_BATCH_ROWS = 5000
_IMPORT = "import"  # the settings of the build that an import stands for
_NORM_TOLERANCE = 0.002  # as index verify has it
_KINDS = {kind.value: kind for kind in TextKind if kind is not TextKind.ALIAS}
_DETAILS = [column for column in TEXT_COLUMNS if column not in (*KEY_COLUMNS, "text")]


def import_index(
    engine: Engine,
    path: Path,
    name: str | None = None,
    *,
    index_type: IndexType | None = None,
    any_release: bool = False,
    ask_model: bool = True,
    progress: ProgressCallback | None = None,
) -> Space:
    """Make a space of a file that `export_index` wrote, with its index; active if none is.

    Its rows come in one transaction: whatever ends an import, the next one begins anew.

    Args:
        engine: the database.
        path: the file.
        name: of the new space; by default after the model.
        index_type: FLAT or HNSW; by default as it was exported.
        any_release: take a file of another vocabulary release than the loaded one, or of one where none is
            loaded; the next index build brings it up to date.
        ask_model: whether the model of this site is asked if it is the one that embedded the file.
        progress: is told how far it is.

    Raises:
        InputError: the file is none of index export, or damaged.
        VocabularyError: it is of another vocabulary release.
        SpaceMismatchError: this site's model is another one.
        SpaceError: there is such a space already, or the name is taken.
        DatabaseError: the database cannot be reached or used.
        MissingExtraError: pyarrow is not installed.
    """
    tell = progress or (lambda _: None)
    with space_file.open_space_file(path) as (file, description):
        if ask_model:
            _check_model(description, path)
        with open_connection(engine) as connection:
            migrations.migrate(connection)
            if not any_release:
                _check_vocabulary(connection, description, path)
            space, _ = lifecycle.ensure_space(
                connection,
                description.fingerprint,
                index_type or description.index_type,
                name=name,
                texts=description.texts,
                template=description.template,
                synonym_languages=description.synonym_languages,
                with_index=False,
            )
            _lock_empty(connection, space)
            # Until its rows are there, the space is as one whose first build is under way: nobody reads it.
            connection.execute(
                "insert into omop_emb.build (space_id, settings, lease_until) values (%s, %s, now()) "
                "on conflict do nothing",
                (space.space_id, _IMPORT),
            )
            connection.commit()
        try:
            with open_connection(engine) as connection:
                _lock_empty(connection, space)
                # In the transaction that emptied a table, PostgreSQL need not log what is loaded into it.
                connection.execute(sql.SQL("truncate {}, {}").format(space.tables.rows, space.tables.texts))
                done = 0
                for batch in space_file.read_batches(file, _BATCH_ROWS, path):
                    _copy(connection, space, batch, path)
                    done += batch.num_rows
                    tell(Progress(Phase.READ_FILE, fraction=done / max(1, description.rows)))
                tell(Progress(Phase.FINISH))
                _finish(connection, space, description)
                connection.commit()
        except BaseException:
            _drop(engine, space)
            raise
        with open_connection(engine) as connection:
            return registry.space_by_name(connection, space.name)


def _check_model(description: SpaceMetadata, path: Path) -> None:
    found = EmbeddingClient.for_fingerprint(description.fingerprint).fingerprint
    differences = found.differences(description.fingerprint)
    if differences:
        raise SpaceMismatchError(
            f"{path} was embedded with another model than is here: {'; '.join(differences)}; install that one"
        )


def _check_vocabulary(connection: psycopg.Connection[Any], description: SpaceMetadata, path: Path) -> None:
    if description.vocabulary_release is None:
        return
    tables = reader.vocabulary_tables(connection)
    loaded = None if tables is None else tables.version
    if loaded != description.vocabulary_release:
        here = "none is loaded here" if tables is None else f"{loaded} is loaded here"
        raise VocabularyError(
            f"{path} is of vocabulary {description.vocabulary_release}, and {here}: load that one, or add "
            "--any-release and then run omop-emb index build, which embeds only what differs"
        )


def _lock_empty(connection: psycopg.Connection[Any], space: Space) -> None:
    """Keep builds and other imports from a space until the transaction ends, if nothing is in it."""
    lifecycle.lock_build(connection, space)
    if space.space_id not in [found.space_id for found in registry.all_spaces(connection)]:
        raise SpaceNotFoundError(f"space {space.name!r} was dropped meanwhile: import again")
    row = connection.execute(
        sql.SQL(
            "select exists (select from {}) or exists "
            "(select from omop_emb.build where space_id = %s and settings <> %s)"
        ).format(space.tables.texts),
        (space.space_id, _IMPORT),
    ).fetchone()
    if row is None or row[0]:
        raise SpaceError(
            f"space {space.name!r} has texts of this model, prefixes and index type already: run omop-emb "
            f"index drop {space.name} first, or give another --index-type"
        )


def _copy(connection: psycopg.Connection[Any], space: Space, batch: Any, path: Path) -> None:
    columns = {name: batch.column(name).to_pylist() for name in TEXT_COLUMNS}
    unknown = set(columns["text_kind"]) - _KINDS.keys()
    vectors = space_file.batch_vectors(batch, space.fingerprint.dimensions)
    with np.errstate(invalid="ignore", over="ignore"):
        wrong = ~(np.abs(np.linalg.norm(vectors.astype(np.float32), axis=1) - 1) <= _NORM_TOLERANCE)
    if unknown or wrong.any():
        what = f"texts of kind {min(unknown)!r}" if unknown else "vectors that are not of unit length"
        raise InputError(f"{path} is damaged: it holds {what}")
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
        copy_new(connection, space, rows)
    except (postgres.UniqueViolation, postgres.DataError) as error:
        raise InputError(f"{path} is damaged: it holds a text twice, or one that is none") from error


def _finish(connection: psycopg.Connection[Any], space: Space, description: SpaceMetadata) -> None:
    connection.execute(
        "update omop_emb.space set selection = %s, vocabulary_release = %s where space_id = %s",
        (
            None if description.selection is None else json.dumps(description.selection),
            description.vocabulary_release,
            space.space_id,
        ),
    )
    discard_plan(connection, space)
    record_write(connection, space)
    connection.execute(sql.SQL("analyze {}, {}").format(space.tables.rows, space.tables.texts))
    row_counts.recount_rows(connection, space)
    reconcile_indexes(connection, space, IndexSettings.resolve(space, None, None))
    lifecycle.activate_space(connection, space, only_if_none_is=True)


def _drop(engine: Engine, space: Space) -> None:
    """Drop the space of an import that failed, if nothing is in it."""
    with open_connection(engine) as connection:
        try:
            _lock_empty(connection, space)
        except SpaceError:
            return  # somebody else has taken it over
        lifecycle.drop_space(connection, space)
        connection.commit()
