"""The embedded server's folder: where things stand in it, its two locks, and whether the server lives."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from omop_emb.errors import ServerError
from omop_emb.server.account import Account
from omop_emb.server.processes import command_of, commands
from omop_emb.server.settings import PORT

_SOCKET = f".s.PGSQL.{PORT}"
# A socket's path may have 107 bytes on Linux, 103 on macOS.
_SOCKET_PATH_BYTES = 103
# pg_ctl hands its paths to a shell, between quotation marks.
_UNUSABLE = frozenset('"$`\\\n\r')


@dataclass(frozen=True)
class Postmaster:
    """What the server's postmaster.pid says; it may be left over from a server that is no more."""

    pid: int
    started: int
    socket_dir: Path
    state: str


@dataclass(frozen=True)
class Folders:
    """The places of one embedded server.

    Attributes:
        data_dir: the folder that holds all of it; OMOP_EMB_DATA_DIR.
    """

    data_dir: Path

    @classmethod
    def of(cls, data_dir: Path) -> Folders:
        """The places below a folder, links resolved, so that every process spells them alike."""
        resolved = data_dir.expanduser().resolve()
        if _UNUSABLE & set(str(resolved)):
            raise ServerError(
                f"PostgreSQL cannot be started in {str(resolved)!r}: "
                "set OMOP_EMB_DATA_DIR to a path without quotation marks, $, ` or \\"
            )
        return cls(resolved)

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data directory."""
        return self.data_dir / "postgres"

    @property
    def run(self) -> Path:
        """The folder of the log, and of the socket where its path is short enough."""
        return self.data_dir / "run"

    @property
    def log(self) -> Path:
        """What the server says when it starts, recovers or fails."""
        return self.run / "server.log"

    @property
    def cluster_name(self) -> str:
        """A name of the cluster that stands in the title of each of its processes."""
        return f"omop-emb-{hashlib.sha256(os.fsencode(self.cluster)).hexdigest()[:12]}"

    def socket_dir(self, account: Account) -> Path:
        """Where the account's server makes its socket."""
        # To a client, a comma in a host stands between two of them.
        if len(os.fsencode(self.run / _SOCKET)) <= _SOCKET_PATH_BYTES and "," not in str(self.run):
            return self.run
        # Not XDG_RUNTIME_DIR: that goes away when its user logs out, and the server stays.
        return Path("/tmp") / f"{self.cluster_name}-{account.uid}"  # noqa: S108 - private_folder checks the owner

    def postmaster(self) -> Postmaster | None:
        """What postmaster.pid says; None where there is none, or it is not complete yet."""
        try:
            lines = (self.cluster / "postmaster.pid").read_text(errors="replace").splitlines()
            return Postmaster(int(lines[0]), int(lines[2]), Path(lines[4]), lines[7].strip())
        except (OSError, ValueError, IndexError):
            return None

    def answering(self) -> Postmaster | None:
        """The running server if it is ready and takes connections, whichever process or container runs it."""
        found = self.postmaster()
        if found is None or found.state != "ready":
            return None
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(found.socket_dir / _SOCKET))
            except OSError:
                return None
        return found

    def is_alive(self) -> bool:
        """Whether any process of the server is left, ready or not.

        Each of them holds the server's lock, which they inherit; where a file system's locks are not
        inherited (NFS), a process that is this cluster's postmaster by its command counts too.
        """
        return self._lock_is_held() or self.postmaster_pid() is not None

    def postmaster_pid(self) -> int | None:
        """The pid of this cluster's postmaster; None if there is no pid file, or its pid is another's now."""
        try:
            with (self.cluster / "postmaster.pid").open() as file:
                pid = int(file.readline())
        except (OSError, ValueError):
            return None
        program, _, arguments = command_of(pid).partition(" ")
        return pid if program.endswith("postgres") and f"-D {self.cluster}" in arguments else None

    def orphans(self) -> list[int]:
        """The processes of this server that outlived their postmaster, which was killed."""
        title = f"postgres: {self.cluster_name}: "
        return [pid for pid, command in commands() if command.startswith(title)]

    def remove_stale(self) -> None:
        """Remove what a dead server left and the next one would stumble over.

        PostgreSQL takes a pid that has since been given to another process for a running server.
        """
        found = self.postmaster()
        places = [self.run] if found is None else [self.run, found.socket_dir]
        for path in [self.cluster / "postmaster.pid", *(place / _SOCKET for place in places)]:
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}.lock").unlink(missing_ok=True)

    @contextmanager
    def server_lock(self, account: Account) -> Iterator[int | None]:
        """The lock that a server's processes hold, as a file descriptor to pass on; None if one is alive."""
        descriptor = open_lock(self.data_dir / "server.lock", account)
        try:
            yield descriptor if _try_lock(descriptor, fcntl.LOCK_EX) else None
        finally:
            os.close(descriptor)  # the server that inherited it still holds it: never LOCK_UN

    def _lock_is_held(self) -> bool:
        try:
            descriptor = os.open(self.data_dir / "server.lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not _try_lock(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)


@contextmanager
def start_lock(folders: Folders, account: Account) -> Iterator[int]:
    """A descriptor for the lock of whoever starts or stops the server; see try_start_lock."""
    descriptor = open_lock(folders.data_dir / "start.lock", account)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def try_start_lock(descriptor: int) -> bool:
    """Whether this process now holds the lock; it ends when the descriptor is closed, or at death."""
    return _try_lock(descriptor, fcntl.LOCK_EX)


def open_lock(path: Path, account: Account) -> int:
    """Open a lock file, made if need be; it belongs to the server's account, even if root makes it.

    Raises:
        ServerError: the folder cannot be written to.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with readable_failures(path.parent):
        descriptor = os.open(path, flags, 0o600)
        if not account.is_self and os.fstat(descriptor).st_uid != account.uid:
            os.fchown(descriptor, account.uid, account.gid)
    return descriptor


def make_data_dir(folders: Folders, account: Account) -> None:
    """Make the data folder, 0700 and the account's, unless it is there; then it is left as it is.

    Raises:
        ServerError: it cannot be made, or the account cannot get there.
    """
    with readable_failures(folders.data_dir):
        # Folders on the way are made with this user's umask, as mkdir -p would.
        folders.data_dir.parent.mkdir(parents=True, exist_ok=True)
        try:
            folders.data_dir.mkdir(mode=0o700)
        except FileExistsError:
            if not folders.data_dir.is_dir():
                raise
        else:
            _give(folders.data_dir, account)
    if not account.is_self and not account.can_enter(folders.data_dir):
        raise ServerError(
            f"PostgreSQL does not run as root, and its user cannot get into {folders.data_dir}, because a "
            "folder on the way is closed to others: set OMOP_EMB_DATA_DIR to a path such as /var/lib/omop-emb"
        )


def private_folder(path: Path, account: Account) -> Path:
    """Make a 0700 folder of the account's; one that is there must be just that.

    Raises:
        ServerError: it is somebody else's, open to others, or a link; or it cannot be made.
    """
    with readable_failures(path.parent):
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            pass
        else:
            _give(path, account)
        check_private(path, account.uid)
    return path


def check_private(path: Path, uid: int) -> None:
    """See that a folder is the user's, mode 0700, and no link.

    Raises:
        ServerError: it is not.
    """
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o077:
        raise ServerError(
            f"{path} is not a private folder (mode 0700) of the user that runs PostgreSQL (user id "
            f"{uid}): remove it, or set OMOP_EMB_DATA_DIR to another path"
        )


@contextmanager
def readable_failures(place: Path) -> Iterator[None]:
    """Turn what the file system refuses into a ServerError that names the place and what to do.

    Raises:
        ServerError: in place of any OSError.
    """
    try:
        yield
    except OSError as error:
        raise ServerError(
            f"the embedded server cannot use {place}: {reason(error.errno, error.strerror)}"
        ) from error


def reason(number: int | None, said: str | None) -> str:
    """Why the file system refused, and what to do about it."""
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space and run this again"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "it is not writable for this user; set OMOP_EMB_DATA_DIR to a folder that is"
    return f"{said}; set OMOP_EMB_DATA_DIR to another folder"


def _give(path: Path, account: Account) -> None:
    if not account.is_self:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
