"""omop-emb index: embedding spaces are built, listed, switched between, verified, dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .index_build import build
from .index_files import export, import_
from .index_verify import verify
from .render import echo, format_option, render

if TYPE_CHECKING:
    from omop_emb.spaces import Space

_LISTED = ("name", "active", "model", "dimensions", "index_type", "rows", "concepts", "release", "state")


@click.group("index", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Embedding spaces: build, list, show, activate, drop, verify, export, import."""


command.add_command(build)
command.add_command(verify)
command.add_command(export)
command.add_command(import_)


@command.command("list")
@format_option
def list_(format_: str) -> None:
    """Every space, its size and whether readers use it.

    \b
    omop-emb index list
    omop-emb index list --format json
    """
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.indexing import space_statuses

    with session_scope() as session:
        rows = [_row(status) for status in space_statuses(driver_connection(session))]
    if not rows:
        echo("nothing is embedded here yet: run omop-emb index build")
    render(rows, _LISTED, format_)


@command.command("show")
@click.argument("name")
@format_option
def show(name: str, format_: str) -> None:
    """Everything that is recorded of the space NAME.

    \b
    omop-emb index show all-MiniLM-L6-v2-hnsw
    """
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.indexing import space_status
    from omop_emb.spaces import space_by_name

    with session_scope() as session:
        connection = driver_connection(session)
        details = _details(space_status(connection, space_by_name(connection, name)))
    if format_ == "json":
        render([details], tuple(details), format_)
    else:
        render(
            [{"property": key, "value": value} for key, value in details.items()],
            ("property", "value"),
            format_,
        )


@command.command("activate")
@click.argument("name")
def activate(name: str) -> None:
    """Let every reader use the space NAME from its next search on.

    \b
    omop-emb index activate all-MiniLM-L6-v2-hnsw
    """
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.spaces import activate_space, check_complete, space_by_name

    with session_scope() as session:
        connection = driver_connection(session)
        space = space_by_name(connection, name)
        check_complete(space)
        activate_space(connection, space)
    echo(f"space {name!r} is active: searches use its model and prefixes from now on")


@command.command("drop")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(name: str, yes: bool) -> None:
    """Delete the space NAME with all its vectors; the active one is refused.

    \b
    omop-emb index drop old-model-hnsw --yes
    """
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.indexing import space_status
    from omop_emb.spaces import check_droppable, drop_space, space_by_name

    with session_scope() as session:
        connection = driver_connection(session)
        space = space_by_name(connection, name)
        check_droppable(space)
        found = space_status(connection, space)
    if not yes:
        jobs = f" and cancel its {found.batch_jobs:,} batch jobs" if found.batch_jobs else ""
        click.confirm(f"drop space {name!r} with {found.rows:,} embedded texts{jobs}?", abort=True, err=True)
    if found.batch_jobs:
        _cancel_jobs(space)
    with session_scope() as session:
        connection = driver_connection(session)
        drop_space(connection, space_by_name(connection, name))
    echo(f"space {name!r} is gone, and its {found.rows:,} embedded texts")


def _cancel_jobs(space: Space) -> None:
    """Cancel a space's batch jobs, and say so where that cannot be: they go on, and cost."""
    from omop_emb import EmbeddingClient
    from omop_emb.database import engine_scope
    from omop_emb.errors import OmopEmbError
    from omop_emb.indexing import cancel_jobs

    try:
        client = EmbeddingClient.for_fingerprint(space.fingerprint)
        with engine_scope() as engine:
            cancelled, _ = cancel_jobs(engine, client, index_type=space.index_type)
    except OmopEmbError as error:
        echo(
            f"its batch jobs cannot be cancelled: end them in the provider's console, as they go on ({error})"
        )
    else:
        echo(f"{cancelled:,} batch jobs were cancelled")


@command.group("cache", context_settings={"help_option_names": ["-h", "--help"]})
def cache() -> None:
    """What bulk searches and mapping keep on this computer's disk."""


@cache.command("clear")
def clear() -> None:
    """Remove all that is kept; the next search of many texts, or mapping, reads the database again.

    \b
    omop-emb index cache clear
    """
    from omop_emb import disk_cache

    echo(f"removed {disk_cache.clear() / 1e6:,.1f} MB from {disk_cache.folder()}")


def _row(status: Any) -> dict[str, Any]:
    space = status.space
    return {
        "name": space.name,
        "active": space.is_active,
        "model": f"{space.fingerprint.provider}:{space.fingerprint.model}",
        "dimensions": space.fingerprint.dimensions,
        "index_type": space.index_type.value,
        "rows": status.rows,
        "concepts": status.concepts,
        "release": space.vocabulary_release,
        "state": _state(status),
    }


def _state(status: Any) -> str:
    if status.waiting is not None:
        what = f"being built by {status.builders}" if status.builders else "unfinished: run index build"
        jobs = f", {status.batch_jobs:,} batch jobs" if status.batch_jobs else ""
        return f"{what}, {status.waiting:,} texts to go{jobs}"
    if status.index in ("none", "invalid"):
        return "without its index: run index build"
    return "ready" if not status.failed else f"ready, {status.failed:,} texts failed"


def _details(status: Any) -> dict[str, Any]:
    space, found = status.space, status.space.fingerprint
    return {
        **_row(status),
        "revision": found.revision,
        "document_prefix": found.document_prefix,
        "query_prefix": found.query_prefix,
        "document_task": found.document_task,
        "query_task": found.query_task,
        "fingerprint": found.digest,
        "texts": space.texts,
        "template": space.template,
        "synonym_languages": ", ".join(map(str, space.synonym_languages)),
        "selection": _selection(status.selection),
        "hnsw_m": space.hnsw_m if space.index_type.value == "hnsw" else None,
        "hnsw_ef_construction": space.hnsw_ef_construction if space.index_type.value == "hnsw" else None,
        "index": status.index,
        "first_pass": space.first_pass or None,
        "partial": space.partial if space.index_type.value == "hnsw" else None,
        "partial_indexes": ", ".join(status.partial_domains) or None,
        "recall": _recall(space.recall),
        "table_bytes": status.table_bytes,
        "index_bytes": status.index_bytes,
        "failed": status.failed,
        "batch_jobs": status.batch_jobs,
    }


def _recall(measured: Any) -> str | None:
    """What was measured of the index, such as "10: 40 0.952, 100 0.991": recall at 10 for two ef_search."""
    return (
        "; ".join(
            f"{k}: " + ", ".join(f"{ef_search} {found:.3f}" for at, ef_search, found in measured if at == k)
            for k in sorted({k for k, _, _ in measured})
        )
        or None
    )


def _selection(selection: dict[str, Any] | None) -> str | None:
    if selection is None:
        return None
    parts = [
        name if value is True else f"{name}: {', '.join(map(str, value))}"
        for name, value in selection.items()
    ]
    return "; ".join(parts) or "every concept"
