"""Builders and the server are killed at any moment: the last build ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from omop_emb import IndexType
from omop_emb.database.engine import database_engine, driver_connection
from omop_emb.search.vector_indexes import index_state
from omop_emb.server import supervisor
from omop_emb.spaces import registry
from omop_emb.spaces.registry import Space
from tests.builds import build_with
from tests.small_vocabulary import ConceptRow, CountingProvider, SmallVocabulary, counting_client

from .builder import BuilderProcess

CONCEPTS = 80
CHUNK_TEXTS = 16
LONGEST_SECONDS = 2.0  # about what a build of the first release takes on a quiet machine


def test_after_kills_of_builders_and_servers_the_space_equals_that_of_an_undisturbed_build(
    folder: Path, tmp_path: Path
) -> None:
    kill_and_compare(folder / "data", tmp_path, ["builder", "server", "builder", "builder"])


@pytest.mark.long
def test_after_25_kills_of_the_builder_and_5_of_the_server_the_space_equals_that_of_an_undisturbed_build(
    folder: Path, tmp_path: Path
) -> None:
    kill_and_compare(folder / "data", tmp_path, [*["builder"] * 5, "server"] * 5)


def kill_and_compare(data_dir: Path, tmp_path: Path, victims: list[str]) -> None:
    chance = Random(20261121)  # noqa: S311 - nothing secret
    log = tmp_path / "sent.log"
    engine = database_engine(data_dir=data_dir)
    vocabulary = SmallVocabulary(engine, tmp_path)
    next_release(vocabulary, chance)
    for victim in victims:
        builder = new_builder(data_dir, log)
        builder.begin()
        time.sleep(chance.uniform(0, LONGEST_SECONDS))
        if victim == "server":
            pid = supervisor.status(data_dir).pid
            assert pid is not None
            engine.dispose()
            os.kill(pid, signal.SIGKILL)
            code, _, complained = builder.end()
            assert code == 0 or "\nerror: " in complained, complained
        else:
            builder.gone()
        if is_finished(engine):
            next_release(vocabulary, chance)
    builder = new_builder(data_dir, log)
    builder.begin()
    code, _, complained = builder.end()
    assert code == 0, complained
    asked = Counter(builder.sent())
    # Lost with each kill: the pieces under way, one that is waiting to be written and one claimed ahead.
    assert sum(count - 1 for count in asked.values()) <= 4 * CHUNK_TEXTS * len(victims)
    with engine.connect() as connection:
        driver = driver_connection(connection)
        space = registry.active_space(driver)
        assert index_state(driver, space) == "valid"
        found = everything(driver, space)
        left = driver.execute("select to_regclass('omop_emb.space_1_work'), count(*) from omop_emb.build")
        assert left.fetchone() == (None, 0)
    undisturbed = counting_client(CountingProvider("undisturbed", batch_texts=1000))
    build_with(engine, undisturbed, index_type=IndexType.FLAT, name="undisturbed")
    with engine.connect() as connection:
        driver = driver_connection(connection)
        assert found == everything(driver, registry.space_by_name(driver, "undisturbed"))
    engine.dispose()


def new_builder(data_dir: Path, log: Path) -> BuilderProcess:
    provider = {"batch_texts": 8, "seconds": 0.03}
    return BuilderProcess(str(data_dir), log, provider=provider, index_type="hnsw", chunk_texts=CHUNK_TEXTS)


def next_release(vocabulary: SmallVocabulary, chance: Random) -> None:
    """Another release: concepts come and go, are renamed and moved; no text comes back once it has gone."""
    release = vocabulary.release
    there = list(vocabulary.rows)
    gone = chance.sample(there, len(there) // 10)
    changed = chance.sample(sorted(set(there) - set(gone)), len(there) // 3)
    new = range(1000 * release + 1, 1000 * release + 1 + (CONCEPTS // 4 if there else CONCEPTS))
    rows = [
        ConceptRow(n, f"Name {n} {release}", synonyms=(f"Also {n} {release}", f"Group {n // 2}")) for n in new
    ]
    for n in changed:
        synonyms = (*vocabulary.rows[n].synonyms[:2], f"Since {release} {n}")
        rows.append(
            ConceptRow(n, f"Name {n} {release}", domain=chance.choice(["Drug", "Device"]), synonyms=synonyms)
        )
    vocabulary.load(*rows, without=gone)


def is_finished(engine: Engine) -> bool:
    with engine.connect() as connection:
        driver = driver_connection(connection)
        if not [space for space in registry.all_spaces(driver) if space.is_active]:
            return False
        return driver.execute("select from omop_emb.build").fetchone() is None


def everything(connection: psycopg.Connection[Any], space: Space) -> list[tuple[Any, ...]]:
    """Every column of every row, vectors as bytes."""
    query = psycopg.sql.SQL(
        "select r.*, halfvec_send(r.embedding), t.* from {} r full join {} t "
        "using (concept_id, text_kind, text_hash) "
        "order by r.concept_id, r.text_kind, r.text_hash, t.concept_id"
    ).format(space.tables.rows, space.tables.texts)
    return connection.execute(query).fetchall()
