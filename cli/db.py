"""omop-emb db: the embedded server, and the schema of the database in use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from omop_emb import config
from omop_emb.errors import ConfigurationError
from omop_emb.records import counted

from .progress import byte_progress
from .render import echo, format_option, render, render_record
from .suggestions import Group

_URL = "OMOP_EMB_DATABASE_URL"
_STATUS_NAMES = (
    *("server", "state", "version", "pgvector", "database", "user", "pending_migrations"),
    *("data_dir", "socket_dir", "pid", "started", "log"),
)


@click.group("db", cls=Group)
def command() -> None:
    """Manage the database: the embedded server, or your own in OMOP_EMB_DATABASE_URL.

    The embedded server starts automatically when it is needed, is shared by all processes of its user, and
    runs until `db stop` or until the machine stops. Its data is in OMOP_EMB_DATA_DIR.
    """


@command.command("start")
def start() -> None:
    """Start the embedded server (created on first use), and wait while it recovers from a crash."""
    from omop_emb import server

    _require_embedded("start")
    server.ensure_running(on_message=echo)
    echo(f"PostgreSQL is ready in {server.status().data_dir}")


@command.command("stop")
def stop() -> None:
    """Stop the embedded server; uncommitted work is rolled back."""
    from omop_emb import server

    _require_embedded("stop")
    stopped = server.stop(on_message=echo)
    folder = server.status().data_dir
    echo(f"PostgreSQL in {folder} is stopped" if stopped else f"PostgreSQL in {folder} was not running")


@command.command("status")
@format_option
def status(format_: str) -> None:
    """Show which database is in use, and its state, without starting anything."""
    from omop_emb import server
    from omop_emb.database import database_status

    values: dict[str, Any] = {"server": "external", "state": "ready"}
    if config.variable(_URL) is None:
        embedded = server.status()
        values = {
            "server": "embedded",
            "state": embedded.state,
            "data_dir": str(embedded.data_dir),
            "socket_dir": None if embedded.socket_dir is None else str(embedded.socket_dir),
            "pid": embedded.pid,
            "started": None if embedded.started is None else embedded.started.isoformat(),
            "log": str(embedded.log),
        }
    if values["state"] == "ready":
        values |= database_status()
    render_record({name: values.get(name) for name in _STATUS_NAMES}, format_)


@command.command("migrate")
@click.option(
    "--print", "print_", is_flag=True, help="Only write the SQL to stdout, for an administrator to run."
)
def migrate(print_: bool) -> None:
    """Bring the schema omop_emb up to date.

    \b
    omop-emb db migrate
    omop-emb db migrate --print > omop_emb.sql && psql -f omop_emb.sql …
    """
    from omop_emb.database import driver_connection, migrate, migration_script, session_scope

    if print_:
        click.echo(migration_script())
        return
    with session_scope() as session:
        applied = migrate(driver_connection(session))
    echo(f"applied {', '.join(applied)}" if applied else "the schema omop_emb is up to date")


@command.command("check")
@format_option
@click.pass_context
def check(context: click.Context, format_: str) -> None:
    """Read and compare every table and index once; exit code 1 if something is damaged.

    Lists what is damaged, and what to do about it. Nothing is changed. A superuser, such as the embedded
    server's, also checks indexes entry by entry; a role that may only read checks what it can.
    """
    from omop_emb.database import engine_scope
    from omop_emb.service import check_relations

    with engine_scope() as engine, byte_progress() as on_progress:
        report = check_relations(engine, on_progress=on_progress)
    for line in report.not_checked:
        echo(f"not checked: {line}")
    damages = [
        {"kind": damage.kind, "name": damage.name, "problem": damage.problem, "next_step": damage.next_step}
        for damage in report.damages
    ]
    if damages or format_ != "table":
        render(damages, ("kind", "name", "problem", "next_step"), format_)
    echo(
        f"read {counted(report.relations, 'table and index', 'tables and indexes')}, "
        f"{report.bytes / 1e6:,.1f} MB: {counted(len(damages), 'is', 'are')} damaged"
    )
    context.exit(1 if damages else 0)


@command.command("dump")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
def dump(file: str) -> None:
    """Write the schema omop_emb to FILE: vocabularies, spaces, vectors and approved mappings.

    pg_restore can read the file too. `index export` writes a single space.

    \b
    omop-emb db dump omop_emb.dump
    """
    from omop_emb.database import dump_database, engine_scope

    with engine_scope() as engine:
        dump_database(engine, file)
    if file != "-":
        echo(f"wrote {file}, {Path(file).stat().st_size / 1e6:,.1f} MB")


@command.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
def restore(file: str) -> None:
    """Fill a database that has no schema omop_emb from FILE, completely or not at all.

    \b
    OMOP_EMB_DATA_DIR=/new/folder omop-emb db restore omop_emb.dump
    """
    from omop_emb.database import engine_scope, restore_database

    with engine_scope() as engine:
        restore_database(engine, file)
    echo(f"restored {file}: omop-emb db check reads it once")


def _require_embedded(verb: str) -> None:
    if config.variable(_URL) is not None:
        raise ConfigurationError(
            f"{_URL} is set, so the embedded server is not in use: unset it to {verb} the embedded server"
        )
