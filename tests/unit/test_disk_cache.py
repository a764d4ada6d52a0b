"""Disk cache: what is found in it is exactly what was put there, or nothing."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from omop_emb import disk_cache
from omop_emb.safe_files import sealed_folder

pytestmark = pytest.mark.usefixtures("own_cache")

CONTENT = os.urandom(3000)


def _fill(folder: Path) -> None:
    (folder / "vectors").write_bytes(CONTENT)
    (folder / "about").write_bytes(b"{}")


def _make() -> bool:
    """Whether the folder had to be made."""
    with disk_cache.build_folder("name", 1) as folder:
        if folder is not None:
            _fill(folder)
    return folder is not None


def _overwrite(path: Path, start: int, new: bytes, *, keep_times: bool = False) -> None:
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(start)
        file.write(new)
    if keep_times:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _swap(folder: Path) -> None:
    (folder / "vectors").rename(folder / "other")
    (folder / "about").rename(folder / "vectors")
    (folder / "other").rename(folder / "about")


def _replace_by_a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


Damage = Callable[[Path], None]


def _both(first: Damage, second: Damage) -> Damage:
    def damage(folder: Path) -> None:
        first(folder)
        second(folder)

    return damage


def _remove_all(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _change(at: Path) -> None:
    _overwrite(at / "vectors", 1, b"xyz")


DAMAGE: dict[str, Damage] = {
    "zeros in the middle": lambda at: _overwrite(at / "vectors", 1000, bytes(500)),
    "zeros, and the old time": lambda at: _overwrite(at / "vectors", 1000, bytes(500), keep_times=True),
    "the first byte": lambda at: _overwrite(at / "vectors", 0, bytes([CONTENT[0] ^ 1])),
    "the last byte": lambda at: _overwrite(at / "vectors", 2999, bytes([CONTENT[-1] ^ 128])),
    "truncated": lambda at: os.truncate(at / "vectors", 1500),
    "truncated and extended with zeros": _both(
        lambda at: os.truncate(at / "vectors", 1500), lambda at: os.truncate(at / "vectors", 3000)
    ),
    "emptied": lambda at: os.truncate(at / "vectors", 0),
    "longer": lambda at: _overwrite(at / "vectors", 3000, b"x"),
    "a file is gone": lambda at: (at / "vectors").unlink(),
    "two files swapped": _swap,
    "a device in its place": lambda at: _replace_by_a_link(at / "vectors"),
    "a small file changed": lambda at: _overwrite(at / "about", 0, b"[]"),
    "no manifest": _both(lambda at: (at / "manifest.json").unlink(), _change),
    "an empty manifest": _both(lambda at: os.truncate(at / "manifest.json", 0), _change),
    "half a manifest": _both(lambda at: os.truncate(at / "manifest.json", 40), _change),
    "a manifest of zeros": _both(lambda at: _overwrite(at / "manifest.json", 0, bytes(200)), _change),
    "a manifest of nothing": _both(lambda at: _write(at / "manifest.json", b"{}"), _change),
    "a manifest of a list": _both(lambda at: _write(at / "manifest.json", b"[1]"), _change),
    "garbage in what was verified": _both(lambda at: _write(at / "verified.json", b"\xff"), _change),
    "everything is gone": _remove_all,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
@pytest.mark.parametrize("process", ["the same process", "another process", "after a restart"])
def test_what_is_damaged_is_not_found_and_is_made_again(
    damage: Damage,
    process: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert _make()
    folder = disk_cache.cached_folder("name")
    assert folder is not None
    damage(folder)
    if process != "the same process":
        monkeypatch.setattr(sealed_folder, "_verified", {})
    if process == "after a restart":
        monkeypatch.setattr(sealed_folder, "_boot", lambda: "another")
    assert disk_cache.cached_folder("name") is None
    with caplog.at_level(logging.WARNING):
        assert _make()
    assert "damaged" in caplog.text
    assert disk_cache.cached_folder("name") == folder
    assert (folder / "vectors").read_bytes() == CONTENT
    assert not _make()


@pytest.mark.parametrize("noticed", [True, False])
def test_a_disk_that_loses_bits_is_noticed_after_a_restart(
    noticed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make()
    folder = disk_cache.folder() / "name"
    _overwrite(folder / "vectors", 5, b"xyz")
    # No file system tells of such damage: the file's times stay as they were noted.
    marks = {name: sealed_folder._mark(folder / name) for name in ("vectors", "about")}
    sealed_folder._remember(folder, marks)
    monkeypatch.setattr(sealed_folder, "_verified", {})
    if noticed:
        monkeypatch.setattr(sealed_folder, "_boot", lambda: "another")
    assert (disk_cache.cached_folder("name") is None) is noticed


@pytest.mark.parametrize("boot", ["the same", "another", ""])
def test_an_intact_folder_is_read_once_a_boot(boot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _make()
    monkeypatch.setattr(sealed_folder, "_verified", {})
    if boot != "the same":
        monkeypatch.setattr(sealed_folder, "_boot", lambda: boot)
    read: list[Path] = []
    digest = sealed_folder.file_digest

    def counted(path: Path) -> list[int | str]:
        read.append(path)
        return digest(path)

    monkeypatch.setattr(sealed_folder, "file_digest", counted)
    assert disk_cache.cached_folder("name") is not None
    assert len(read) == (0 if boot == "the same" else 2)
    read.clear()
    assert disk_cache.cached_folder("name") is not None
    assert not read


def test_a_copied_cache_is_read_and_believed() -> None:
    _make()
    folder = disk_cache.folder() / "name"
    shutil.copytree(folder, folder.with_name("copy"))
    assert disk_cache.cached_folder("copy") is not None


def test_files_are_on_the_disk_before_they_get_their_name(monkeypatch: pytest.MonkeyPatch) -> None:
    forced: list[str] = []
    monkeypatch.setattr(sealed_folder, "force_to_disk", lambda path: forced.append(path.name))
    rename = Path.rename

    def noted(path: Path, to: Path) -> Path:
        forced.append("renamed")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", noted)
    _make()
    before = forced[: forced.index("renamed")]
    assert {"vectors", "about", "manifest.json", "name.part"} <= set(before)
    assert forced[-1] == "matrices"
