"""Spaces that were read before are never taken for what they are now, whoever changed them and however."""

from __future__ import annotations

import psycopg
import pytest

from omop_emb import IndexType
from omop_emb.records import Fingerprint
from omop_emb.spaces import lifecycle, registry
from omop_emb.spaces.registry import Space
from omop_emb.spaces.registry_cache import KnownSpaces


def made(connection: psycopg.Connection, model: str) -> Space:
    fingerprint = Fingerprint(provider="test", model=model, revision="1", dimensions=3)
    return lifecycle.ensure_space(connection, fingerprint, IndexType.HNSW, with_index=False)[0]


@pytest.fixture
def one(database_url: str) -> Space:
    with psycopg.connect(database_url) as connection:
        return made(connection, "one")


CHANGES = {
    "another is made": "insert into omop_emb.space (name, fingerprint, provider, model, revision, "
    "dimensions, document_prefix, query_prefix, document_task, query_task, normalisation, index_type) "
    "values ('two', '2', 'test', 'two', '1', 3, '', '', '', '', 'l2', 'flat')",
    "it is activated": "update omop_emb.space set is_active = true",
    "a first build begins": "insert into omop_emb.build (space_id, settings, lease_until) "
    "select space_id, '', now() from omop_emb.space",
    "its index is made": "create index space_1_hnsw on omop_emb.space_1 "
    "using hnsw (embedding halfvec_cosine_ops)",
    "its recall is measured": "update omop_emb.space set recall = '[[10, 40, 0.99]]'",
    "it is dropped": "delete from omop_emb.space",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_when_it_is_committed_and_forgotten_when_it_is_rolled_back(
    one: Space, database_url: str, change: str
) -> None:
    assert one.space_id == 1
    known = KnownSpaces()
    with (
        psycopg.connect(database_url, autocommit=True) as reader,
        psycopg.connect(database_url) as writer,
    ):
        before = known.listed(reader)
        assert before == [one]
        assert known.listed(reader) is before  # read once
        with writer.transaction(force_rollback=True):
            writer.execute(CHANGES[change])
            assert known.listed(writer) == registry.all_spaces(writer) != before
            writer.execute("select 1")
        assert known.listed(writer) == before
        with writer.transaction():
            writer.execute(CHANGES[change])
        writer.commit()
        assert known.listed(reader) == registry.all_spaces(reader) != before


def test_a_database_that_was_emptied_since_has_no_spaces(one: Space, database_url: str) -> None:
    known = KnownSpaces()
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert known.listed(connection) == [one]
        connection.execute("drop schema omop_emb cascade")
        for _ in range(2):
            assert known.listed(connection) == []


def test_another_database_has_spaces_of_its_own(one: Space, database_url: str, shared_conninfo: str) -> None:
    known = KnownSpaces()
    with psycopg.connect(database_url) as here, psycopg.connect(shared_conninfo) as there:
        made(there, "other")
        for _ in range(2):
            assert known.listed(here) == [one]
            assert known.listed(there) == registry.all_spaces(there) != [one]
            with psycopg.connect(database_url, dbname="postgres") as empty:
                assert known.listed(empty) == []
                empty.execute("select 1")  # its transaction has not failed
        there.rollback()
