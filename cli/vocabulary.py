"""The commands omop-emb vocabulary: loading a download, and what is loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from .render import echo, format_option, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from omop_emb.vocabulary import LoadedVocabulary, LoadProgress

_COLUMNS = (
    "schema",
    "version",
    "source",
    "loaded_at",
    "concept",
    "concept_synonym",
    "concept_relationship",
    "concept_ancestor",
    "vocabulary",
    "domain",
    "concept_class",
    "relationship",
    "blank_names",
    "has_trigrams",
)
_CPT4_HINT = "run Athena's CPT4 tool in the download's folder and load that"


@click.group("vocabulary")
def command() -> None:
    """The OMOP vocabulary: a download of your own, or the tables of a CDM (OMOP_EMB_VOCABULARY_SCHEMA)."""


@command.command("load")
@click.argument("path", type=click.Path())
def load(path: str) -> None:
    """Load PATH, a folder or zip as Athena delivers it; a newer release replaces the older.

    All or nothing: until the end, and for whoever is reading, the earlier release stays as it was.

    \b
    omop-emb vocabulary load vocabulary_download_v5.zip
    """
    from omop_emb.database import driver_connection, engine_scope, migrate, session_scope
    from omop_emb.vocabulary import drop_retired, load_vocabulary

    with engine_scope() as engine:
        with session_scope(engine) as session:
            migrate(driver_connection(session))
        with _progress() as progress, session_scope(engine) as session:
            loaded = load_vocabulary(driver_connection(session), path, progress=progress)
        with session_scope(engine) as session:
            drop_retired(driver_connection(session))
    _tell(loaded)


@command.command("status")
@format_option
def status(format_: str) -> None:
    """Show which release is loaded, how many rows each table has, and what is missing."""
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.errors import VocabularyError
    from omop_emb.vocabulary import vocabulary_status

    with session_scope() as session:
        found = vocabulary_status(driver_connection(session))
    if found is None:
        raise VocabularyError("no vocabulary is loaded: run omop-emb vocabulary load PATH")
    row: dict[str, object] = {
        "schema": found.schema,
        "version": found.version,
        "source": found.source,
        "loaded_at": None if found.loaded_at is None else found.loaded_at.isoformat(timespec="seconds"),
        **found.rows,
        "blank_names": found.blank_names,
        "has_trigrams": found.has_trigrams,
    }
    if format_ == "table":
        shown = [
            {"property": name.replace("_", " "), "value": "not counted" if row[name] is None else row[name]}
            for name in _COLUMNS
            if name in found.rows or row.get(name) is not None
        ]
        render(shown, ["property", "value"], format_)
    else:
        render([row], _COLUMNS, format_)


def _tell(loaded: LoadedVocabulary) -> None:
    listed = ", ".join(f"{count:,} {table}" for table, count in loaded.rows.items())
    echo(f"loaded {loaded.version or 'a vocabulary without a version'}: {listed}")
    for vocabulary_id, count in loaded.blank_names.items():
        hint = f"; {_CPT4_HINT}" if vocabulary_id == "CPT4" else ""
        echo(f"warning: concepts of {vocabulary_id} without a name, which are not embedded: {count:,}{hint}")
    for file, count in loaded.exchanged_dates.items():
        echo(f"warning: dates in {file} with day and month exchanged, which were read as YYYYDDMM: {count:,}")
    if not loaded.has_trigrams:
        echo(
            "note: names cannot be searched by spelling without pg_trgm: let a superuser run "
            "create extension pg_trgm in this database, and load again"
        )


@contextmanager
def _progress() -> Iterator[Callable[[LoadProgress], None]]:
    """A bar on a terminal; a line for each table otherwise."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description:<30}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("")

            def advance(at: LoadProgress) -> None:
                bar.update(
                    task, description=f"{at.step} {at.table}", completed=at.done_bytes, total=at.total_bytes
                )

            yield advance
        return
    told: set[tuple[str, str]] = set()

    def tell(at: LoadProgress) -> None:
        if (at.step, at.table) not in told:
            told.add((at.step, at.table))
            echo(f"{at.step} {at.table}")

    yield tell
