"""Interrupted builds: when the database fails or a user stops it, one line and only complete chunks."""

from __future__ import annotations

import os
import signal
import subprocess
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy import Engine

from omop_emb import IndexType
from omop_emb.database.engine import database_engine, driver_connection
from omop_emb.errors import DatabaseError, OmopEmbError
from omop_emb.indexing.report import BuildReport
from omop_emb.spaces import lifecycle, registry
from tests.builds import build_with
from tests.fake_providers import Fault, fake_providers
from tests.small_vocabulary import (
    ConceptRow,
    CountingProvider,
    SmallVocabulary,
    counting_client,
    stored_vectors,
)

CONCEPTS, CHUNK_TEXTS = 40, 4
NAMES = [f"Concept {number}" for number in range(1, CONCEPTS + 1)]


@pytest.fixture
def vocabulary(engine: Engine, tmp_path: Path) -> SmallVocabulary:
    small = SmallVocabulary(engine, tmp_path)
    small.load(*(ConceptRow(number, name) for number, name in enumerate(NAMES, 1)))
    return small


def build(engine: Engine, provider: CountingProvider | None = None) -> tuple[BuildReport, list[str]]:
    provider = provider or CountingProvider(batch_texts=CHUNK_TEXTS)
    client = counting_client(provider)
    report = build_with(engine, client, index_type=IndexType.FLAT, chunk_texts=CHUNK_TEXTS)
    return report, sorted(provider.sent)


def kept(engine: Engine) -> set[str]:
    """Texts in the only space, none if there is no space."""
    with engine.connect() as connection:
        driver = driver_connection(connection)
        return {
            text
            for space in registry.all_spaces(driver)
            for _, _, text in stored_vectors(driver, space.space_id)
        }


def assert_the_next_build_does_the_rest(engine: Engine) -> None:
    there = kept(engine)
    assert len(there) % CHUNK_TEXTS == 0
    report, sent = build(engine)
    assert sent == sorted(set(NAMES) - there)
    assert kept(engine) == set(NAMES)
    assert report.is_active


def assert_one_line(error: BaseException) -> None:
    assert "\n" not in str(error)
    assert not any(name in str(error) for name in NAMES)


def once(after: int, work: Callable[[], object]) -> Callable[[], None]:
    """Does the work at the batch of that number alone."""
    batches = []

    def on_batch() -> None:
        batches.append(1)
        if len(batches) == after:
            work()

    return on_batch


@pytest.mark.usefixtures("vocabulary")
def test_a_lost_connection_is_reported_in_one_line_and_the_next_build_resumes(
    engine: Engine, database_url: str
) -> None:
    def cut() -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )

    with pytest.raises(DatabaseError, match="run this again") as caught:
        build(engine, CountingProvider(batch_texts=CHUNK_TEXTS, on_batch=once(5, cut)))
    assert_one_line(caught.value)
    assert 0 < len(kept(engine)) < CONCEPTS
    assert_the_next_build_does_the_rest(engine)


@pytest.mark.usefixtures("vocabulary")
def test_a_builder_that_lost_only_its_lease_stops_because_others_may_take_its_work(
    engine: Engine, database_url: str
) -> None:
    def cut() -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            found = connection.execute(
                "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' "
                "and classid = hashtext('omop_emb.builders')::oid "
                "and database = (select oid from pg_database where datname = current_database())"
            ).fetchall()
        assert found == [(True,)]
        while "omop-emb-lease" in [thread.name for thread in threading.enumerate()]:
            time.sleep(0.01)

    provider = CountingProvider(batch_texts=CHUNK_TEXTS, on_batch=once(2, cut))
    with pytest.raises(DatabaseError, match="the connection to the database was lost") as caught:
        build_with(
            engine,
            counting_client(provider),
            index_type=IndexType.FLAT,
            chunk_texts=CHUNK_TEXTS,
            lease_seconds=0.4,
        )
    assert_one_line(caught.value)
    assert_the_next_build_does_the_rest(engine)


@pytest.mark.usefixtures("vocabulary")
def test_a_statement_timeout_is_reported_in_one_line_and_the_next_build_resumes(
    engine: Engine, database_url: str
) -> None:
    with database_of(f"{database_url}&options=-cstatement_timeout%3D300") as impatient:
        blocker = psycopg.connect(database_url)

        def block() -> None:
            blocker.execute("lock table omop_emb.space_1 in exclusive mode")

        with blocker, pytest.raises(DatabaseError, match="statement_timeout") as caught:
            build(impatient, CountingProvider(batch_texts=CHUNK_TEXTS, on_batch=once(3, block)))
    assert_one_line(caught.value)
    assert_the_next_build_does_the_rest(engine)


@contextmanager
def database_of(url: str) -> Iterator[Engine]:
    engine = database_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def reader(connection: psycopg.Connection) -> Iterator[str]:
    """A role that may read everything and write nothing."""
    name = f"reader_{uuid4().hex}"
    role = Identifier(name)
    connection.autocommit = True
    for statement in (
        "create role {}",
        "grant usage on schema omop_emb to {}",
        "grant select on all tables in schema omop_emb to {}",
    ):
        connection.execute(SQL(statement).format(role))
    yield name
    connection.execute(SQL("drop owned by {}").format(role))
    connection.execute(SQL("drop role {}").format(role))


@pytest.mark.usefixtures("vocabulary")
def test_a_read_only_role_gets_a_clear_error_and_changes_nothing(
    engine: Engine, database_url: str, reader: str
) -> None:
    with database_of(f"{database_url}&options=-crole%3D{reader}") as reading:
        with pytest.raises(DatabaseError, match=r"permission denied .*grant that right") as caught:
            build(reading)
    assert_one_line(caught.value)
    assert kept(engine) == set()
    build(engine)


