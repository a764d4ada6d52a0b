"""Files that a killed server leaves: removed at the next start, and never one that is in use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from omop_emb.database.engine import database_engine
from omop_emb.server import supervisor

_LOADER = """
import sys
from pathlib import Path
import psycopg
from omop_emb import server
with psycopg.connect(server.ensure_running(Path(sys.argv[1]))) as connection:
    connection.execute("create table loading (x int primary key, filler text)")
    with connection.cursor().copy("copy loading from stdin") as copy:
        for row in range(10_000_000):
            copy.write_row((row, "x" * 500))
            if row == 20_000:
                print("loading", flush=True)
"""


def _kill_in_a_load(data_dir: Path, kill: Callable[[], None]) -> None:
    loader = subprocess.Popen(
        [sys.executable, "-c", _LOADER, str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert loader.stdout is not None
    before = _megabytes(data_dir)
    assert loader.stdout.readline() == "loading\n"
    while _megabytes(data_dir) < before + 5:  # the server has not read yet what was sent
        assert loader.poll() is None
        time.sleep(0.01)
    loader.send_signal(signal.SIGSTOP)
    kill()
    loader.kill()
    loader.communicate()


def _kill_postmaster(data_dir: Path) -> None:
    pid = supervisor.status(data_dir).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while supervisor.status(data_dir).state == "ready":
        time.sleep(0.01)


def _files(data_dir: Path) -> dict[str, int]:
    """The database's files and their sizes; those of PostgreSQL's own databases have low numbers."""
    folders = [path for path in (data_dir / "postgres/base").iterdir() if int(path.name) > 5]
    return {path.name: path.stat().st_size for folder in folders for path in folder.iterdir()}


def _tables(data_dir: Path) -> set[str]:
    """Without free space maps: recovery removes those of unlogged tables."""
    return {name for name in _files(data_dir) if "_" not in name}


def _megabytes(data_dir: Path) -> float:
    return sum(_files(data_dir).values()) / 1e6


def _fill(data_dir: Path) -> list[tuple[str, int, int]]:
    """Relations of every kind, rewritten so that their files' numbers are not their own; what they hold."""
    with psycopg.connect(supervisor.ensure_running(data_dir), autocommit=True) as connection:
        for statement in (
            "create table rewritten (id int generated always as identity primary key, text text)",
            "insert into rewritten (text) select repeat(md5(n::text), 200) from generate_series(1, 3000) n",
            "create unlogged table unlogged (x int)",
            "insert into unlogged select generate_series(1, 1000)",
            "create materialized view viewed as select * from rewritten",
            "create index on rewritten using hash (id)",
            "vacuum full rewritten",
            "reindex table rewritten",
            "vacuum full pg_class",
            "vacuum full pg_attribute",
            "create database other",
        ):
            connection.execute(statement)
    return _contents(data_dir)


def _contents(data_dir: Path) -> list[tuple[str, int, int]]:
    engine = database_engine(data_dir=data_dir)  # which waits for a server that recovers
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "select 'rewritten', count(*), sum(hashtext(text)) from rewritten"
            " union all select 'viewed', count(*), sum(hashtext(text)) from viewed"
            " union all select 'kept', count(*), 0 from kept order by 1"
        ).all()
    engine.dispose()
    return [tuple(row) for row in rows]


def test_four_kills_in_a_load_leave_no_file(data_dir: Path, kill_all: Callable[[Path], None]) -> None:
    contents = _fill(data_dir)
    supervisor.stop(data_dir)
    supervisor.ensure_running(data_dir)
    before = _megabytes(data_dir)
    for number in range(4):
        if number % 2:
            _kill_in_a_load(data_dir, lambda: kill_all(data_dir))
            assert _megabytes(data_dir) > before + 5
        else:  # a backend that sees in time that the postmaster has gone removes its files itself
            _kill_in_a_load(data_dir, lambda: _kill_postmaster(data_dir))
        assert _contents(data_dir) == contents
        assert _megabytes(data_dir) < before + 3
    with psycopg.connect(supervisor.ensure_running(data_dir)) as connection:
        connection.execute("select count(*) from unlogged")


def test_a_killed_process_s_files_go_at_the_next_start(data_dir: Path) -> None:
    contents = _fill(data_dir)
    before = _megabytes(data_dir)

    def kill_backend() -> None:
        with psycopg.connect(supervisor.ensure_running(data_dir)) as connection:
            (pid,) = connection.execute(
                "select pid from pg_stat_activity where query like 'copy%%loading%%'"
            ).fetchone() or (0,)
        os.kill(pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            # Until the postmaster has seen it, it accepts connections that it is about to end.
            while True:
                os.kill(pid, 0)
                time.sleep(0.01)

    _kill_in_a_load(data_dir, kill_backend)
    assert _contents(data_dir) == contents
    assert _megabytes(data_dir) > before + 5
    supervisor.stop(data_dir)
    assert _contents(data_dir) == contents
    assert _megabytes(data_dir) < before + 3


@pytest.mark.parametrize(
    "damage",
    {
        "a catalogue lacks rows": "delete from pg_class where relname = 'rewritten'",
        "a catalogue lacks an index": "delete from pg_class where relname = 'rewritten_pkey'",
    }.values(),
)
def test_no_file_goes_where_a_catalogue_is_damaged(
    data_dir: Path, kill_all: Callable[[Path], None], damage: str
) -> None:
    _fill(data_dir)
    with psycopg.connect(supervisor.ensure_running(data_dir), autocommit=True) as connection:
        connection.execute("set allow_system_table_mods = on")
        connection.execute(damage.encode())
        connection.execute("checkpoint")
    before = _tables(data_dir)
    kill_all(data_dir)
    with psycopg.connect(supervisor.ensure_running(data_dir)) as connection:
        connection.execute("select count(*) from kept")
    assert before <= _tables(data_dir)


def test_nothing_is_looked_for_after_an_orderly_stop(data_dir: Path) -> None:
    supervisor.ensure_running(data_dir)
    supervisor.stop(data_dir)
    (folder,) = (path for path in (data_dir / "postgres/base").iterdir() if int(path.name) > 5)
    stranger = folder / "99999"
    stranger.touch()
    supervisor.ensure_running(data_dir)
    assert stranger.exists()
