"""Who runs the embedded server: never root, and no folder of others is changed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from omop_emb.errors import ServerError
from omop_emb.server import account, supervisor

AsUser = Callable[..., subprocess.CompletedProcess[str]]
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root may act for other users")
NOBODY = 65534


def test_a_folder_that_was_there_keeps_its_mode_and_owner(folder: Path) -> None:
    data_dir = folder / "there"
    data_dir.mkdir(mode=0o755)
    before = [(path.stat().st_mode, path.stat().st_uid) for path in (data_dir, *data_dir.parents)]
    psycopg.connect(supervisor.ensure_running(data_dir)).close()
    assert [(path.stat().st_mode, path.stat().st_uid) for path in (data_dir, *data_dir.parents)] == before


@ROOT_ONLY
def test_a_folder_that_the_server_s_user_cannot_reach_is_refused_and_stays_closed(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ServerError, match="closed to others: set OMOP_EMB_DATA_DIR"):
        supervisor.ensure_running(closed / "data")
    assert closed.stat().st_mode & 0o777 == 0o700


@ROOT_ONLY
def test_programs_that_the_server_s_user_cannot_reach_are_copied(
    disk_folder: Path, closed_programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "_wheel_folder", lambda: closed_programs)
    psycopg.connect(supervisor.ensure_running(disk_folder / "copied")).close()
    assert len(list((disk_folder / "copied").glob("programs-*"))) == 1
    assert closed_programs.parent.stat().st_mode & 0o777 == 0o700


def test_an_ordinary_user_has_a_server_of_their_own(folder: Path, as_user: AsUser) -> None:
    uid = NOBODY if os.geteuid() == 0 else os.geteuid()
    home = folder / "home"
    home.mkdir()
    os.chown(home, uid, -1)
    done = as_user(
        "conninfo = supervisor.ensure_running(Path(arguments[0]))\n"
        "psycopg.connect(conninfo).close()\n"
        "print(os.stat(arguments[0]).st_uid, supervisor.stop(Path(arguments[0])))",
        home / "data",
        uid=uid,
    )
    assert done.stdout == f"{uid} True\n", done.stderr


@ROOT_ONLY
def test_the_server_of_another_user_is_refused_in_one_line(data_dir: Path, as_user: AsUser) -> None:
    done = as_user("supervisor.ensure_running(Path(arguments[0]))", data_dir, uid=NOBODY)
    assert done.stdout.startswith("ServerError: "), done.stderr
    assert done.stdout.count("\n") == 1
