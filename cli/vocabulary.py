"""omop-emb vocabulary: load a download, show what is loaded and what changed, and go back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

import click

from omop_emb.records import counted

from .progress import load_progress
from .render import echo, format_option, render, render_record
from .suggestions import Group

if TYPE_CHECKING:
    from omop_emb.vocabulary import ConceptChange, LoadedVocabulary

_TABLES = (
    *("concept", "concept_synonym", "concept_relationship", "concept_ancestor"),
    *("vocabulary", "domain", "concept_class", "relationship"),
)
_CPT4_HINT = "run Athena's CPT4 tool in the download's folder and load that"


@click.group("vocabulary", cls=Group)
def command() -> None:
    """Manage the vocabulary: your own download, or a CDM's (OMOP_EMB_VOCABULARY_SCHEMA)."""


@command.command("load")
@click.argument("path", type=click.Path())
@click.option(
    "--changes",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what is new, renamed or withdrawn since the loaded release into this .csv, .tsv, .xlsx or "
    ".parquet file.",
)
@click.option(
    "--allow-shrink", is_flag=True, help="Load it even if it lacks over a fifth of the loaded vocabulary."
)
@click.option("--no-keep", is_flag=True, help="Do not keep the loaded release for vocabulary rollback.")
def load(path: str, changes: Path | None, allow_shrink: bool, no_keep: bool) -> None:
    """Load PATH, a folder or zip file from Athena; a newer release replaces the older one.

    It is loaded completely or not at all. Until the end, every reader uses the earlier release, which is then
    kept. A vocabulary that lacks over a fifth of the loaded one is refused.

    \b
    omop-emb vocabulary load vocabulary_download_v5.zip
    omop-emb vocabulary load vocabulary_download_v5.zip --changes changes.csv
    """
    from omop_emb.database import driver_connection, engine_scope, migrate, session_scope
    from omop_emb.mapping.files import check_table_path
    from omop_emb.vocabulary import drop_retired, load_vocabulary, vocabulary_changes

    if changes is not None:
        check_table_path(changes)
    with engine_scope() as engine:
        with session_scope(engine) as session:
            migrate(driver_connection(session))
        with session_scope(engine) as session:
            connection = driver_connection(session)
            with load_progress() as on_progress:
                loaded = load_vocabulary(
                    connection,
                    path,
                    allow_shrink=allow_shrink,
                    keep_previous=not no_keep,
                    progress=on_progress,
                )
            if changes is not None and loaded.before is not None:
                before, after = loaded.before.release_id, loaded.release_id
                _write_changes(changes, vocabulary_changes(connection, before=before, after=after))
        with session_scope(engine) as session:
            drop_retired(driver_connection(session))
    if changes is not None and loaded.before is None:
        echo(f"{changes} was not written: no release was loaded before, so everything is new")
    _echo_loaded(loaded)
    _echo_outdated_space()


@command.command("status")
@format_option
def status(format_: str) -> None:
    """Show the loaded release, the number of rows in each table, and what is missing."""
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.errors import VocabularyError
    from omop_emb.vocabulary import vocabulary_status

    with session_scope() as session:
        found = vocabulary_status(driver_connection(session))
    if found is None:
        raise VocabularyError("no vocabulary is loaded: run omop-emb vocabulary load PATH")
    values = {
        "schema": found.schema,
        "version": found.version,
        "source": found.source,
        "loaded_at": None if found.loaded_at is None else found.loaded_at.isoformat(timespec="seconds"),
        **dict.fromkeys(_TABLES),
        **found.rows,
        "blank_names": found.blank_names,
        "has_trigrams": found.has_trigrams,
    }
    if format_ == "table":
        values |= {table: "not counted" for table, count in found.rows.items() if count is None}
    render_record(values, format_)


@command.command("list")
@format_option
def list_(format_: str) -> None:
    """List the releases in the database: the active one and the one before it.

    \b
    omop-emb vocabulary list
    """
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.vocabulary import vocabulary_releases

    with session_scope() as session:
        releases = vocabulary_releases(driver_connection(session))
    if not releases:
        echo("no vocabulary is loaded: run omop-emb vocabulary load PATH")
    rows = [
        {
            "version": release.version,
            "source": release.source,
            "active": release.is_active,
            "concepts": release.concepts,
            "bytes": release.bytes,
            "loaded_at": release.loaded_at.isoformat(timespec="seconds"),
        }
        for release in releases
    ]
    render(
        rows,
        ("version", "source", "active", "concepts", "bytes", "loaded_at"),
        format_,
        optional=("bytes", "source"),
    )


