"""omop-emb index export and index import: a space as one file, embedded at one site and loaded at others."""

from __future__ import annotations

from pathlib import Path

import click

from .progress import reporter
from .render import echo


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="The space; by default the active one.")
def export(file: Path, name: str | None) -> None:
    """Write a space into FILE, a Parquet file that index import takes.

    It holds texts, details and vectors, and what embedded them. Names that were approved at this site are
    left out. Needs the extra parquet.

    \b
    omop-emb index export snomed.parquet
    omop-emb index export gemini.parquet --name gemini-2026
    """
    from omop_emb.database import engine_scope
    from omop_emb.indexing import export_index

    with reporter() as progress, engine_scope() as engine:
        written = export_index(engine, file, name, progress=progress)
    echo(f"{file} holds {written.rows:,} texts of {written.vocabulary_release or 'no recorded release'}")


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="The new space's name; by default after the model.")
@click.option("--index-type", type=click.Choice(["flat", "hnsw"]), help="By default as it was exported.")
@click.option("--any-release", is_flag=True, help="Take a file of another vocabulary release.")
@click.option("--unasked", is_flag=True, help="Do not ask this site's model whether it is the file's.")
def import_(file: Path, name: str | None, index_type: str | None, any_release: bool, unasked: bool) -> None:
    """Make a space of FILE, which index export wrote; nothing is embedded.

    Refused if this site's model is another one, or another vocabulary release is loaded. It is loaded whole
    or not at all, and becomes active if no space is. Needs the extra parquet.

    \b
    omop-emb index import snomed.parquet
    omop-emb index import older.parquet --any-release && omop-emb index build
    """
    from omop_emb import IndexType
    from omop_emb.database import engine_scope
    from omop_emb.indexing import import_index

    with reporter() as progress, engine_scope() as engine:
        space = import_index(
            engine,
            file,
            name,
            index_type=IndexType(index_type) if index_type else None,
            any_release=any_release,
            ask_model=not unasked,
            progress=progress,
        )
    active = "active" if space.is_active else f"not active: omop-emb index activate {space.name}"
    echo(f"space {space.name!r} is ready, and {active}")
