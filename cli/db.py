"""The commands omop-emb db: the embedded server, and the schema of whichever database is in use."""

from __future__ import annotations

import click

from omop_emb import config
from omop_emb.errors import ConfigurationError

from .render import echo, format_option, render

_URL = "OMOP_EMB_DATABASE_URL"
_COLUMNS = (
    "server",
    "state",
    "version",
    "pgvector",
    "database",
    "user",
    "pending_migrations",
    "data_dir",
    "socket_dir",
    "pid",
    "started",
    "log",
)


@click.group("db")
def command() -> None:
    """The database: the embedded server, or yours in OMOP_EMB_DATABASE_URL.

    The embedded server starts by itself when it is needed, is shared by all processes of its user, and keeps
    running until `db stop` or the end of the machine. It lives in OMOP_EMB_DATA_DIR.
    """


@command.command("start")
def start() -> None:
    """Start the embedded server, made on first use; waits while it recovers from a crash."""
    from omop_emb import server

    _needs_embedded("start")
    server.ensure_running(on_message=echo)
    echo(f"PostgreSQL is ready in {server.status().data_dir}")


@command.command("stop")
def stop() -> None:
    """Stop the embedded server; what is not committed by then is rolled back."""
    from omop_emb import server

    _needs_embedded("stop")
    stopped = server.stop(on_message=echo)
    where = server.status().data_dir
    echo(f"PostgreSQL in {where} is stopped" if stopped else f"PostgreSQL in {where} was not running")


@command.command("status")
@format_option
def status(format_: str) -> None:
    """Show which database is in use and how it stands; starts nothing."""
    from omop_emb import server
    from omop_emb.database import database_status

    row: dict[str, object] = {"server": "external", "state": "ready"}
    embedded = config.text_or_none(_URL) is None
    if embedded:
        found = server.status()
        row = {"server": "embedded", "state": found.state, "pid": found.pid, "log": str(found.log)}
        row |= {"data_dir": str(found.data_dir)}
        row["socket_dir"] = None if found.socket_dir is None else str(found.socket_dir)
        row["started"] = None if found.started is None else found.started.isoformat()
    if row["state"] == "ready":
        row |= database_status()
    if format_ == "table":
        shown = [
            {"property": name.replace("_", " "), "value": row[name]}
            for name in _COLUMNS
            if row.get(name) is not None
        ]
        render(shown, ["property", "value"], format_)
    else:
        render([row], _COLUMNS, format_)


@command.command("migrate")
@click.option(
    "--print", "print_", is_flag=True, help="Write the SQL to stdout instead, for an administrator to run."
)
def migrate(print_: bool) -> None:
    """Bring the schema omop_emb up to date; a schema that is, is left alone.

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


def _needs_embedded(verb: str) -> None:
    if config.text_or_none(_URL) is not None:
        raise ConfigurationError(
            f"{_URL} is set, so the embedded server is not in use: unset it to {verb} the embedded server"
        )
