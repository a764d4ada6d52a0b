"""Private files: what others put in the place of a name of ours is neither followed, read nor changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from omop_emb import config, disk_cache
from omop_emb.errors import ConfigurationError, OmopEmbError
from omop_emb.mapping.files.journal import Journal, journal_path
from omop_emb.mapping.judge.judge_cache import JudgeCache
from omop_emb.mapping.judge.translation_cache import TranslationCache
from omop_emb.safe_files.private_file import cache_folder, open_private
from omop_emb.server.account import Account
from omop_emb.server.data_folder import open_lock

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another user")


def open_journal(path: Path, *, resume: bool = False) -> None:
    with Journal(path, input_digest="d", settings={}, resume=resume):
        pass


def build_in_cache(path: Path) -> None:
    with disk_cache.build_folder("name", 1):
        pass


OPENERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "journal": ("out/.out.csv.journal", open_journal),
    "journal to resume": ("out/.out.csv.journal", lambda path: open_journal(path, resume=True)),
    "verdicts": ("own/judge.sqlite3", lambda path: JudgeCache(path).close()),
    "translations": ("own/translations.sqlite3", lambda path: TranslationCache(path).close()),
    "verdicts in the cache folder": ("cache/omop-emb/judge.sqlite3", lambda _path: JudgeCache().close()),
    "lock of the cache": ("cache/omop-emb/matrices/.lock", build_in_cache),
    "lock of the server": (
        "data/start.lock",
        lambda path: os.close(open_lock(path, Account(os.geteuid(), os.getegid()))),
    ),
}


def link(path: Path, target: Path) -> Path:
    path.symlink_to(target)
    return path


def make(path: Path, mode: int, content: str = "", owner: int = -1) -> None:
    path.write_text(content)
    path.chmod(mode)
    os.chown(path, owner, owner)


PLANTED: dict[str, Callable[[Path, Path], object]] = {
    "a link": lambda path, target: link(path, target),
    "a link to nothing": lambda path, target: path.symlink_to(target.with_name("new")),
    "a relative link": lambda path, target: path.symlink_to(os.path.relpath(target, path.parent)),
    "a link to a link": lambda path, target: link(path, link(target.with_name("l"), target)),
    "a link to a folder": lambda path, target: path.symlink_to(target.parent),
    "a link to a device": lambda path, _target: path.symlink_to("/dev/null"),
    "a second name": lambda path, target: path.hardlink_to(target),
    "a pipe": lambda path, _target: os.mkfifo(path),
    "a folder": lambda path, _target: path.mkdir(),
    "a socket": lambda path, _target: os.mknod(path, stat.S_IFSOCK | 0o600),
    "a file that all can write": lambda path, _target: make(path, 0o666),
    "a file that a group can write": lambda path, _target: make(path, 0o660),
    "a full file that all can write": lambda path, _target: make(path, 0o602, "x\n"),
}
FOREIGN: dict[str, Callable[[Path, Path], object]] = {
    "another user's file": lambda path, _target: make(path, 0o600, owner=NOBODY),
    "another user's open file": lambda path, _target: make(path, 0o666, owner=NOBODY),
}


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a short path, a file to be spared, and the cache folder."""
    folder = tmp_path_factory.mktemp("p")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    (folder / "precious").mkdir()
    target = folder / "precious" / "target"
    target.write_text("root:x:0:0\n")
    target.chmod(0o644)
    yield folder
    assert target.read_text() == "root:x:0:0\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert {entry.name for entry in target.parent.iterdir()} <= {"target", "l"}


def refuses(place: Path, opener: str, plant: Callable[[Path, Path], object]) -> None:
    name, use = OPENERS[opener]
    path = place / name
    path.parent.mkdir(parents=True, mode=0o700)
    plant(path, place / "precious" / "target")
    before = path.lstat()
    with pytest.raises(OmopEmbError) as raised:
        use(path)
    message = str(raised.value)
    assert str(path) in message
    assert "remove it, or use a folder that only you can write" in message
    assert "\n" not in message
    after = path.lstat()
    assert (before.st_mode, before.st_size, before.st_ino) == (after.st_mode, after.st_size, after.st_ino)
    assert (before.st_uid, before.st_mtime_ns) == (after.st_uid, after.st_mtime_ns)


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("planted", PLANTED)
def test_what_was_planted_is_refused_and_left_as_it_was(place: Path, opener: str, planted: str) -> None:
    refuses(place, opener, PLANTED[planted])


@as_root
@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("planted", FOREIGN)
def test_another_users_file_is_refused_even_for_root(place: Path, opener: str, planted: str) -> None:
    refuses(place, opener, FOREIGN[planted])


@pytest.mark.parametrize("opener", OPENERS)
def test_a_file_is_closed_to_others_from_its_first_byte(place: Path, opener: str) -> None:
    name, use = OPENERS[opener]
    path = place / name
    path.parent.mkdir(parents=True, mode=0o700)
    mask = os.umask(0)
    try:
        use(path)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_of_ones_own_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("kept")
    path.chmod(0o644)
    os.close(open_private(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "kept"


@pytest.mark.parametrize("content", ["id,name\n1,fever\n", "no line end", '{"other": 1}\n', "\x00"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_file_that_is_no_journal_is_kept(tmp_path: Path, content: str, resume: bool) -> None:
    path = journal_path(tmp_path / "out.csv")
    path.write_text(content)
    with pytest.raises(OmopEmbError, match="journal"):
        open_journal(path, resume=resume)
    assert path.read_text() == content


@pytest.mark.parametrize("cut", [0, 1, 10, 19, 25])
def test_a_journal_whose_first_line_was_cut_is_begun_again(tmp_path: Path, cut: int) -> None:
    path = journal_path(tmp_path / "out.csv")
    open_journal(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    open_journal(path)
    assert path.read_bytes() == whole


@as_root
@pytest.mark.parametrize("which", ["omop-emb", "omop-emb/matrices"])
@pytest.mark.parametrize("linked", [False, True])
def test_a_cache_folder_of_another_user_is_not_used(place: Path, which: str, linked: bool) -> None:
    folder = place / "cache" / which
    folder.parent.mkdir(parents=True)
    theirs = place / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    if linked:
        folder.symlink_to(theirs)
    else:
        theirs.rename(folder)
    with pytest.raises(ConfigurationError, match=r"belongs to another user.*XDG_CACHE_HOME"):
        cache_folder(config.cache_dir(), "matrices")


@pytest.mark.parametrize("which", ["omop-emb", "omop-emb/matrices"])
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
def test_a_cache_folder_that_others_can_write_is_not_used(place: Path, which: str, mode: int) -> None:
    folder = place / "cache" / which
    folder.mkdir(parents=True)
    folder.chmod(mode)
    for use in (
        lambda: disk_cache.cached_folder("name"),
        lambda: build_in_cache(folder),
        disk_cache.clear,
    ):
        if which == "omop-emb":
            (folder / "matrices").mkdir(exist_ok=True)
        with pytest.raises(ConfigurationError, match="can be written by other users"):
            use()


def test_a_cache_folder_may_be_a_link_of_ones_own(place: Path) -> None:
    (place / "large disk").mkdir()
    (place / "cache").mkdir()
    (place / "cache" / "omop-emb").symlink_to(place / "large disk")
    assert cache_folder(config.cache_dir(), "matrices").resolve() == place / "large disk" / "matrices"
