"""Damage: the server's errors that mean lost or altered pages, the relation that has them, and what helps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy
from psycopg import errors

from omop_emb.errors import DamageError
from omop_emb.sql import read

# What the server says under codes that other errors have too.
_DAMAGE = re.compile(
    r"could not (open|read|access|seek|fsync|stat) .*\b(base|global|pg_[a-z]+)/"
    r"|could not access status of transaction|invalid page in block|missing chunk number|unexpected chunk"
    r"|invalid memory alloc request size|cache lookup failed|could not open relation with OID"
    r"|could not find .*(pg_class|pg_attribute|tuple)|catalog is missing|unexpected data beyond EOF"
    r"|compressed .* data is corrupt|unexpected zero page|corrupted page|invalid lp|Input/output error"
)
# Of an HNSW index's lost page: no vector has no dimensions.
_EMPTY_VECTOR = re.compile(r"different (halfvec|vector|bit) (dimensions|lengths) (\d+ and 0|0 and \d+)$")
_FILE = re.compile(r"\b(?:base|pg_tblspc/\d+/\S+?)/\d+/(\d+)")
_INDEX = re.compile(r'\bindex "([^"]+)"')
_TOAST = re.compile(r"\b(pg_toast_\d+)\b")
_SPACE_TABLE = re.compile(r"space_\d")
_RELEASE_TABLE = re.compile(r"(concept|concept_[a-z]+|domain|vocabulary|relationship|drug_strength)_\d+\b")


def is_damage(error: psycopg.Error) -> bool:
    """Whether an error means that the server's files are damaged."""
    if isinstance(error, errors.DataCorrupted | errors.IndexCorrupted):
        return True
    if isinstance(error, errors.InternalError_ | errors.UndefinedFile | errors.IoError):
        return _DAMAGE.search(error.diag.message_primary or "") is not None
    if isinstance(error, errors.DataException):
        return _EMPTY_VECTOR.search(error.diag.message_primary or "") is not None
    return False


@contextmanager
def named_damage(engine: sqlalchemy.Engine) -> Iterator[None]:
    """Let a DamageError say which relation is damaged, which the server's message gives by number."""
    try:
        yield
    except DamageError as error:
        relation = damaged_relation(engine, error.reason)
        if relation is None:
            raise
        raise DamageError(error.reason, relation, remedy(*relation)) from error


def remedy(kind: str, name: str) -> str:
    """What to do about a damaged relation of ours: a "table" or "index", and its name with the schema."""
    restore = "restore a dump (omop-emb db restore)"
    bare = name.removeprefix("omop_emb.")
    if kind == "index":
        return f"run REINDEX INDEX {name} in psql, or {restore}"
    if _SPACE_TABLE.match(bare):
        return f"drop and build that space again (omop-emb index list), or {restore}"
    if _RELEASE_TABLE.match(bare):
        return f"load the vocabulary again (omop-emb vocabulary load), or {restore}"
    return restore


def damaged_relation(engine: sqlalchemy.Engine, reason: str) -> tuple[str, str] | None:
    """Kind and name of the relation of ours that a message of the server is about."""
    file, index, toast = _FILE.search(reason), _INDEX.search(reason), _TOAST.search(reason)
    values: dict[str, Any] = {
        "file": int(file[1]) if file else None,
        "name": index[1] if index else toast[1] if toast else None,
    }
    try:
        with engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)  # noqa: S101 - every engine of ours
            row = driver.execute(read("damaged_relation"), values).fetchone()
    except (sqlalchemy.exc.SQLAlchemyError, psycopg.Error):
        return None  # the catalogue is damaged too, or may not be read
    return None if row is None else (row[0], row[1])
