"""Vocabulary loader: loads a release all or not at all, beside the one that readers use."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors as postgres
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Composed, Identifier

from omop_emb.database.fetch import fetch_value
from omop_emb.database.migrations import migrate
from omop_emb.database.requirements import install_extension
from omop_emb.database.transactions import atomic
from omop_emb.errors import VocabularyError
from omop_emb.sql import read
from omop_emb.vocabulary import releases
from omop_emb.vocabulary.copy_file import CopiedFile, copy_file, lines_with_key
from omop_emb.vocabulary.download import VocabularyFile, vocabulary_files
from omop_emb.vocabulary.layout import LAYOUTS, release_tables
from omop_emb.vocabulary.losses import Loss, check_losses, find_losses
from omop_emb.vocabulary.releases import Release

_KEY_IN_DETAIL = re.compile(r"^Key \(.*?\)=\((.*)\) is duplicated\.$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How far a load is."""

    step: str  # "reading" a table's file, or "indexing" what was read
    table: str  # the current one; "names" at the end, for their search
    done_bytes: int
    total_bytes: int  # of all files together, unpacked


@dataclass(frozen=True)
class LoadedVocabulary:
    """What a load put into the database."""

    release_id: int  # the number in its tables' names
    version: str | None  # such as "v5.0 30-AUG-24"; None where the download does not say
    rows: Mapping[str, int]  # by table, of the files in the download
    blank_names: Mapping[str, int]  # concepts without a name, which are not embedded, by vocabulary
    exchanged_dates: Mapping[str, int]  # dates that were read as YYYYDDMM, by file
    has_trigrams: bool  # whether names can be searched by spelling (extension pg_trgm)
    before: Release | None  # what was active until then
    is_before_kept: bool  # whether rollback_vocabulary() goes back to it
    losses: Sequence[Loss]  # of what it has over a fifth less than the one before


def load_vocabulary(
    connection: psycopg.Connection[Any],
    path: str | Path,
    *,
    allow_shrink: bool = False,
    keep_previous: bool = True,
    progress: Callable[[LoadProgress], None] | None = None,
) -> LoadedVocabulary:
    """Load a folder or zip as Athena delivers it and make it the active release; the caller commits.

    New tables are filled and indexed, then one row is changed to point to them: until the caller commits,
    and in transactions that began reading before, everybody sees the earlier release, complete. Nobody
    waits. The earlier release is kept, for `rollback_vocabulary`; the one before that goes with the next
    load or with `drop_retired`.

    Args:
        connection: in whose transaction everything happens.
        path: the folder or zip.
        allow_shrink: load it even if it lacks over a fifth of the active release's concepts, of its standard
            concepts, of one of its vocabularies, or of its synonyms, relationships or ancestors.
        keep_previous: keep the active release; otherwise none but the new one is kept.
        progress: called with how far the load is.

    Raises:
        ShrinkError: it lacks that much; nothing was changed.
        VocabularyError: with file and line where there is one; nothing was changed.
        MigrationError: the schema omop_emb cannot be created.
    """
    releases.check_own_schema()
    report = progress or (lambda _: None)
    with vocabulary_files(path) as files, atomic(connection):
        migrate(connection)
        cursor = connection.cursor(row_factory=tuple_row)
        releases.lock_releases(connection)
        before = releases.active_release(connection)
        release_id = fetch_value(
            connection,
            "insert into omop_emb.vocabulary_release (source) values (%s) returning release_id",
            (Path(path).expanduser().resolve().name,),
        )
        tables = release_tables(release_id)
        for layout in LAYOUTS:
            cursor.execute(layout.create(tables[layout.name]))
        copied = _copy_files(connection, files, tables, report)
        for file in files:
            cursor.execute(
                "insert into omop_emb.vocabulary_file (release_id, table_name, file_name, sha256, row_count)"
                " values (%s, %s, %s, %s, %s)",
                (release_id, file.layout.name, file.name, copied[file].sha256, copied[file].rows),
            )
        if copied[files[0]].rows == 0:
            raise VocabularyError("holds no concepts", file=files[0].name)
        has_trigrams = _index(connection, files, tables, report)
        blank_names: dict[str, int] = dict(
            cursor.execute(SQL(read("vocabulary_blank_names")).format(**tables)).fetchall()
        )
        cursor.execute(SQL(read("vocabulary_insert_values")).format(**tables), {"release_id": release_id})
        version = fetch_value(connection, SQL(read("vocabulary_version")).format(**tables))
        cursor.execute(
            "update omop_emb.vocabulary_release set version = %s, blank_names = %s where release_id = %s",
            (version, sum(blank_names.values()), release_id),
        )
        losses = [] if before is None else find_losses(connection, before, release_id)
        if before is not None and not allow_shrink:
            check_losses(before, losses)
        releases.drop_retired(connection)
        is_kept = releases.replace_active(connection, release_id, keep_previous=keep_previous)
    return LoadedVocabulary(
        release_id,
        version,
        rows={file.layout.name: copied[file].rows for file in files},
        blank_names=blank_names,
        exchanged_dates={
            file.name: copied[file].exchanged_dates for file in files if copied[file].exchanged_dates
        },
        has_trigrams=has_trigrams,
        before=before,
        is_before_kept=is_kept,
        losses=losses,
    )


