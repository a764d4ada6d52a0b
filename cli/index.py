"""omop-emb index: build, list, verify, switch, exchange and drop embedding spaces."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from omop_emb.records import counted

from .index_build import build
from .index_publish import publish
from .progress import build_progress
from .render import echo, format_option, render, render_record
from .suggestions import Choice, Group

if TYPE_CHECKING:
    from omop_emb.indexing import SpaceStatus

_LIST_COLUMNS = (
    "name",
    "active",
    "model",
    "dimensions",
    "index_type",
    "rows",
    "concepts",
    "release",
    "state",
)


@click.group("index", cls=Group)
def command() -> None:
    """Manage embedding spaces: build, list, activate, verify, drop, export, import, publish."""


command.add_command(build)
command.add_command(publish)


@command.command("list")
@format_option
def list_(format_: str) -> None:
    """List all spaces, with their size and whether they are active.

    \b
    omop-emb index list
    omop-emb index list --format json
    """
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.indexing import space_statuses

    with session_scope() as session:
        rows = [status.summary() for status in space_statuses(driver_connection(session))]
    if not rows:
        echo("there is no space yet: run omop-emb index build")
    render(
        rows, _LIST_COLUMNS, format_, optional=("index_type", "concepts", "dimensions", "model", "release")
    )


@command.command("show")
@click.argument("name")
@format_option
def show(name: str, format_: str) -> None:
    """Show everything that is stored about the space NAME.

    \b
    omop-emb index show all-MiniLM-L6-v2-hnsw
    """
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.indexing import space_status
    from omop_emb.spaces import space_by_name

    with session_scope() as session:
        connection = driver_connection(session)
        details = space_status(connection, space_by_name(connection, name)).details()
    render_record(details, format_)


@command.command("activate")
@click.argument("name")
def activate(name: str) -> None:
    """Make every search use the space NAME from now on.

    \b
    omop-emb index activate all-MiniLM-L6-v2-hnsw
    """
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.spaces import activate_space, check_complete, release_warning, space_by_name

    with session_scope() as session:
        connection = driver_connection(session)
        space = space_by_name(connection, name)
        check_complete(space)
        activate_space(connection, space)
        warning = release_warning(connection, space)
    echo(f"space {name!r} is active: searches use its model and prefixes from now on")
    if warning is not None:
        echo(warning)


@command.command("finish")
@click.argument("name", required=False)
def finish(name: str | None) -> None:
    """Index the space NAME, by default the active one, after it was loaded from Python.

    Counts its rows, creates its HNSW index and measures recall; after index build this is not needed.
    Searches continue meanwhile. If nothing has changed, nothing is done.

    \b
    omop-emb index finish all-MiniLM-L6-v2-hnsw
    """
    from omop_emb.database import engine_scope
    from omop_emb.indexing import finish_index

    with engine_scope() as engine:
        space, index_made = finish_index(engine, name)
    made = (
        ("its index was created and its recall measured")
        if index_made
        else "its indexes are as they should be"
    )
    echo(f"space {space.name!r} is counted, and {made}")


@command.command("drop")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(name: str, yes: bool) -> None:
    """Delete the space NAME with all its vectors; the active space cannot be dropped.

    \b
    omop-emb index drop old-model-hnsw --yes
    """
    from omop_emb.database import engine_scope
    from omop_emb.indexing import drop_index

    with engine_scope() as engine:
        report = drop_index(engine, name, approve=None if yes else _confirm_drop)
    if report.cancel_error:
        echo(
            "its batch jobs could not be cancelled and continue: end them in the provider's console "
            f"({report.cancel_error})"
        )
    elif report.cancelled_jobs:
        echo(f"{counted(report.cancelled_jobs, 'batch job was', 'batch jobs were')} cancelled")
    echo(f"space {name!r} was dropped, with {counted(report.rows, 'embedded text')}")


def _confirm_drop(status: SpaceStatus) -> None:
    jobs = f" and cancel its {counted(status.batch_jobs, 'batch job')}" if status.batch_jobs else ""
    question = f"drop space {status.space.name!r} with {counted(status.rows, 'embedded text')}{jobs}?"
    click.confirm(question, abort=True, err=True)


@command.command("verify")
@click.argument("name", required=False)
@click.option(
    "--sample",
    type=click.IntRange(min=0),
    default=200,
    help="Number of texts to embed again; 0 calls no model.",
)
@format_option
@click.pass_context
def verify(context: click.Context, /, name: str | None, sample: int, format_: str) -> None:
    """Check the space NAME, by default the active one; exit code 1 if a check fails.

    Checks rows and texts, hashes, dimensions and norms, the index and the loaded vocabulary, embeds a sample
    of texts again, and measures how many of the 10 nearest the HNSW index finds. Nothing is written.

    \b
    omop-emb index verify
    omop-emb index verify gemini-2026 --sample 50 --format json
    """
    from omop_emb.database import engine_scope
    from omop_emb.indexing import verify_index

    with engine_scope() as engine:
        checks = list(verify_index(engine, name, sample=sample))
    render([asdict(check) for check in checks], ("check", "ok", "details", "next_step"), format_)
    failed = sum(not check.ok for check in checks)
    if failed:
        echo(f"{failed} of {counted(len(checks), 'check')} failed")
        context.exit(1)


@command.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="Name of the space; by default the active one.")
def export(file: Path, name: str | None) -> None:
    """Write a space into FILE, a Parquet file for index import.

    The file contains texts, details and vectors, and the model and settings that produced them. Names that
    this site approved are left out. Needs the extra parquet.

    \b
    omop-emb index export snomed.parquet
    omop-emb index export gemini.parquet --name gemini-2026
    """
    from omop_emb.database import engine_scope
    from omop_emb.indexing import export_index

    with build_progress() as on_progress, engine_scope() as engine:
        metadata = export_index(engine, file, name, on_progress=on_progress)
    echo(
        f"{file} holds {counted(metadata.rows, 'text')} of "
        f"{metadata.vocabulary_release or 'no recorded release'}"
    )


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="Name of the new space; by default after the model.")
@click.option("--index-type", type=Choice(["flat", "hnsw"]), help="By default that of the exported space.")
@click.option("--any-release", is_flag=True, help="Accept a file from another vocabulary release.")
@click.option("--unasked", is_flag=True, help="Do not check that this site has the model of the file.")
def import_(file: Path, name: str | None, index_type: str | None, any_release: bool, unasked: bool) -> None:
    """Create a space from FILE, which index export wrote, without embedding anything.

    Fails if this site's model differs, or if a different vocabulary release is loaded. The file is loaded
    completely or not at all; the space becomes active if no other is. Needs the extra parquet.

    \b
    omop-emb index import snomed.parquet
    omop-emb index import older.parquet --any-release && omop-emb index build
    """
    from omop_emb import IndexType
    from omop_emb.database import engine_scope
    from omop_emb.indexing import import_index

    with build_progress() as on_progress, engine_scope() as engine:
        space = import_index(
            engine,
            file,
            name,
            index_type=IndexType(index_type) if index_type else None,
            any_release=any_release,
            ask_model=not unasked,
            on_progress=on_progress,
        )
    active = "active" if space.is_active else f"not active: omop-emb index activate {space.name}"
    echo(f"space {space.name!r} is ready, and {active}")


@command.group("cache", cls=Group)
def cache() -> None:
    """Manage the cache on this computer's disk, which bulk searches and mapping use."""


@cache.command("clear")
def clear() -> None:
    """Delete the cache; the next bulk search or mapping reads the database again.

    \b
    omop-emb index cache clear
    """
    from omop_emb import disk_cache

    echo(f"removed {disk_cache.clear() / 1e6:,.1f} MB from {disk_cache.folder()}")
