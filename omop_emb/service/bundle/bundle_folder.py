"""Bundle folder: its files and their manifest, which is written last and named with all of them at once.

Files are opened by fixed names, links are not followed, and each is compared with the size and SHA-256 that
the manifest has of it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import mmap
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import omop_emb
from omop_emb.errors import InputError, checked_keywords
from omop_emb.mapping.retrieval.array_cache import code_digest
from omop_emb.safe_files.foreign_errors import foreign_errors
from omop_emb.safe_files.foreign_text import parse_json, read_bytes
from omop_emb.safe_files.sealed_folder import file_digest, force_to_disk, open_file_digest, publish

MANIFEST = "manifest.json"
_FORMAT = 1
_MAKE = "make it again with omop-emb bundle make"
_NAME = re.compile(r"[a-z]+(-[0-9]{1,3})?\.(json|arrays)")
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True)
class BundleManifest:
    """What a bundle says about itself.

    Attributes:
        version: of the omop-emb that made it.
        code: digest of that version's code for mapping; the arrays can be used by the same code only.
        site: whose approvals and ranker it has.
        space: name of the embedding space.
        model: provider:model of the space.
        fingerprint: digest of the space's fingerprint.
        further_spaces: names of those that are searched besides.
        vocabulary: the vocabulary's release, "" if it names none.
        concepts: number of standard concepts.
        approved_names: number of approved names, 0 if they were left out.
        ranker: name of the ranker.
        calibrated: whether terms get probabilities.
        warnings: lines about an unknown site, and about a space of another release than the loaded one.
        files: name -> [bytes, SHA-256 of the SHA-256s of blocks of 8 MiB].
        digest: SHA-256 of the manifest itself, by which a job can insist on one bundle.
    """

    version: str
    code: str
    site: str
    space: str
    model: str
    fingerprint: str
    further_spaces: list[str]
    vocabulary: str
    concepts: int
    approved_names: int
    ranker: str
    calibrated: bool
    warnings: list[str]
    files: dict[str, list[Any]]
    digest: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for size, _ in self.files.values())


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill beside the target; it gets its name when finish() has sealed it, or is deleted.

    What killed processes left of the same target is deleted.

    Raises:
        InputError: the target is not free, or cannot be written.
    """
    # Without ".." and links in the folders above; the last name itself may not be a link.
    parent = target.expanduser().parent.resolve()
    beginning = f".{target.name[:80]}."
    _check_free(target)
    try:
        _remove_left(parent, beginning)
        part = parent / f"{beginning}{uuid4().hex}.part"
        part.mkdir()
        lock = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            with suppress(OSError):  # some network file systems have no locks; they keep what is left
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield part
            publish(part, parent / target.name)
        finally:
            os.close(lock)
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            _check_free(target)
        raise InputError(f"{target} cannot be written: {error.strerror or error}") from error


def _check_free(target: Path) -> None:
    if not target.parent.expanduser().is_dir():
        raise InputError(f"there is no folder {target.parent}; create it first")
    with suppress(FileNotFoundError):
        target = target.expanduser()
        if not stat.S_ISDIR(target.lstat().st_mode) or any(target.iterdir()):
            raise InputError(f"{target} exists already: give the name of a new folder, or remove it first")


def _remove_left(parent: Path, beginning: str) -> None:
    name = re.compile(rf"{re.escape(beginning)}[0-9a-f]{{32}}\.part")
    for path in [path for path in parent.iterdir() if name.fullmatch(path.name)]:
        with suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if it is in use
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def finish(folder: Path, **about: Any) -> BundleManifest:
    """Write the manifest of a folder whose files are complete, and force all of it to the disk."""
    files = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
    manifest = BundleManifest(version=omop_emb.__version__, code=code_digest(), files=files, **about)
    plain = {name: value for name, value in asdict(manifest).items() if name != "digest"}
    data = json.dumps({"format": _FORMAT, **plain}, indent=1).encode()
    (folder / MANIFEST).write_bytes(data)
    for path in (*folder.iterdir(), folder):
        force_to_disk(path)
    return BundleManifest(**plain, digest=hashlib.sha256(data).hexdigest())


