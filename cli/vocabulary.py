"""omop-emb vocabulary: load a download, and show what is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .progress import load_progress
from .render import echo, format_option, render_record

if TYPE_CHECKING:
    from omop_emb.vocabulary import LoadedVocabulary

_TABLES = (
    *("concept", "concept_synonym", "concept_relationship", "concept_ancestor"),
    *("vocabulary", "domain", "concept_class", "relationship"),
)
_CPT4_HINT = "run Athena's CPT4 tool in the download's folder and load that"


@click.group("vocabulary")
def command() -> None:
    """The OMOP vocabulary: a download of your own, or the tables of a CDM (OMOP_EMB_VOCABULARY_SCHEMA)."""


@command.command("load")
@click.argument("path", type=click.Path())
def load(path: str) -> None:
    """Load PATH, a folder or zip file from Athena; a newer release replaces the older one.

    It is loaded completely or not at all; until the end, every reader uses the earlier release.

    \b
    omop-emb vocabulary load vocabulary_download_v5.zip
    """
    from omop_emb.database import driver_connection, engine_scope, migrate, session_scope
    from omop_emb.vocabulary import drop_retired, load_vocabulary

    with engine_scope() as engine:
        with session_scope(engine) as session:
            migrate(driver_connection(session))
        with load_progress() as on_progress, session_scope(engine) as session:
            loaded = load_vocabulary(driver_connection(session), path, progress=on_progress)
        with session_scope(engine) as session:
            drop_retired(driver_connection(session))
    _echo_loaded(loaded)


@command.command("status")
@format_option
def status(format_: str) -> None:
    """Show the loaded release, the rows of each table, and what is missing."""
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


def _echo_loaded(loaded: LoadedVocabulary) -> None:
    counts = ", ".join(f"{count:,} {table}" for table, count in loaded.rows.items())
    echo(f"loaded {loaded.version or 'a vocabulary without a version'}: {counts}")
    for vocabulary_id, count in loaded.blank_names.items():
        hint = f"; {_CPT4_HINT}" if vocabulary_id == "CPT4" else ""
        echo(f"warning: {count:,} concepts of {vocabulary_id} have no name and are not embedded{hint}")
    for file, count in loaded.exchanged_dates.items():
        echo(f"warning: {count:,} dates in {file} have day and month exchanged, and were read as YYYYDDMM")
    if not loaded.has_trigrams:
        echo(
            "note: without pg_trgm, names cannot be searched by spelling: let a superuser run "
            "create extension pg_trgm in this database, then load again"
        )
