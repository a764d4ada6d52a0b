"""Private files: a file or folder of a known name is used only if it is this user's own.

Whoever can write to the folder can put a link, a pipe or a file of their own in the place of a name that they
know beforehand. Nothing of that kind is read, changed or followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection
from pathlib import Path

from omop_emb.errors import ConfigurationError, InputError

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_ATTEMPTS = 5
_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_private(path: Path, *, owners: Collection[int] = ()) -> int:
    """A descriptor to read and write a file that only its owner can open; created if there is none.

    `owners` are user ids that may own it besides this process's user. A file of this user that others may
    read is closed to them; one that they may have written is refused.

    Raises:
        InputError: what has that name is not such a file, or cannot be opened.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    for _ in range(_ATTEMPTS):
        try:
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        except OSError as error:
            raise InputError(f"{path} cannot be created: {error.strerror}") from error
        try:
            _check_file(path, path.lstat(), owners)
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            continue  # deleted meanwhile
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _refusal(path, "a link") from error
            raise InputError(f"{path} cannot be opened: {error.strerror}") from error
        try:
            status = os.fstat(descriptor)
            _check_file(path, status, owners)  # it may be another than the one of that name before
            if status.st_mode & 0o077 and status.st_uid == os.geteuid():
                os.fchmod(descriptor, 0o600)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
    raise InputError(f"{path} is repeatedly deleted and created again: is another program using it?")


def cache_folder(top: Path, name: str = "", *, make: bool = True) -> Path:
    """A folder within the cache folder `top`, made if there is none; only this user can write to both.

    Raises:
        ConfigurationError: one of them is no folder, is another user's, or can be written by others.
        OSError: it cannot be made, or there is none and `make` is false.
    """
    path = top / name
    for folder in (top, path):
        if make:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A link of one's own is how one puts a cache on another disk.
        link, status = folder.lstat(), folder.stat()
        if {link.st_uid, status.st_uid} != {os.geteuid()}:
            what = "belongs to another user"
        elif not stat.S_ISDIR(status.st_mode):
            what = "is no folder"
        elif status.st_mode & _OTHERS_WRITE:
            what = f"can be written by other users (mode {stat.S_IMODE(status.st_mode):04o})"
        else:
            continue
        raise ConfigurationError(
            f"the cache folder {folder} {what}, so its contents cannot be trusted: remove it, or set "
            "XDG_CACHE_HOME to a folder that only you can write to"
        )
    return path


def _check_file(path: Path, status: os.stat_result, owners: Collection[int]) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _refusal(path, _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file"))
    if status.st_uid not in (os.geteuid(), *owners):
        raise _refusal(path, f"another user's file (user id {status.st_uid})")
    if status.st_nlink > 1:
        raise _refusal(path, "a file that has a second name")
    if status.st_mode & _OTHERS_WRITE:
        mode = stat.S_IMODE(status.st_mode)
        raise _refusal(path, f"a file that other users may have written (mode {mode:04o})")


def _refusal(path: Path, what: str) -> InputError:
    return InputError(
        f"{path} should be one of omop-emb's own files, but is {what}; nothing was written to it: remove "
        "it, or use a folder that only you can write to"
    )