@pytest.mark.usefixtures("vocabulary")
def test_a_standby_server_is_named_in_the_error_and_nothing_changes(
    engine: Engine, database_url: str
) -> None:
    with database_of(f"{database_url}&options=-cdefault_transaction_read_only%3Don") as standby:
        with pytest.raises(DatabaseError, match="name the primary server") as caught:
            build(standby)
    assert_one_line(caught.value)
    assert kept(engine) == set()


@pytest.fixture
def tiny_disk(folder: Path, connection: psycopg.Connection) -> Iterator[Callable[[], None]]:
    """New tables of the database go to a disk of one megabyte; calling it makes that larger."""
    connection.autocommit = True
    place = folder / "tiny"
    place.mkdir()
    row = connection.execute("show data_directory").fetchone()
    if row is None or not Path(row[0]).exists() or os.geteuid() != 0:
        pytest.skip("a disk of a test's own needs root, and a server on this machine")
    owner = Path(row[0]).stat().st_uid
    mount = ["mount", "-t", "tmpfs", "-o", f"size=1m,uid={owner},mode=0700", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    name = Identifier(f"tiny_{uuid4().hex}")
    database = Identifier(connection.info.dbname)
    try:
        connection.execute(SQL("create tablespace {} location {}").format(name, Literal(str(place))))
        connection.execute(SQL("alter database {} set default_tablespace = {}").format(database, name))

        def grow() -> None:
            subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)

        yield grow
        connection.execute(SQL("alter database {} reset default_tablespace").format(database))
        connection.execute(
            "drop table if exists omop_emb.space_1, omop_emb.space_1_text, omop_emb.space_1_work"
        )
        connection.execute(SQL("drop tablespace if exists {}").format(name))
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_is_reported_in_one_line_and_with_more_space_the_next_build_resumes(
    database_url: str, vocabulary: SmallVocabulary, tiny_disk: Callable[[], None]
) -> None:
    with database_of(database_url) as engine:
        with pytest.raises(DatabaseError, match="the database's disk is full") as caught:
            build(engine, CountingProvider(batch_texts=CHUNK_TEXTS, dimensions=16000))
        assert_one_line(caught.value)
        there = kept(engine)
        assert 0 < len(there) < CONCEPTS
        assert len(there) % CHUNK_TEXTS == 0
        tiny_disk()
        _, sent = build(engine, CountingProvider(batch_texts=CHUNK_TEXTS, dimensions=16000))
        assert sent == sorted(set(NAMES) - there)
        assert kept(engine) == set(NAMES)


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.1, 0.2, 0.3, 0.5])
@pytest.mark.usefixtures("vocabulary")
def test_a_space_can_be_dropped_at_any_moment_of_its_build_and_the_builder_reports_it(
    engine: Engine, moment: float
) -> None:
    build(engine)
    ended: list[str] = []

    def build_another() -> None:
        provider = CountingProvider("m:new", batch_texts=CHUNK_TEXTS, seconds=0.01)
        try:
            build_with(
                engine,
                counting_client(provider),
                index_type=IndexType.FLAT,
                name="new",
                chunk_texts=CHUNK_TEXTS,
            )
            ended.append("")
        except OmopEmbError as error:
            ended.append(str(error))

    builder = threading.Thread(target=build_another)
    builder.start()
    with engine.connect() as connection:
        driver = driver_connection(connection)
        while builder.is_alive() and "new" not in [space.name for space in registry.all_spaces(driver)]:
            driver.commit()
        time.sleep(moment)
        driver.commit()
        lifecycle.drop_space(driver, registry.space_by_name(driver, "new"))
        driver.commit()
        builder.join()
        left = driver.execute(
            "select relname from pg_class where relnamespace = 'omop_emb'::regnamespace "
            "and relname like 'space\\_2%'"
        ).fetchall()
        assert left == []
        assert driver.execute("select count(*) from omop_emb.build").fetchone() == (0,)
    (said,) = ended
    assert said == "" or "was dropped" in said
    assert "\n" not in said


@pytest.mark.usefixtures("vocabulary")
@pytest.mark.parametrize("trouble", ["it answers slowly", "it does not answer", "it fails"])
def test_ctrl_c_stops_a_build_within_seconds_and_says_how_to_resume(
    engine: Engine, database_url: str, trouble: str
) -> None:
    with fake_providers() as fake:
        if trouble == "it answers slowly":
            fake.latency_seconds = 0.2
        else:
            fault = Fault(how="hang") if trouble == "it does not answer" else Fault(503, "{}")
            fake.fault = lambda _call: fault if len(fake.embedding_calls) > 1 else None
        command = [str(Path(sysconfig.get_path("scripts")) / "omop-emb"), "index", "build"]
        environment = {
            **os.environ,
            "OMOP_EMB_DATABASE_URL": database_url,
            "OMOP_EMB_MODEL": "openai:served-model",
            "OPENAI_BASE_URL": f"{fake.url}/v1",
            "OMOP_EMB_DIMENSIONS": "64",
        }
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            try:
                give_up = time.monotonic() + 60
                while len(fake.embedding_calls) < 2 and time.monotonic() < give_up:
                    time.sleep(0.02)
                process.send_signal(signal.SIGINT)
                begun = time.monotonic()
                stdout, stderr = process.communicate(timeout=60)
            finally:
                process.kill()
        assert time.monotonic() - begun < 20
    assert (process.returncode, stdout) == (130, "")
    assert "stopped; what was embedded is saved: run the same command again to resume" in stderr.splitlines()
    assert "Traceback" not in stderr