@command.command("rollback")
def rollback() -> None:
    """Go back to the release before the active one; a second rollback undoes the first.

    Every reader uses it from its next query on. The spaces are unchanged, so run index build afterwards.

    \b
    omop-emb vocabulary rollback
    """
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.vocabulary import rollback_vocabulary

    with session_scope() as session:
        active, previous = rollback_vocabulary(driver_connection(session))
    echo(
        f"{active.label} is active again, with {counted(active.concepts, 'concept')}; "
        f"{previous.label} is kept: "
        "omop-emb vocabulary rollback goes back to it"
    )
    _echo_outdated_space()


@command.command("changes")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def changes(file: Path) -> None:
    """Write what changed from the kept release to the active one into FILE (.csv, .tsv, .xlsx, .parquet).

    The file has one row for each change to a concept (new, renamed, withdrawn, valid again, no longer
    standard, became standard, domain changed, remapped), with old and new name and domain, and what to use
    instead.

    \b
    omop-emb vocabulary changes changes.xlsx
    """
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.mapping.files import check_table_path
    from omop_emb.vocabulary import vocabulary_changes

    check_table_path(file)
    with session_scope() as session:
        _write_changes(file, vocabulary_changes(driver_connection(session)))


def _write_changes(file: Path, changes: Iterable[ConceptChange]) -> None:
    from omop_emb.mapping.files import Column, write_table
    from omop_emb.vocabulary import ConceptChange

    names = [field.name for field in fields(ConceptChange)]
    columns = [Column(name, "integer" if name == "concept_id" else "text") for name in names]
    counts: Counter[str] = Counter()
    with write_table(file, columns) as write:
        for change in changes:
            write(asdict(change))
            counts[change.change] += 1
    echo(f"{file}: {', '.join(f'{count:,} {name}' for name, count in counts.items()) or 'nothing changed'}")


def _echo_loaded(loaded: LoadedVocabulary) -> None:
    from omop_emb.vocabulary import is_older, listed

    counts = ", ".join(f"{count:,} {table}" for table, count in loaded.rows.items())
    echo(f"loaded {loaded.version or 'a vocabulary without a version'}: {counts}")
    if loaded.losses:
        echo(f"warning: it has less than {_before(loaded)}: {listed(loaded.losses)}")
    if loaded.before is not None and is_older(loaded.version, loaded.before.version):
        echo(f"warning: it is older than {_before(loaded)}, which was active before")
    if loaded.before is not None and loaded.is_before_kept:
        size = f"{loaded.before.bytes / 1e6:,.0f} MB"
        echo(f"{loaded.before.label} is kept ({size}): omop-emb vocabulary rollback goes back to it")
    for vocabulary_id, count in loaded.blank_names.items():
        hint = f"; {_CPT4_HINT}" if vocabulary_id == "CPT4" else ""
        own = f"of {vocabulary_id}"
        concepts = counted(count, f"concept {own} has no name and is", f"concepts {own} have no name and are")
        echo(f"warning: {concepts} not embedded{hint}")
    for file, count in loaded.exchanged_dates.items():
        dates = counted(count, f"date in {file} has", f"dates in {file} have")
        echo(f"warning: {dates} day and month swapped: read as YYYYDDMM")
    if not loaded.rows.get("concept_relationship"):
        echo("warning: without CONCEPT_RELATIONSHIP, no source code leads to a standard concept")
    if not loaded.has_trigrams:
        echo(
            "note: without pg_trgm, names cannot be searched by spelling: let a superuser run "
            "create extension pg_trgm in this database, then load again"
        )


def _before(loaded: LoadedVocabulary) -> str:
    return "before" if loaded.before is None else loaded.before.label


def _echo_outdated_space() -> None:
    """Say if the space that answers was built from another release than the loaded one."""
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.spaces import active_space_warning

    with session_scope() as session:
        warning = active_space_warning(driver_connection(session))
    if warning is not None:
        echo(warning)
