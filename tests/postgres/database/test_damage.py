"""Damaged pages: one line says which table or index has them, and what helps."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from omop_emb import EmbeddingInterface
from omop_emb.database.engine import driver_connection, readable_errors, session_scope
from omop_emb.errors import DamageError

# What PostgreSQL 14 to 18 says of damaged files: its code and message, and the relation that is named.
# {table}, {index} and {toast} are the numbers of the files of omop_emb.kept, its index and its TOAST table.
REPORTS = {
    "bad checksum": ("XX001", "invalid page in block 3 of relation base/5/{table}", "table omop_emb.kept"),
    "of PostgreSQL 18": (
        "XX001",
        'invalid page in block 3 of relation "base/5/{table}"',
        "table omop_emb.kept",
    ),
    "short file": (
        "XX001",
        'could not read block 7 in file "base/5/{table}": read only 0 of 8192 bytes',
        "table omop_emb.kept",
    ),
    "short file of an index": (
        "XX001",
        'could not read blocks 7..8 in file "base/5/{index}": read only 0 of 16384 bytes',
        "index omop_emb.kept_pkey",
    ),
    "second gigabyte": (
        "58030",
        'could not read block 140000 in file "base/5/{table}.1": Input/output error',
        "table omop_emb.kept",
    ),
    "no file": (
        "58P01",
        'could not open file "base/5/{table}": No such file or directory',
        "table omop_emb.kept",
    ),
    "another disk": (
        "58P01",
        'could not open file "pg_tblspc/16/PG_18_202506291/5/{table}": No such file or directory',
        "table omop_emb.kept",
    ),
    "long value": (
        "XX001",
        "missing chunk number 0 for toast value 17 in pg_toast_{oid}",
        "table omop_emb.kept",
    ),
    "long values' file": (
        "XX001",
        "invalid page in block 0 of relation base/5/{toast}",
        "table omop_emb.kept",
    ),
    "page of an index": (
        "XX002",
        'index "kept_pkey" contains unexpected zero page at block 3',
        "index omop_emb.kept_pkey",
    ),
    "length of a value": ("XX000", "invalid memory alloc request size 18446744073709551613", "a file"),
    "compressed value": ("XX001", "compressed pglz data is corrupt", "a file"),
    "transaction's status": ("58P01", "could not access status of transaction 3221225472", "a file"),
    "catalogue": ("XX000", "cache lookup failed for type 17", "a file"),
    "catalogue's columns": ("XX000", "catalog is missing 2 attribute(s) for relation OID 17", "a file"),
    "page of a vector index": ("22000", "different halfvec dimensions 768 and 0", "a file"),
    "old row": ("XX001", "found xmin 7 from before relfrozenxid 800", "a file"),
}


@pytest.fixture
def kept(engine: Engine) -> dict[str, int]:
    with session_scope(engine) as session:
        connection = driver_connection(session)
        connection.execute("create table omop_emb.kept (id integer primary key, text text)")
        row = connection.execute(
            "select pg_relation_filenode(oid), pg_relation_filenode('omop_emb.kept_pkey'),"
            " pg_relation_filenode(reltoastrelid), oid::int"
            " from pg_class where oid = 'omop_emb.kept'::regclass"
        ).fetchone()
    assert row is not None
    return dict(zip(("table", "index", "toast", "oid"), row, strict=True))


def _raise(connection: psycopg.Connection, code: str, message: str) -> None:
    connection.execute(
        psycopg.sql.SQL("do $$ begin raise exception using errcode = {}, message = {}; end $$").format(
            code, message
        )
    )


@pytest.mark.parametrize("report", REPORTS)
def test_the_damaged_relation_is_named_with_what_helps(
    engine: Engine, kept: dict[str, int], report: str
) -> None:
    code, message, expected = REPORTS[report]
    with pytest.raises(DamageError) as raised, session_scope(engine) as session:
        _raise(driver_connection(session), code, message.format(**kept))
    text = str(raised.value)
    assert text.startswith(f"{expected} ")
    assert "is damaged (" in text
    assert "db restore" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("58P01", 'could not open extension control file "/usr/share/vector.control": No such file'),
        ("XX000", "something of pgvector that is no damage"),
        ("22000", "different halfvec dimensions 768 and 384"),
        ("22P02", "invalid input syntax for type integer"),
    ],
)
def test_other_errors_are_no_damage(connection: psycopg.Connection, code: str, message: str) -> None:
    with pytest.raises(psycopg.Error), readable_errors():
        _raise(connection, code, message)


def test_a_text_that_is_gone_is_damage_and_no_change(sample: Session) -> None:
    interface = EmbeddingInterface()
    driver_connection(sample).execute("delete from omop_emb.space_1_text")
    with pytest.raises(DamageError, match=r"^table omop_emb.space_1_text is damaged \(it lacks rows"):
        interface.get_nearest_concepts_from_query_texts(session=sample, query_texts=["asthma"], k=1)
    sample.rollback()
