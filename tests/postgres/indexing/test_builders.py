"""Several builders of one space, each a process: they share the work, and take over that of a dead one."""

from __future__ import annotations

import json
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from omop_emb import IndexType
from omop_emb.database.engine import driver_connection
from omop_emb.indexing import shared_progress
from omop_emb.indexing.report import Phase, Progress
from omop_emb.spaces import registry
from tests.builds import build_with
from tests.small_vocabulary import (
    ConceptRow,
    CountingProvider,
    SmallVocabulary,
    counting_client,
    stored_vectors,
)

from .builder import BuilderProcess

CONCEPTS = 120
CHUNK_TEXTS = 8
SLOWLY = 0.5  # seconds a batch: all of it would take such a builder far longer than the test

NewBuilder = Callable[..., BuilderProcess]


def many_concepts(engine: Engine, folder: Path, count: int) -> SmallVocabulary:
    """Each has a name of its own, a synonym, and one that it shares with a neighbour."""
    vocabulary = SmallVocabulary(engine, folder)
    vocabulary.load(
        *(
            ConceptRow(number, f"Concept {number}", synonyms=(f"Also {number}", f"Group {number // 2}"))
            for number in range(1, count + 1)
        )
    )
    return vocabulary


@pytest.fixture
def new_builder(database_url: str, tmp_path: Path) -> Iterator[NewBuilder]:
    """Starts builders of this database, each with its own log; none of them outlives the test."""
    started: list[BuilderProcess] = []

    def new(*, seconds: float = 0.02, **options: object) -> BuilderProcess:
        log = tmp_path / f"builder-{len(started)}.log"
        provider = {"batch_texts": 4, "seconds": seconds}
        made = BuilderProcess(database_url, log, provider=provider, **{"chunk_texts": CHUNK_TEXTS, **options})
        started.append(made)
        return made

    yield new
    for builder in started:
        builder.gone()


def assert_as_by_one_builder(engine: Engine) -> None:
    """The active space has what one undisturbed builder makes in a space of another model."""
    alone = counting_client(CountingProvider("alone", batch_texts=1000))
    build_with(engine, alone, index_type=IndexType.FLAT, name="alone")
    with engine.connect() as connection:
        driver = driver_connection(connection)
        expected = stored_vectors(driver, registry.space_by_name(driver, "alone").space_id)
        assert stored_vectors(driver, registry.active_space(driver).space_id) == expected
        assert driver.execute("select count(*) from omop_emb.build").fetchone() == (0,)


def wait_until(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_two_builders_share_the_work_and_embed_each_text_once(
    engine: Engine, tmp_path: Path, new_builder: NewBuilder
) -> None:
    many_concepts(engine, tmp_path, CONCEPTS)
    builders = [new_builder(seconds=0.1), new_builder(seconds=0.1)]
    for builder in builders:
        builder.begin()
    embedded = []
    for builder in builders:
        code, said, complained = builder.end()
        assert code == 0, complained
        embedded.append(json.loads(said)["texts"])
    sent = Counter(builders[0].sent() + builders[1].sent())
    assert set(sent.values()) == {1}
    assert len(sent) == sum(embedded) == 2 * CONCEPTS + CONCEPTS // 2 + 1
    assert min(embedded) > 0
    assert_as_by_one_builder(engine)


def test_progress_counts_what_the_other_builders_have_embedded(
    engine: Engine, tmp_path: Path, new_builder: NewBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_progress, "_SECONDS_BETWEEN_COUNTS", 0.0)
    many_concepts(engine, tmp_path, CONCEPTS)
    other = new_builder(seconds=0.1)
    other.begin()
    wait_until(lambda: other.sent())
    seen: list[Progress] = []
    report = build_with(
        engine,
        counting_client(CountingProvider(seconds=0.1)),
        index_type=IndexType.FLAT,
        chunk_texts=CHUNK_TEXTS,
        on_progress=seen.append,
    )
    assert other.end()[0] == 0
    embedding = [progress for progress in seen if progress.phase is Phase.EMBED]
    assert embedding[-1].done > report.embedded_texts > 0
    assert [progress.done for progress in embedding] == sorted(progress.done for progress in embedding)
    assert all(progress.done <= progress.total for progress in embedding)


def test_the_work_of_a_killed_builder_is_taken_over_by_the_others(
    engine: Engine, tmp_path: Path, new_builder: NewBuilder
) -> None:
    many_concepts(engine, tmp_path, CONCEPTS)
    # The lease is far longer than the test: that the connection is gone must be enough.
    killed, other = new_builder(seconds=SLOWLY, lease_seconds=3600), new_builder(lease_seconds=3600)
    killed.begin()
    wait_until(lambda: len(killed.sent()) > CHUNK_TEXTS)
    other.begin()
    wait_until(lambda: other.sent())
    killed.gone()
    code, _, complained = other.end()
    assert code == 0, complained
    sent = Counter(killed.sent() + other.sent())
    # What it had claimed: the pieces that it embedded, and one ahead.
    assert sum(count - 1 for count in sent.values()) <= 4 * CHUNK_TEXTS
    assert_as_by_one_builder(engine)


def test_the_work_of_a_frozen_builder_is_taken_over_when_its_lease_ends(
    engine: Engine, tmp_path: Path, new_builder: NewBuilder
) -> None:
    many_concepts(engine, tmp_path, CONCEPTS)
    frozen, other = new_builder(seconds=SLOWLY, lease_seconds=0.5), new_builder(lease_seconds=0.5)
    frozen.begin()
    wait_until(lambda: len(frozen.sent()) > CHUNK_TEXTS)
    time.sleep(SLOWLY / 2)  # its model is at work, and nothing is being written
    frozen.process.send_signal(signal.SIGSTOP)
    other.begin()
    code, _, complained = other.end()
    assert code == 0, complained
    frozen.process.send_signal(signal.SIGCONT)
    code, _, complained = frozen.end()
    # Frozen within a transaction it has lost that, as a lock of it would have kept the others waiting.
    assert code == 0 or re.search("idle for too long|connection to the database was lost", complained), (
        complained
    )
    assert_as_by_one_builder(engine)
