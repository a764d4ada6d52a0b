"""Data folder of the embedded server: its paths, its two locks, and whether a server runs in it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from omop_emb.errors import InputError, ServerError
from omop_emb.safe_files.private_file import open_private
from omop_emb.server.account import Account
from omop_emb.server.file_errors import readable_file_errors
from omop_emb.server.processes import command_of, commands
from omop_emb.server.settings import PORT

_SOCKET = f".s.PGSQL.{PORT}"
# A socket's path may have 107 bytes on Linux, 103 on macOS.
_SOCKET_PATH_BYTES = 103
# pg_ctl hands its paths to a shell, between quotation marks.
_UNUSABLE = frozenset('"$`\\\n\r')


@dataclass(frozen=True)
class Postmaster:
    """What postmaster.pid says; the file may be left over from a server that was killed."""

    pid: int
    started: int
    socket_dir: Path
    state: str


@dataclass(frozen=True)
class Folders:
    """The paths of one embedded server."""

    data_dir: Path  # the folder that holds all of it; OMOP_EMB_DATA_DIR

    @classmethod
    def of(cls, data_dir: Path) -> Folders:
        """The paths below a folder, links resolved so that every process spells them the same."""
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
        """The server's own messages: starts, recoveries, failures."""
        return self.run / "server.log"

    @property
    def cluster_name(self) -> str:
        """The name that the title of each of this server's processes shows."""
        return f"omop-emb-{hashlib.sha256(os.fsencode(self.cluster)).hexdigest()[:12]}"

    def socket_dir(self, account: Account) -> Path:
        """The folder of the account's socket."""
        # A client reads a comma in a host as the end of one host and the start of another.
        if len(os.fsencode(self.run / _SOCKET)) <= _SOCKET_PATH_BYTES and "," not in str(self.run):
            return self.run
        # Not XDG_RUNTIME_DIR: it is removed when its user logs out, and the server runs on.
        return Path("/tmp") / f"{self.cluster_name}-{account.uid}"  # noqa: S108 - private_folder checks the owner

    def postmaster(self) -> Postmaster | None:
        """What postmaster.pid says; None where there is none, or it is not complete yet."""
        try:
            lines = (self.cluster / "postmaster.pid").read_text(errors="replace").splitlines()
            return Postmaster(int(lines[0]), int(lines[2]), Path(lines[4]), lines[7].strip())
        except (OSError, ValueError, IndexError):
            return None

    def ready_postmaster(self) -> Postmaster | None:
        """The running server if it accepts connections, whichever process or container runs it."""
        postmaster = self.postmaster()
        if postmaster is None or postmaster.state != "ready":
            return None
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(postmaster.socket_dir / _SOCKET))
            except OSError:
                return None
        return postmaster

    def is_alive(self) -> bool:
        """Whether any process of the server still runs, ready or not.

        Each of them inherits and holds the server's lock. Where a file system's locks are not inherited
        (NFS), a process whose command line is this cluster's postmaster counts too.
        """
        return self._lock_is_held() or self.postmaster_pid() is not None

    def postmaster_pid(self) -> int | None:
        """Pid of this cluster's postmaster; None without a pid file, or if the pid is now another process."""
        try:
            with (self.cluster / "postmaster.pid").open() as file:
                pid = int(file.readline())
        except (OSError, ValueError):
            return None
        # The path of the program may hold spaces, as the path of the cluster may.
        return pid if f"/postgres -D {self.cluster} " in f"{command_of(pid)} " else None

    def orphans(self) -> list[int]:
        """The processes of this server that outlived a killed postmaster."""
        title = f"postgres: {self.cluster_name}: "
        return [pid for pid, command in commands() if command.startswith(title)]

    def remove_stale(self) -> None:
        """Remove pid and socket files of a dead server: PostgreSQL does not start if their pid is in use."""
        postmaster = self.postmaster()
        folders = [self.run] if postmaster is None else [self.run, postmaster.socket_dir]
        for path in [self.cluster / "postmaster.pid", *(folder / _SOCKET for folder in folders)]:
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}.lock").unlink(missing_ok=True)

    @contextmanager
    def server_lock(self, account: Account) -> Iterator[int | None]:
        """The lock that the server's processes inherit, as a file descriptor; None if a server holds it."""
        descriptor = open_lock(self.data_dir / "server.lock", account)
        try:
            yield descriptor if _try_lock(descriptor, fcntl.LOCK_EX) else None
        finally:
            os.close(descriptor)  # never LOCK_UN: a server that inherited the lock must keep it

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
    """A descriptor for the lock that try_start_lock takes before a server is started or stopped."""
    descriptor = open_lock(folders.data_dir / "start.lock", account)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def try_start_lock(descriptor: int) -> bool:
    """Whether this process now holds the lock, until it closes the descriptor or ends."""
    return _try_lock(descriptor, fcntl.LOCK_EX)


def open_lock(path: Path, account: Account) -> int:
    """Open or create a lock file that belongs to the server's account, even if root creates it."""
    with readable_file_errors(path.parent):
        try:
            descriptor = open_private(path, owners=(account.uid,))
        except InputError as error:
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None  # the server's own advice fits better
            raise ServerError(str(error)) from error
        if not account.is_self and os.fstat(descriptor).st_uid != account.uid:
            os.fchown(descriptor, account.uid, account.gid)
    return descriptor


def make_data_dir(folders: Folders, account: Account) -> None:
    """Create the data folder, mode 0700 and owned by the account; an existing folder is left unchanged."""
    with readable_file_errors(folders.data_dir):
        # Parent folders get this user's umask, as with mkdir -p.
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
            f"PostgreSQL does not run as root, and its user cannot enter {folders.data_dir}, because a "
            "parent folder is closed to others: set OMOP_EMB_DATA_DIR to a path such as /var/lib/omop-emb"
        )


def private_folder(path: Path, account: Account) -> Path:
    """Create a folder of mode 0700 that the account owns; an existing one must be exactly that."""
    with readable_file_errors(path.parent):
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            pass
        else:
            _give(path, account)
        check_private(path, account.uid)
    return path


def check_private(path: Path, uid: int) -> None:
    """Check that a path is a folder of this owner, mode 0700, and no link."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid or status.st_mode & 0o077:
        raise ServerError(
            f"{path} is not a private folder (mode 0700) of the user that runs PostgreSQL (user id "
            f"{uid}): remove it, or set OMOP_EMB_DATA_DIR to another path"
        )


def _give(path: Path, account: Account) -> None:
    if not account.is_self:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
