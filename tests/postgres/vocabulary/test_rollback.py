"""The release before the active one is kept, and the vocabulary can go back to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg
import pytest

from omop_emb.errors import VocabularyError
from omop_emb.vocabulary import loader, reader
from omop_emb.vocabulary.releases import drop_retired, is_older, rollback_vocabulary, vocabulary_releases

Download = Callable[..., Path]
ConceptLine = Callable[..., str]

load_vocabulary = partial(loader.load_vocabulary, allow_shrink=True)


@pytest.fixture
def releases(download: Download, concept_line: ConceptLine) -> list[Path]:
    """Three downloads: the first has one concept, the second two, the third three."""
    return [
        download(
            f"release-{count}",
            CONCEPT=[concept_line(number, f"Concept {number}") for number in range(1, count + 1)],
            VOCABULARY=[f"None\tOMOP\tOMOP\tv5.0 0{count}-JAN-26\t44819096"],
        )
        for count in (1, 2, 3)
    ]


def _load(connection: psycopg.Connection, path: Path, *, keep_previous: bool = True) -> None:
    load_vocabulary(connection, path, keep_previous=keep_previous)
    connection.commit()
    drop_retired(connection)
    connection.commit()


def _counts(connection: psycopg.Connection) -> list[int]:
    """How many concepts the active release and the kept one have."""
    counts = [release.concepts for release in vocabulary_releases(connection)]
    assert len(reader.concepts_by_id(connection, range(10))) == counts[0]
    assert counts == sorted(counts, key=counts.index)
    connection.commit()
    return counts


def _table_count(connection: psycopg.Connection) -> int:
    row = connection.execute(
        "select count(*) from pg_tables where schemaname = 'omop_emb' and tablename ~ '^concept_[0-9]+$'"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_rollback_goes_back_and_a_second_one_forward_again(
    connection: psycopg.Connection, releases: list[Path]
) -> None:
    _load(connection, releases[0])
    _load(connection, releases[1])
    assert _counts(connection) == [2, 1]
    active, previous = rollback_vocabulary(connection)
    connection.commit()
    assert (active.concepts, previous.concepts) == (1, 2)
    assert _counts(connection) == [1, 2]
    assert drop_retired(connection) == []
    rollback_vocabulary(connection)
    connection.commit()
    assert _counts(connection) == [2, 1]


def test_only_the_release_before_is_kept(connection: psycopg.Connection, releases: list[Path]) -> None:
    for path in releases:
        _load(connection, path)
    assert _counts(connection) == [3, 2]
    assert _table_count(connection) == 2


def test_a_load_after_a_rollback_keeps_the_release_that_it_replaces(
    connection: psycopg.Connection, releases: list[Path]
) -> None:
    _load(connection, releases[0])
    _load(connection, releases[1])
    rollback_vocabulary(connection)
    connection.commit()
    _load(connection, releases[2])
    assert _counts(connection) == [3, 1]


def test_the_same_download_twice_does_not_push_the_release_before_out(
    connection: psycopg.Connection, releases: list[Path]
) -> None:
    _load(connection, releases[0])
    _load(connection, releases[1])
    _load(connection, releases[1])
    assert _counts(connection) == [2, 1]
    assert _table_count(connection) == 2


def test_without_keeping_only_the_new_release_stays(
    connection: psycopg.Connection, releases: list[Path]
) -> None:
    _load(connection, releases[0])
    _load(connection, releases[1])
    _load(connection, releases[2], keep_previous=False)
    assert _counts(connection) == [3]
    assert _table_count(connection) == 1


def test_without_an_earlier_release_a_rollback_says_what_keeps_one(
    connection: psycopg.Connection, releases: list[Path]
) -> None:
    for path in (None, releases[0]):
        if path is not None:
            _load(connection, path)
        with pytest.raises(VocabularyError, match="no earlier release is kept: omop-emb vocabulary"):
            rollback_vocabulary(connection)
        connection.rollback()


def test_a_cdm_cannot_be_rolled_back(connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMOP_EMB_VOCABULARY_SCHEMA", "cdm")
    with pytest.raises(VocabularyError, match="nothing is ever written"):
        rollback_vocabulary(connection)


def test_readers_neither_wait_nor_see_half_a_rollback(
    connection: psycopg.Connection, database_url: str, releases: list[Path]
) -> None:
    _load(connection, releases[0])
    _load(connection, releases[1])
    with psycopg.connect(database_url, options="-c lock_timeout=1s") as other:
        rollback_vocabulary(connection)
        assert len(reader.concepts_by_id(other, range(10))) == 2
        connection.commit()
        other.commit()
        assert len(reader.concepts_by_id(other, range(10))) == 1


@pytest.mark.parametrize("command", ["rollback", "load"])
def test_a_command_that_is_killed_in_the_middle_changes_nothing(
    connection: psycopg.Connection, database_url: str, releases: list[Path], command: str
) -> None:
    _load(connection, releases[0])
    _load(connection, releases[1])
    arguments = [command, *([str(releases[2])] if command == "load" else [])]
    with psycopg.connect(database_url) as blocker:
        # Both wait here, after their first changes.
        blocker.execute("select from omop_emb.vocabulary_release where state = 'active' for update")
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("omop-emb")), "vocabulary", *arguments],
            env={**os.environ, "OMOP_EMB_DATABASE_URL": database_url},
            stderr=subprocess.DEVNULL,
        )
        waiting = (
            "select count(*) from pg_stat_activity "
            "where datname = current_database() and wait_event_type = 'Lock'"
        )
        for _ in range(600):
            row = blocker.execute(waiting).fetchone()
            if row is not None and row[0]:
                break
            time.sleep(0.1)
        was_running = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert was_running
    assert _counts(connection) == [2, 1]
    rollback = subprocess.run(
        [str(Path(sys.executable).with_name("omop-emb")), "vocabulary", "rollback"],
        env={**os.environ, "OMOP_EMB_DATABASE_URL": database_url},
        check=False,
    )
    assert rollback.returncode == 0
    assert _counts(connection) == [1, 2]


@pytest.mark.parametrize(
    ("version", "than", "older"),
    [
        ("v5.0 30-AUG-24", "v5.0 27-FEB-26", True),
        ("v5.0 27-FEB-26", "v5.0 30-AUG-24", False),
        ("v5.0 30-AUG-24", "v5.0 30-AUG-24", False),
        ("v5.0 01-JAN-2024", "v5.0 31-DEC-23", False),
        ("v5.0 31-DEC-23", "v5.0 01-JAN-24", True),
        ("v5.0 30-FEB-24", "v5.0 01-MAR-24", False),  # no date
        ("release 1", "release 2", False),
        (None, "v5.0 30-AUG-24", False),
    ],
)
def test_an_older_release_is_recognised_by_its_date(
    version: str | None, than: str | None, older: bool
) -> None:
    assert is_older(version, than) is older
