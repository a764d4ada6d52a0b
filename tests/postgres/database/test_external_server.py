"""An external server over TCP with a password, and everything that it may lack."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sysconfig
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy
from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy.orm import Session

from omop_emb import EmbeddingClient, EmbeddingInterface, IndexType
from omop_emb.database import migrations, requirements
from omop_emb.database.engine import database_engine, driver_connection, readable_errors, session_scope
from omop_emb.database.requirements import check_database
from omop_emb.errors import ConfigurationError, DatabaseError
from omop_emb.server import supervisor
from omop_emb.server.account import account_for, binaries
from tests.conftest import reachable_folder

OMOP_EMB = Path(sysconfig.get_path("scripts")) / "omop-emb"
PASSWORD = "corr3ct-h0rse"  # noqa: S105 - of a server that lives as long as these tests


@dataclass(frozen=True)
class External:
    """A PostgreSQL that asks for passwords (scram-sha-256) and has no Unix socket."""

    port: int

    def url(
        self, *, user: str = "owner", password: str = PASSWORD, database: str = "postgres", host: str = ""
    ) -> str:
        return f"postgresql://{user}:{password}@{host or '127.0.0.1'}:{self.port}/{database}"


@pytest.fixture(scope="module")
def external() -> Iterator[External]:
    with reachable_folder(Path("/tmp")) as folder:  # noqa: S108 - mkdtemp makes a folder of our own in it
        account = account_for(folder / "none")
        programs = binaries(account, folder)
        home = folder / "server"
        home.mkdir()
        os.chown(home, account.uid, account.gid)
        assert account.run(["/bin/sh", "-c", 'cat > "$1"', "sh", home / "password"], text=PASSWORD)[0] == 0
        code, message = account.run(
            [
                *(str(programs / "initdb"), "-D", str(home / "data"), "-U", "owner", "--encoding=UTF8"),
                *("--locale=C", "--auth=scram-sha-256", f"--pwfile={home / 'password'}", "--no-sync"),
            ]
        )
        assert code == 0, message
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = [f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"]
        control = [str(programs / "pg_ctl"), "-D", str(home / "data"), "-l", str(home / "log"), "-w"]
        code, message = account.run([*control, "start", "-o", *settings])
        assert code == 0, message
        try:
            yield External(port)
        finally:
            account.run([*control, "stop", "-m", "immediate"])


@pytest.fixture
def owner(external: External) -> Iterator[psycopg.Connection]:
    with psycopg.connect(external.url(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def database(owner: psycopg.Connection) -> Iterator[str]:
    """The name of a new, empty database of the external server."""
    name = f"db_{uuid4().hex}"
    owner.execute(SQL("create database {} template template0").format(Identifier(name)))
    yield name
    owner.execute(SQL("drop database {} with (force)").format(Identifier(name)))


@pytest.fixture
def role(owner: psycopg.Connection) -> Iterator[str]:
    """The name of a role that may log in, and no more."""
    name = f"role_{uuid4().hex}"
    owner.execute(SQL("create role {} login password {}").format(Identifier(name), Literal(PASSWORD)))
    yield name
    owner.execute(SQL("drop role {}").format(Identifier(name)))


Engines = Callable[[str], sqlalchemy.Engine]


@pytest.fixture
def engine_of() -> Iterator[Engines]:
    engines: list[sqlalchemy.Engine] = []

    def engine(url: str) -> sqlalchemy.Engine:
        engines.append(database_engine(url))
        return engines[-1]

    yield engine
    for one in engines:
        one.dispose()


def refusal(engine: sqlalchemy.Engine) -> str:
    """The message with which migrating is refused: one line."""
    with pytest.raises(DatabaseError) as caught, session_scope(engine) as session:
        migrations.migrate(driver_connection(session))
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


def test_the_url_alone_is_enough_and_no_embedded_server_is_created(
    external: External, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", external.url(database=database))
    monkeypatch.setenv("OMOP_EMB_DATA_DIR", str(tmp_path / "embedded"))
    engine = database_engine()
    with session_scope(engine) as session:
        interface = EmbeddingInterface(EmbeddingClient("local:all-MiniLM-L6-v2"))
        names = {4329847: "Myocardial infarction", 316866: "Hypertensive disorder"}
        interface.embed_and_upsert_concepts(
            session=session,
            index_type=IndexType.HNSW,
            concept_ids=list(names),
            concept_texts=list(names.values()),
        )
        (matches,) = interface.get_nearest_concepts_from_query_texts(
            session=session, index_type=IndexType.HNSW, query_texts=["heart attack"], k=1
        )
        assert [match.concept_id for match in matches] == [4329847]
    engine.dispose()
    assert supervisor.status().state == "not created"
    assert not (tmp_path / "embedded").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"password": "not-it"},
            r"password authentication failed for user .*check user and password .* in OMOP",
        ),
        ({"user": "nobody_here"}, r"authentication failed"),
        ({"database": "none_such"}, r'database "none_such" does not exist; create the database'),
        ({"host": "no-such-host.invalid"}, r"no-such-host\.invalid.*; check the host in"),
        ({"host": "127.0.0.2"}, r"127\.0\.0\.2.*Connection refused.*is PostgreSQL running there\?"),
    ],
)
def test_a_wrong_url_is_reported_in_one_line_without_the_password(
    external: External, wrong: dict[str, str], message: str
) -> None:
    run = subprocess.run(
        [OMOP_EMB, "vocabulary", "status"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMOP_EMB_DATABASE_URL": external.url(**wrong)},
        timeout=60,
    )
    assert run.returncode == 1
    assert run.stdout == ""
    (line,) = run.stderr.splitlines()
    assert PASSWORD not in line
    assert "not-it" not in line
    assert re.search(message, line), line


def test_a_server_without_pgvector_is_refused_with_the_package_to_install(
    external: External, owner: psycopg.Connection, database: str, engine_of: Engines
) -> None:
    owner.execute(
        SQL("alter database {} set extension_control_path = '/nonexistent'").format(Identifier(database))
    )
    message = refusal(engine_of(external.url(database=database)))
    assert "has no pgvector: install it there (the package postgresql-NN-pgvector, 0.8 or newer)" in message


def test_a_role_that_may_not_create_the_extension_learns_who_must(
    external: External, owner: psycopg.Connection, database: str, role: str, engine_of: Engines
) -> None:
    grant = SQL("grant create on database {} to {}").format(Identifier(database), Identifier(role))
    owner.execute(grant)
    message = refusal(engine_of(external.url(user=role, database=database)))
    assert message.endswith("let a superuser run CREATE EXTENSION vector; in that database")
    with psycopg.connect(external.url(database=database), autocommit=True) as connection:
        connection.execute("create extension vector")
    with session_scope(engine_of(external.url(user=role, database=database))) as session:
        assert migrations.migrate(driver_connection(session))
    with psycopg.connect(external.url(database=database), autocommit=True) as connection:
        connection.execute(SQL("drop owned by {}").format(Identifier(role)))


def test_a_role_that_may_not_create_our_schema_learns_the_grant(
    external: External, database: str, role: str, engine_of: Engines
) -> None:
    message = refusal(engine_of(external.url(user=role, database=database)))
    assert message.endswith(f'GRANT CREATE ON DATABASE "{database}" TO "{role}";')


def test_a_role_that_may_not_create_tables_in_our_schema_learns_the_grant(
    external: External, database: str, role: str, engine_of: Engines
) -> None:
    with psycopg.connect(external.url(database=database), autocommit=True) as connection:
        connection.execute("create extension vector; create schema omop_emb")
    message = refusal(engine_of(external.url(user=role, database=database)))
    assert message.endswith(f'GRANT USAGE, CREATE ON SCHEMA omop_emb TO "{role}";')


def test_a_read_only_server_is_refused(external: External, database: str, engine_of: Engines) -> None:
    url = external.url(database=database) + "?options=-c%20default_transaction_read_only%3Don"
    assert "read-only (a standby?)" in refusal(engine_of(url))


def test_an_old_server_is_refused(
    external: External, database: str, engine_of: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements, "_OLDEST_SERVER", 99)
    message = refusal(engine_of(external.url(database=database)))
    assert message.startswith("omop-emb needs PostgreSQL 99 or newer, and this server is ")


@pytest.mark.parametrize("installed", [False, True])
def test_an_old_pgvector_is_refused(
    external: External, database: str, engine_of: Engines, installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(external.url(database=database), autocommit=True) as connection:
        if installed:
            connection.execute("create extension vector")
    monkeypatch.setattr(requirements, "_OLDEST_PGVECTOR", (99, 0))
    message = refusal(engine_of(external.url(database=database)))
    assert "needs pgvector 99.0 or newer" in message
    assert message.endswith("run ALTER EXTENSION vector UPDATE;" if installed else "on the server")


def test_another_encoding_is_refused_with_the_database_to_create(
    external: External, owner: psycopg.Connection, engine_of: Engines
) -> None:
    name = f"latin_{uuid4().hex}"
    owner.execute(
        SQL("create database {} template template0 encoding 'LATIN1' locale 'C'").format(Identifier(name))
    )
    message = refusal(engine_of(external.url(database=name)))
    assert "encoded in LATIN1, and omop-emb needs UTF8: run CREATE DATABASE" in message
    owner.execute(SQL("drop database {} with (force)").format(Identifier(name)))


def test_checking_a_database_changes_nothing(external: External, database: str) -> None:
    with psycopg.connect(external.url(database=database)) as connection:
        info = check_database(connection)
        assert info.installed_pgvector is None
        count = "select count(*) from pg_extension where extname = 'vector'"
        assert connection.execute(count).fetchone() == (0,)


def test_a_role_out_of_connections_learns_that(
    external: External, owner: psycopg.Connection, database: str, role: str, engine_of: Engines
) -> None:
    owner.execute(SQL("alter role {} connection limit 1").format(Identifier(role)))
    url = external.url(user=role, database=database)
    with psycopg.connect(url):
        assert "end some connections" in refusal(engine_of(url))


def run_in(engine: sqlalchemy.Engine, *statements: str) -> str:
    """The message of statements that fail in one session: one line."""
    with pytest.raises(DatabaseError) as caught, session_scope(engine) as session:
        session.execute(sqlalchemy.text(";".join(statements)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_errors_of_a_running_server_are_one_line(
    external: External, owner: psycopg.Connection, database: str, role: str, engine_of: Engines
) -> None:
    engine = engine_of(external.url(database=database))
    message = run_in(engine, "set local statement_timeout = '50ms'", "select pg_sleep(5)")
    assert message == (
        "the database cancelled a statement (statement_timeout): raise statement_timeout, or ask for less"
    )
    assert "ended this connection: run this again" in run_in(
        engine, "select pg_terminate_backend(pg_backend_pid())"
    )
    assert "run omop-emb db migrate" in run_in(engine, "select * from omop_emb.space")
    assert "from an older version, run omop-emb db migrate" in run_in(
        engine, "select none_such from pg_class"
    )
    assert "use a role that has it" in run_in(
        engine_of(external.url(user=role, database=database)), "select * from pg_authid"
    )
    with psycopg.connect(external.url(database=database), autocommit=True) as connection:
        connection.execute("create table held (id int primary key)")
    with Session(engine) as holder:
        holder.execute(sqlalchemy.text("lock table held"))
        message = run_in(engine, "set local lock_timeout = '50ms'", "select * from held")
        assert message.startswith("another process holds what this needs")


def test_a_deadlock_says_run_this_again(external: External, database: str, engine_of: Engines) -> None:
    engine = engine_of(external.url(database=database))
    with session_scope(engine) as session:
        session.execute(sqlalchemy.text("create table pair as select 1 as id union select 2"))
    first_is_locked = threading.Barrier(2, timeout=20)
    message: list[str] = []

    def write(one: int, other: int) -> None:
        try:
            with session_scope(engine) as session:
                for number in (one, other):
                    session.execute(sqlalchemy.text("update pair set id = id where id = :id"), {"id": number})
                    if number == one:
                        first_is_locked.wait()
        except DatabaseError as error:
            message.append(str(error))

    threads = [threading.Thread(target=write, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert message == ["another process wrote the same rows in another order: run this again"]


def test_a_bug_of_ours_is_not_turned_into_a_database_error(external: External, database: str) -> None:
    with psycopg.connect(external.url(database=database)) as connection:
        with pytest.raises(psycopg.errors.SyntaxError), readable_errors():
            connection.execute("selekt 1")


def test_errors_contain_no_statement_and_no_value(
    external: External, database: str, engine_of: Engines
) -> None:
    engine = engine_of(external.url(database=database))
    with pytest.raises(sqlalchemy.exc.DBAPIError) as caught, session_scope(engine) as session:
        session.execute(sqlalchemy.text("select 1 / :zero, :term"), {"zero": 0, "term": "GALLSTONES"})
    assert "GALLSTONES" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://u:SECRET@h/db?foo=1", "PostgreSQL has no option 'foo'"),
        ("postgresql://u:SECRET@h/db?sslmode", "after the ?, write name=value"),
        ("postgresql://u:SECRET@h/db?ssl_mode=require&x=1", "PostgreSQL has no option 'ssl_mode'"),
        ("postgresql://u:SEC%zzRET@h/db", "% as %25"),
        ("postgresql://u:SEC@RET@h/db", "@ as %40"),
        ("postgresql://u:SEC/RET@h/db", "@ as %40"),
        ("postgresql://u:SEC RET@h/db", "a space as %20"),
        ("postgresql://u:SECRET@h:abc/db", "no port from 1 to 65535"),
        ("postgresql://u:SECRET@h:0/db", "no port from 1 to 65535"),
        ("postgresql://u:SECRET@h:99999999/db", "no port from 1 to 65535"),
        ("postgresql://u:SECRET@h/db?connect_timeout=soon", "a connect_timeout that is not a number"),
        ("postgresql://u:SECRET@a,b:2/db", None),  # the first at the usual port
        ("postgresql://u:SECRET@a:1,b:2,c/db", None),
        ("postgresql://u:SECRET@[::1/db", "write it as postgresql://"),
        ("mysql://u:SECRET@h/db", "not with 'mysql'"),
        ("postgresql+asyncpg://u:SECRET@h/db", "not with 'postgresql+asyncpg'"),
        ("jdbc:postgresql://u:SECRET@h/db", "cannot be read: write it as postgresql://"),
        ("host=h user=u password=SECRET", "cannot be read: write it as postgresql://"),
        ("u:SECRET@h/db", "cannot be read: write it as postgresql://"),
        ("postgresql:u:SECRET@h/db", "cannot be read: write it as postgresql://"),
        ("SECRET://h", "not with"),
        ("", "cannot be read: write it as postgresql://"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_before_it_is_used(url: str, message: str | None) -> None:
    if message is None:
        database_engine(url)
        return
    with pytest.raises(ConfigurationError) as caught:
        database_engine(url)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert url.startswith("SECRET") or not re.search("SEC|RET", str(caught.value))
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "changed",
    [
        lambda url, port: url.replace(f"127.0.0.1:{port}", f"127.0.0.2:1,127.0.0.1:{port}"),
        lambda url, port: (
            url.replace(f"127.0.0.1:{port}", f"127.0.0.2:1,127.0.0.1:{port}")
            + "?target_session_attrs=read-write"
        ),
        lambda url, port: url + "?client_encoding=latin1&application_name=mine&keepalives=1",
        lambda url, port: url + "?sslmode=prefer&options=-c%20datestyle%3DGerman",
        lambda url, port: url.replace("postgresql", "POSTGRESQL"),
        lambda url, port: f"  {url}\n",
    ],
)
def test_several_hosts_and_every_option_of_postgresql_can_be_used(
    external: External, engine_of: Engines, changed: Callable[[str, int], str]
) -> None:
    with session_scope(engine_of(changed(external.url(), external.port))) as session:
        assert session.execute(sqlalchemy.text("show client_encoding")).scalar_one() == "UTF8"
        assert session.execute(sqlalchemy.text("show DateStyle")).scalar_one().startswith("ISO")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("sslmode=bogus", "sslmode"),
        ("sslmode=require", "check sslmode in"),
        ("target_session_attrs=anything", "target_session_attrs"),
        ("options=-c%20no_such_setting%3D1", "no_such_setting"),
        ("service=none_such", "service"),
        ("channel_binding=maybe", "channel_binding"),
        ("sslrootcert=/none/such&sslmode=verify-full", "check sslmode in"),
    ],
)
def test_a_wrong_value_of_an_option_is_one_line(
    external: External, engine_of: Engines, option: str, message: str
) -> None:
    with (
        pytest.raises(DatabaseError) as caught,
        session_scope(engine_of(f"{external.url()}?{option}")) as session,
    ):
        session.execute(sqlalchemy.text("select 1"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_the_variable_is_named_only_where_it_is_set(
    external: External, engine_of: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = external.url(password="not-it")
    assert "in the database URL" in refusal(engine_of(url))
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", url)
    assert "in OMOP_EMB_DATABASE_URL" in refusal(engine_of(url))
