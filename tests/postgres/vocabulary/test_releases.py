"""A newer release replaces the older one without disturbing readers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL

from omop_emb.errors import VocabularyError
from omop_emb.spaces.recipe import Recipe
from omop_emb.vocabulary import loader, reader as vocabulary, releases
from omop_emb.vocabulary.releases import drop_retired
from tests.small_vocabulary import desired_texts

Download = Callable[..., Path]
ConceptLine = Callable[..., str]

# The later release has no synonyms any more, and the earlier one is not kept, unless a test says so.
load_vocabulary = partial(loader.load_vocabulary, allow_shrink=True, keep_previous=False)


@pytest.fixture
def old(download: Download, concept_line: ConceptLine) -> Path:
    return download(
        "old",
        CONCEPT=[concept_line(1, "Asthma"), concept_line(2, "Dropsy"), concept_line(3, "Gout")],
        CONCEPT_SYNONYM=["1\tWheezing\t4180186"],
        VOCABULARY=["None\tOMOP\tOMOP\tv5.0 29-FEB-24\t44819096"],
    )


@pytest.fixture
def new(download: Download, concept_line: ConceptLine) -> Path:
    return download(
        "new",
        CONCEPT=[concept_line(1, "Asthma, unspecified"), concept_line(3, "Gout"), concept_line(4, "Mumps")],
        VOCABULARY=["None\tOMOP\tOMOP\tv5.0 30-AUG-24\t44819096"],
    )


def _names(connection: psycopg.Connection) -> list[str]:
    return [concept.concept_name for concept in vocabulary.concepts_by_id(connection, range(10)).values()]


def _release_tables(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute(
        "select tablename from pg_tables where schemaname = 'omop_emb' and tablename ~ '^concept_[0-9]+$'"
        " order by 1"
    )
    return [name for (name,) in rows.fetchall()]


def test_only_the_newer_release_is_read(connection: psycopg.Connection, old: Path, new: Path) -> None:
    load_vocabulary(connection, old)
    connection.commit()
    load_vocabulary(connection, new)
    connection.commit()
    assert sorted(_names(connection)) == ["Asthma, unspecified", "Gout", "Mumps"]
    status = vocabulary.vocabulary_status(connection)
    assert status is not None
    assert (status.version, status.source) == ("v5.0 30-AUG-24", "new")
    assert status.rows == {"concept": 3, "vocabulary": 1}
    assert vocabulary.existing_values(connection, "vocabulary") == ["None", "SNOMED"]
    texts = [text for _, _, text in desired_texts(connection, Recipe())]
    assert texts == ["Asthma, unspecified", "Gout", "Mumps"]


def test_a_load_that_is_rolled_back_leaves_the_older_release(
    connection: psycopg.Connection, old: Path, new: Path
) -> None:
    load_vocabulary(connection, old)
    connection.commit()
    tables = _release_tables(connection)
    load_vocabulary(connection, new)
    connection.rollback()
    assert sorted(_names(connection)) == ["Asthma", "Dropsy", "Gout"]
    assert _release_tables(connection) == tables


def test_a_load_into_an_empty_database_migrates_it(empty_database_url: str, old: Path) -> None:
    with psycopg.connect(empty_database_url) as connection:
        load_vocabulary(connection, old)
        connection.rollback()
        assert vocabulary.vocabulary_tables(connection) is None
        load_vocabulary(connection, old)
        connection.commit()
        assert sorted(_names(connection)) == ["Asthma", "Dropsy", "Gout"]


def test_while_a_load_runs_others_read_the_older_release_without_waiting(
    connection: psycopg.Connection, database_url: str, old: Path, new: Path
) -> None:
    load_vocabulary(connection, old)
    connection.commit()
    with psycopg.connect(database_url, options="-c lock_timeout=1s") as reader:
        load_vocabulary(connection, new)
        assert sorted(_names(reader)) == ["Asthma", "Dropsy", "Gout"]
        reader.commit()
        connection.commit()
        assert sorted(_names(reader)) == ["Asthma, unspecified", "Gout", "Mumps"]


def test_a_transaction_sees_one_release_until_it_ends(
    connection: psycopg.Connection, database_url: str, old: Path, new: Path
) -> None:
    load_vocabulary(connection, old)
    connection.commit()
    connection.execute("set lock_timeout = '1s'")
    with psycopg.connect(database_url) as reader:
        tables = vocabulary.vocabulary_tables(reader)
        assert tables is not None
        names = SQL("select concept_name from {} order by concept_id").format(tables.concept)
        before = reader.execute(names).fetchall()
        load_vocabulary(connection, new)
        connection.commit()
        assert drop_retired(connection) == []  # it is being read
        connection.commit()
        assert reader.execute(names).fetchall() == before == [("Asthma",), ("Dropsy",), ("Gout",)]
        assert tables.concept_synonym is not None
        count = SQL("select count(*) from {}").format(tables.concept_synonym)
        assert reader.execute(count).fetchone() == (1,)
        reader.commit()
        assert sorted(_names(reader)) == ["Asthma, unspecified", "Gout", "Mumps"]
        reader.commit()
    assert len(drop_retired(connection)) == 1
    connection.commit()
    assert len(_release_tables(connection)) == 1


def test_tables_are_pinned_before_anything_is_read(
    connection: psycopg.Connection, database_url: str, old: Path, new: Path
) -> None:
    load_vocabulary(connection, old)
    connection.commit()
    with psycopg.connect(database_url) as reader:
        tables = vocabulary.vocabulary_tables(reader)
        assert tables is not None
        load_vocabulary(connection, new)
        connection.commit()
        assert drop_retired(connection) == []
        count = SQL("select count(*) from {}").format(tables.concept)
        assert reader.execute(count).fetchone() == (3,)


def test_the_next_load_drops_retired_releases(connection: psycopg.Connection, old: Path, new: Path) -> None:
    for path in (old, new, old, new):
        load_vocabulary(connection, path)
        connection.commit()
    assert len(_release_tables(connection)) == 2  # the active one and the one before it
    states = connection.execute(
        "select state from omop_emb.vocabulary_release order by release_id"
    ).fetchall()
    assert states == [("dropped",), ("dropped",), ("retired",), ("active",)]


def test_a_second_load_at_the_same_time_is_refused(
    connection: psycopg.Connection,
    database_url: str,
    old: Path,
    new: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(releases, "_MOST_LOCK_SECONDS", 0.0)
    load_vocabulary(connection, old)
    with (
        psycopg.connect(database_url) as other,
        pytest.raises(VocabularyError, match=r"another load into this database is running: wait"),
    ):
        load_vocabulary(other, new)
    connection.commit()
    assert sorted(_names(connection)) == ["Asthma", "Dropsy", "Gout"]


KILLED = """
import sys, psycopg
from omop_emb.vocabulary.releases import lock_releases
connection = psycopg.connect(sys.argv[1])
lock_releases(connection)
print(connection.info.backend_pid, flush=True)
connection.execute("select pg_sleep(600)")
"""


def test_a_load_whose_process_was_killed_hinders_none_although_its_statement_goes_on(
    connection: psycopg.Connection, database_url: str, old: Path
) -> None:
    command = [sys.executable, "-c", KILLED, database_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        backend = int(process.stdout.readline())
        query = "select query like '%%pg_sleep%%' and state = 'active' from pg_stat_activity where pid = %s"
        connection.autocommit = True
        while connection.execute(query, (backend,)).fetchone() != (True,):
            assert process.poll() is None
        process.kill()
    assert load_vocabulary(connection, old).rows["concept"] == 3
    assert connection.execute(query, (backend,)).fetchone() is None


def test_a_load_that_is_killed_leaves_nothing(
    connection: psycopg.Connection, database_url: str, old: Path, new: Path
) -> None:
    load_vocabulary(connection, old)
    connection.commit()
    with psycopg.connect(database_url) as other:
        load_vocabulary(other, new)
        connection.execute("select pg_terminate_backend(%s, 5000)", (other.info.backend_pid,))
        connection.commit()
        other.close()
    assert sorted(_names(connection)) == ["Asthma", "Dropsy", "Gout"]
    assert load_vocabulary(connection, new).rows["concept"] == 3


def test_files_and_counts_of_each_release_are_recorded(
    connection: psycopg.Connection, old: Path, new: Path
) -> None:
    load_vocabulary(connection, old)
    load_vocabulary(connection, new)
    rows = connection.execute(
        "select release_id, table_name, file_name, row_count, length(sha256) from omop_emb.vocabulary_file"
        " order by 1, 2"
    ).fetchall()
    assert [row[1:] for row in rows] == [
        ("concept", "CONCEPT.csv", 3, 64),
        ("concept_synonym", "CONCEPT_SYNONYM.csv", 1, 64),
        ("vocabulary", "VOCABULARY.csv", 1, 64),
        ("concept", "CONCEPT.csv", 3, 64),
        ("vocabulary", "VOCABULARY.csv", 1, 64),
    ]


def test_a_load_in_autocommit_mode_is_atomic(
    database_url: str, old: Path, download: Download, concept_line: ConceptLine
) -> None:
    bad = download("bad", CONCEPT=[concept_line(9, "Bad")], DOMAIN=["short"])
    with psycopg.connect(database_url, autocommit=True) as connection:
        load_vocabulary(connection, old)
        with pytest.raises(VocabularyError, match=r"DOMAIN.csv, line 2"):
            load_vocabulary(connection, bad)
        assert sorted(_names(connection)) == ["Asthma", "Dropsy", "Gout"]
