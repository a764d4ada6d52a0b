"""The registry cache never returns outdated spaces, whoever changed them and however."""

from __future__ import annotations

import psycopg
import pytest

from omop_emb import IndexType
from omop_emb.records import Fingerprint
from omop_emb.spaces import lifecycle, registry
from omop_emb.spaces.registry import Space
from omop_emb.spaces.registry_cache import RegistryCache


def create_space(connection: psycopg.Connection, model: str) -> Space:
    fingerprint = Fingerprint(provider="test", model=model, revision="1", dimensions=3)
    return lifecycle.ensure_space(connection, fingerprint, IndexType.HNSW, with_index=False)[0]


@pytest.fixture
def space(database_url: str) -> Space:
    with psycopg.connect(database_url) as connection:
        return create_space(connection, "one")


CHANGES = {
    "another is created": "insert into omop_emb.space (name, fingerprint, provider, model, revision, "
    "dimensions, document_prefix, query_prefix, document_task, query_task, normalisation, index_type) "
    "values ('two', '2', 'test', 'two', '1', 3, '', '', '', '', 'l2', 'flat')",
    "it is activated": "update omop_emb.space set is_active = true",
    "a first build begins": "insert into omop_emb.build (space_id, settings, lease_until) "
    "select space_id, '', now() from omop_emb.space",
    "its index is created": "create index space_1_hnsw on omop_emb.space_1 "
    "using hnsw (embedding halfvec_cosine_ops)",
    "its recall is measured": "update omop_emb.space set recall = '[[10, 40, 0.99]]'",
    "it is dropped": "delete from omop_emb.space",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_once_committed_and_forgotten_once_rolled_back(
    space: Space, database_url: str, change: str
) -> None:
    assert space.space_id == 1
    cache = RegistryCache()
    with (
        psycopg.connect(database_url, autocommit=True) as reader,
        psycopg.connect(database_url) as writer,
    ):
        before = cache.all_spaces(reader)
        assert before == [space]
        assert cache.all_spaces(reader) is before  # read once
        with writer.transaction(force_rollback=True):
            writer.execute(CHANGES[change])
            assert cache.all_spaces(writer) == registry.all_spaces(writer) != before
            writer.execute("select 1")
        assert cache.all_spaces(writer) == before
        with writer.transaction():
            writer.execute(CHANGES[change])
        writer.commit()
        assert cache.all_spaces(reader) == registry.all_spaces(reader) != before


def test_a_database_whose_schema_was_dropped_has_no_spaces(space: Space, database_url: str) -> None:
    cache = RegistryCache()
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert cache.all_spaces(connection) == [space]
        connection.execute("drop schema omop_emb cascade")
        for _ in range(2):
            assert cache.all_spaces(connection) == []


def test_the_spaces_of_several_databases_are_kept_apart(
    space: Space, database_url: str, shared_conninfo: str
) -> None:
    cache = RegistryCache()
    with psycopg.connect(database_url) as first, psycopg.connect(shared_conninfo) as second:
        create_space(second, "other")
        for _ in range(2):
            assert cache.all_spaces(first) == [space]
            assert cache.all_spaces(second) == registry.all_spaces(second) != [space]
            with psycopg.connect(database_url, dbname="postgres") as empty:
                assert cache.all_spaces(empty) == []
                empty.execute("select 1")  # its transaction has not failed
        second.rollback()