def _copy_files(
    connection: psycopg.Connection[Any],
    files: list[VocabularyFile],
    tables: Mapping[str, Identifier],
    report: Callable[[LoadProgress], None],
) -> dict[VocabularyFile, CopiedFile]:
    done, total = 0, sum(file.size for file in files)

    def advance(table: str, size: int) -> None:
        nonlocal done
        done += size
        report(LoadProgress("reading", table, done, total))

    return {
        file: copy_file(connection, file, tables[file.layout.name], partial(advance, file.layout.name))
        for file in files
    }


def _index(
    connection: psycopg.Connection[Any],
    files: list[VocabularyFile],
    tables: Mapping[str, Identifier],
    report: Callable[[LoadProgress], None],
) -> bool:
    """Add keys and indexes; whether names can be searched by spelling."""
    total = sum(file.size for file in files)
    for file in files:
        report(LoadProgress("indexing", file.layout.name, total, total))
        _add_key(connection, file, tables[file.layout.name])
    report(LoadProgress("indexing", "names", total, total))
    connection.execute(SQL(read("vocabulary_create_indexes")).format(**tables))
    return _add_trigrams(connection, tables["concept"])


def _add_key(connection: psycopg.Connection[Any], file: VocabularyFile, table: Identifier) -> None:
    if not file.layout.key:
        return
    columns = SQL(", ").join(map(Identifier, file.layout.key))
    try:
        connection.execute(SQL("alter table {} add primary key ({})").format(table, columns))
    except postgres.UniqueViolation as error:
        match = _KEY_IN_DETAIL.match(error.diag.message_detail or "")
        key = match[1] if match else ""
        lines = lines_with_key(file, key)
        also = f", first in line {lines[0]}" if len(lines) == 2 else ""
        raise VocabularyError(
            f"duplicate {', '.join(file.layout.key)} {key}{also}",
            file=file.name,
            line=lines[1] if len(lines) == 2 else None,
        ) from error


def _add_trigrams(connection: psycopg.Connection[Any], concept: Identifier) -> bool:
    """An index for searching names by spelling, where the server has pg_trgm and this role may use it."""
    try:
        with atomic(connection):
            install_extension(connection, "pg_trgm")
            schema = fetch_value(connection, read("trigram_schema"))
            statement: Composed = SQL(
                "create index on {} using gin (lower(concept_name) {})"
                " where standard_concept = 'S' and invalid_reason is null"
            ).format(concept, Identifier(schema, "gin_trgm_ops"))
            connection.execute(statement)
    except (postgres.InsufficientPrivilege, postgres.FeatureNotSupported, postgres.UndefinedFile):
        return False
    return True
