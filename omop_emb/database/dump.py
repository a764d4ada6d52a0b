"""Dump and restore: all of the schema omop_emb in one file, by PostgreSQL's own programs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import psycopg
import sqlalchemy
from psycopg.conninfo import make_conninfo

from omop_emb import config
from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.errors import DatabaseError, InputError
from omop_emb.safe_files.atomic_file import atomic_write
from omop_emb.server.account import client_program

_MAGIC = b"PGDMP"
# Behind what pg_dump wrote, with its SHA-256: pg_restore ignores it, and takes half a file for a whole one.
_SEAL = b"\nomop-emb sha256 "
_BLOCK = 1 << 20
# Indexes of ours are built on their operators. With --schema alone pg_dump leaves extensions out.
_EXTENSIONS = ("vector", "pg_trgm")


def dump_database(engine: sqlalchemy.Engine, path: str | Path) -> None:
    """Write the schema omop_emb, as of one moment, to a file that pg_restore reads too; "-" is stdout.

    The file holds approved mappings, which are clinical text: a new one is closed to other users.

    Raises:
        DatabaseError: there is nothing to dump, or pg_dump fails.
        InputError: the file cannot be written.
    """
    with session_scope(engine) as session:
        connection = driver_connection(session)
        if not _has_schema(connection):
            raise DatabaseError("this database has no schema omop_emb: there is nothing to dump")
        target = _Target.of(connection)
    arguments = ["--format=custom", "--schema=omop_emb", *(f"--extension={name}" for name in _EXTENSIONS)]
    with atomic_write(path, is_private=True) as out:
        out.write(_SEAL + target.run("pg_dump", arguments, out=out))


def restore_database(engine: sqlalchemy.Engine, path: str | Path) -> None:
    """Fill a database that has no schema omop_emb from a dump, completely or not at all.

    Owner of everything is the role that restores; rights that others had are not restored.

    Raises:
        DatabaseError: the schema omop_emb exists, or pg_restore fails.
        InputError: the file is no dump of omop-emb.
    """
    with session_scope(engine) as session:
        connection = driver_connection(session)
        if _has_schema(connection):
            raise DatabaseError(
                "this database already has a schema omop_emb, and a restore replaces nothing: set "
                "OMOP_EMB_DATA_DIR to a new folder, or OMOP_EMB_DATABASE_URL to another database"
            )
        target = _Target.of(connection)
    _check_dump(Path(path))
    # A comment on an extension is its owner's to write, and a role that is granted rights may not exist.
    options = ("single-transaction", "exit-on-error", "no-owner", "no-privileges", "no-comments")
    target.run("pg_restore", [*(f"--{option}" for option in options), str(path)])
    # Statistics are not in a dump; index-only scans need the vacuum.
    target.run("vacuumdb", ["--analyze", "--quiet", "--schema=omop_emb"])


class _Target:
    """How PostgreSQL's programs reach a database: the password is in no command line."""

    def __init__(self, conninfo: str, password: str) -> None:
        self._conninfo, self._password = conninfo, password

    @classmethod
    def of(cls, connection: psycopg.Connection[Any]) -> _Target:
        info = connection.info
        return cls(make_conninfo(**info.get_parameters()), info.password)

    def run(self, program: str, arguments: list[str], *, out: BinaryIO | None = None) -> bytes:
        """Run a program on the database; see run_program()."""
        return run_program(
            program, [f"--dbname={self._conninfo}", "--no-password", *arguments], out, self._password
        )


def run_program(program: str, arguments: list[str], out: BinaryIO | None, password: str = "") -> bytes:
    """Run one of PostgreSQL's programs, with its output going to `out`; the output's SHA-256."""
    command = [str(client_program(program)), *arguments]
    secret = {"PGPASSWORD": password} if password else {}
    environment = config.program_environment(LC_ALL="C", **secret)
    digest = hashlib.sha256()
    with (
        tempfile.TemporaryFile() as messages,
        subprocess.Popen(  # noqa: S603 - a list, no shell
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=messages, env=environment
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101 - a pipe
        try:
            while block := process.stdout.read(_BLOCK):
                digest.update(block)
                if out is not None:
                    out.write(block)
        except BaseException:
            process.kill()
            raise
        if process.wait() != 0:
            messages.seek(0)
            raise DatabaseError(f"{program} failed: {_reason(messages.read().decode(errors='replace'))}")
    return digest.digest()


def _check_dump(path: Path) -> None:
    try:
        with path.open("rb") as file:
            _check_seal(file, path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _check_seal(file: BinaryIO, path: Path) -> None:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise InputError(f"{path} was not written by omop-emb db dump")
    length = len(_SEAL) + hashlib.sha256().digest_size
    left = file.seek(0, os.SEEK_END) - length
    file.seek(max(0, left))
    seal = file.read(length)
    digest = hashlib.sha256()
    file.seek(0)
    while left > 0 and (block := file.read(min(left, _BLOCK))):
        digest.update(block)
        left -= len(block)
    if seal != _SEAL + digest.digest():
        raise InputError(
            f"{path} is incomplete, or was altered after omop-emb db dump wrote it: use another copy; for "
            "files of pg_dump, use pg_restore"
        )


def _has_schema(connection: psycopg.Connection[Any]) -> bool:
    return connection.execute("select to_regnamespace('omop_emb') is not null").fetchone() == (True,)


def _reason(output: str) -> str:
    """One line: the program's first error, and what the server says of it."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    found = [line.partition("error:")[2].strip() for line in lines if " error: " in line][:1]
    found += [line.partition("ERROR:")[2].strip() for line in lines if "ERROR:" in line][:1]
    with suppress(IndexError):
        if found[1] in found[0]:
            found.pop()
    return "; ".join(found) or (lines[-1] if lines else "no message")
