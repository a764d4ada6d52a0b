"""Leftover files: what a killed server was writing, and no catalogue names; removed before the next start."""

from __future__ import annotations

import logging
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from omop_emb.server.account import Account
from omop_emb.server.data_folder import Folders
from omop_emb.sql import read

_logger = logging.getLogger(__name__)
_POLL_SECONDS = 0.05
_REPORTED = re.compile(r'= "leftover (\d+): ([\d_.a-z ]+)"')
# A relation's file: its number, its fork, its gigabyte.
_FILE = re.compile(r"\d+(_(fsm|vm|init))?(\.\d+)?")
_BATCH = 500  # names in one command line
_MESSAGE = "PostgreSQL recovers after it was killed; nothing committed is lost"


def remove_leftover_files(
    folders: Folders,
    account: Account,
    programs: Path,
    database: str,
    lock: int,
    waiting: Callable[[str], None],
) -> None:
    """Remove the files of a database's folder that belong to no relation; nothing where that is uncertain.

    PostgreSQL itself says which, in single-user mode: it has recovered, and no transaction is open that might
    own a new file. It has ended when they are removed, and the caller's lock lets no other start.
    """
    command: list[str | Path] = [
        *(programs / "postgres", "--single", "-D", folders.cluster),
        *("-c", "log_min_messages=fatal", "-c", "exit_on_error=on", database),
    ]
    lines = [line for line in read("leftover_files").splitlines() if not line.startswith("--")]
    query: str | None = " ".join(lines) + "\n"
    with account.start(command, pass_fds=[lock]) as process:
        while True:
            try:
                output, _ = process.communicate(query, timeout=_POLL_SECONDS)
                break
            except subprocess.TimeoutExpired:
                query = None  # given once
                waiting(_MESSAGE)
    found = _REPORTED.search(output)
    if process.returncode != 0 or found is None:
        return  # nothing is left over, or the start that follows says what is wrong
    folder = folders.cluster / "base" / found[1]
    names = [name for name in found[2].split() if _FILE.fullmatch(name)]
    size = sum(os.lstat(folder / name).st_size for name in names)
    for start in range(0, len(names), _BATCH):
        remove = ["/bin/sh", "-c", 'cd "$1" && shift && exec rm -f -- "$@"', "sh", str(folder)]
        account.run([*remove, *names[start : start + _BATCH]])
    _logger.info("removed %d files (%.1f MB) that a killed PostgreSQL left", len(names), size / 1e6)