class BundleFiles:
    """The files of a bundle, checked as they are opened.

    Args:
        folder: the bundle.
        digest: of the manifest that it must have; None accepts any.
        verify: whether the contents are compared with their digests; sizes always are.

    Raises:
        InputError: it is no bundle, incomplete, damaged, of another version or another one than the digest's.
    """

    def __init__(self, folder: Path, *, digest: str | None, verify: bool) -> None:
        self.folder, self._verify = folder, verify
        self.manifest = _read_manifest(folder, digest)
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Open no more files; what was mapped stays readable."""
        os.close(self._descriptor)

    def __contains__(self, name: str) -> bool:
        return name in self.manifest.files

    def map(self, name: str) -> memoryview:
        """A file's bytes, read-only and read from the disk when they are used.

        Raises:
            InputError: it is missing, or differs from what the manifest says.
        """
        path = self.folder / name
        if name not in self.manifest.files:
            raise InputError(f"{self.folder} is damaged: its manifest lacks {name}; {_MAKE}")
        try:
            descriptor = os.open(name, _OPEN, dir_fd=self._descriptor)
        except OSError as error:
            reason = "is a link" if error.errno == errno.ELOOP else error.strerror
            raise InputError(f"the bundle's file {path} cannot be read: {reason}; {_MAKE}") from error
        try:
            size, digest = self.manifest.files[name]
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size != size:
                found = f"{status.st_size:,} bytes" if stat.S_ISREG(status.st_mode) else "no regular file"
                raise InputError(
                    f"the bundle's file {path} should have {size:,} bytes, found {found}: copy it again, "
                    f"or {_MAKE}"
                )
            if self._verify and open_file_digest(descriptor) != [size, digest]:
                raise InputError(
                    f"the bundle's file {path} is damaged: its SHA-256 is not the manifest's; copy it again, "
                    f"or {_MAKE}"
                )
            return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
        except OSError as error:
            raise InputError(f"the bundle's file {path} cannot be read: {error.strerror}") from error
        finally:
            os.close(descriptor)

    def json(self, name: str) -> Any:
        """The value in a file of JSON."""
        return parse_json(bytes(self.map(name)), self.folder / name)


def _read_manifest(folder: Path, digest: str | None) -> BundleManifest:
    path = folder / MANIFEST
    if not folder.is_dir():
        raise InputError(f"there is no bundle {folder}: make one with omop-emb bundle make DIR")
    if not os.path.lexists(path):
        raise InputError(f"{folder} is no bundle, or an incomplete copy: it has no {MANIFEST}; {_MAKE}")
    data = read_bytes(path)
    found = hashlib.sha256(data).hexdigest()
    if digest is not None and found != digest:
        raise InputError(f"{folder} is another bundle than the one asked for: its digest is {found[:12]}…")
    with foreign_errors(path, f"is damaged; {_MAKE}"):
        values = parse_json(data, path)
        if values.pop("format") != _FORMAT or (values["code"], values["version"]) != (
            code_digest(),
            omop_emb.__version__,
        ):
            raise InputError(
                f"{folder} was made by another omop-emb (version {values['version']}, this is "
                f"{omop_emb.__version__}), whose files this one cannot use: {_MAKE}"
            )
        manifest = BundleManifest(**values, digest=found)
        if not all(_NAME.fullmatch(name) and len(entry) == 2 for name, entry in manifest.files.items()):
            raise ValueError("names")
    return manifest


@checked_keywords
def check_bundle(path: str | Path) -> BundleManifest:
    """What a bundle says about itself, after all of its files were compared with their digests.

    Raises:
        InputError: it is no bundle, incomplete, damaged or of another version.
    """
    files = BundleFiles(Path(path).expanduser(), digest=None, verify=True)
    try:
        for name in files.manifest.files:
            files.map(name)
    finally:
        files.close()
    return files.manifest
