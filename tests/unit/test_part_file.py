"""Part files: what a killed process left is deleted by the next one, and nothing else is."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from omop_emb.safe_files.atomic_file import AtomicFiles, atomic_write


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".part"))


def killed(folder: Path, name: str) -> None:
    """Leave what a process leaves that is killed with one file complete and the next half written."""
    script = (
        "import os, signal, sys\nfrom omop_emb.safe_files.atomic_file import AtomicFiles\n"
        "with AtomicFiles() as files:\n"
        "    with files.open(sys.argv[1]) as handle: handle.write(b'x' * 10)\n"
        "    with files.open(sys.argv[1]) as handle:\n"
        "        handle.write(b'x' * 100_000); handle.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run([sys.executable, "-c", script, str(folder / name)])
    assert run.returncode == -signal.SIGKILL


@pytest.mark.parametrize("name", ["out.csv", "[a]*?.csv", "ä" * 60 + ".tsv", "x" * 200 + ".csv"])
def test_what_a_killed_process_left_is_deleted_by_the_next(name: str, tmp_path: Path) -> None:
    killed(tmp_path, name)
    assert len(parts(tmp_path)) == 2
    with atomic_write(tmp_path / name) as handle:
        handle.write(b"new")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_parts_of_a_living_process_and_of_other_outputs_stay(tmp_path: Path) -> None:
    killed(tmp_path, "other.csv")
    others = parts(tmp_path)
    with AtomicFiles() as living:
        with living.open(tmp_path / "out.csv") as handle:
            handle.write(b"complete, waits")
        with living.open(tmp_path / "out.csv") as handle, atomic_write(tmp_path / "out.csv") as second:
            second.write(b"second")
            assert len(parts(tmp_path)) == len(others) + 3
        living.publish()
    assert parts(tmp_path) == others


def test_what_only_looks_like_a_part_stays(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    names = (".out.csv.0123456.part", ".out.csv.0123456G.part", ".out.csv.part", "out.csv.01234567.part")
    for name in names:
        (tmp_path / name).write_text("kept")
    (tmp_path / ".out.csv.01234567.part").symlink_to(precious)
    (tmp_path / ".out.csv.01234568.part").mkdir()
    os.mkfifo(tmp_path / ".out.csv.01234569.part")
    before = {path.name for path in tmp_path.iterdir()}
    with atomic_write(tmp_path / "out.csv") as handle:
        handle.write(b"new")
    assert {path.name for path in tmp_path.iterdir()} == {*before, "out.csv"}
    assert precious.read_text() == "kept"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another user")
def test_another_users_part_stays(tmp_path: Path) -> None:
    part = tmp_path / ".out.csv.01234567.part"
    part.write_text("theirs")
    os.chown(part, 65534, 65534)
    with atomic_write(tmp_path / "out.csv") as handle:
        handle.write(b"new")
    assert part.exists()


@pytest.mark.parametrize(("is_private", "mode"), [(False, 0o640), (True, 0o600)])
def test_a_new_file_has_its_mode_from_the_moment_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_private: bool, mode: int
) -> None:
    opened: list[int] = []
    real = os.open

    def recording(*arguments: Any, **keywords: Any) -> int:
        descriptor: int = real(*arguments, **keywords)
        opened.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    before = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "open", recording)
        with atomic_write(tmp_path / "out.csv", is_private=is_private):
            (part,) = parts(tmp_path)
            assert stat.S_IMODE((tmp_path / part).stat().st_mode) == mode
    finally:
        os.umask(before)
    assert opened == [mode]
    assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == mode


def test_a_file_that_only_its_owner_could_read_is_never_open_to_others(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.touch(0o600)
    with atomic_write(target):
        (part,) = parts(tmp_path)
        assert (tmp_path / part).stat().st_mode & 0o077 == 0
    assert target.stat().st_mode & 0o077 == 0
