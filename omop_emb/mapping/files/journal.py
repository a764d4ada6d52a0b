"""Run journal: the terms mapped so far, so that an interrupted run can be resumed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from omop_emb.errors import InputError
from omop_emb.mapping.files.result_json import from_json, to_json
from omop_emb.mapping.records import MappedTerm
from omop_emb.safe_files.foreign_errors import foreign_errors
from omop_emb.safe_files.foreign_text import parse_json
from omop_emb.safe_files.private_file import open_private

_FORMAT = 3
_MOST_HEAD = 1 << 20
_BEGINNING = b'{"omop_emb_journal"'


def journal_path(output: str | Path) -> Path:
    """The journal of a run with this output: a hidden file beside it.

    Raises:
        InputError: the output is stdout.
    """
    if str(output) == "-":
        raise InputError("--resume needs an output file: a run to stdout cannot be resumed")
    path = Path(output)
    return path.with_name(f".{path.name[:200]}.journal")


class Journal:
    """Batches of mapped terms, each on disk before its results are used; deleted when the run is complete.

    It holds clinical text, so only its owner may read it; one without a path is gone with the process. A
    journal of another input or other settings is refused, because the results would not fit together.

    Attributes:
        done: how many terms it has.
    """

    def __init__(
        self, path: Path | None, *, input_digest: str, settings: Mapping[str, Any], resume: bool
    ) -> None:
        """`settings`: everything but the input that the results depend on. Without `resume` it is emptied."""
        self._path, self._resume = path, resume
        canonical = json.dumps(settings, sort_keys=True, default=str)
        self._head = {
            "omop_emb_journal": _FORMAT,
            "input": input_digest,
            "settings": hashlib.sha256(canonical.encode()).hexdigest(),
        }
        self._head_line = json.dumps(self._head).encode() + b"\n"
        self.done = 0

    def __enter__(self) -> Journal:
        """Open and lock it.

        Raises:
            InputError: another run has locked it, it belongs to another input or other settings, or something
                else than a file of this user's own has its name.
        """
        self._handle: IO[bytes] = (
            tempfile.TemporaryFile(prefix="omop-emb-")
            if self._path is None
            else os.fdopen(open_private(self._path), "r+b")
        )
        try:
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(
                    f"another run is writing the same output ({self._path} is locked)"
                ) from error
            self._check_is_journal()
            if not self._resume:
                self._handle.truncate(0)
            self._end = self._read() or self._start()
        except BaseException:
            self._handle.close()
            raise
        return self

    def replay(self) -> Iterator[MappedTerm]:
        """The mapped terms, in order."""
        read = len(self._head_line)
        while read < self._end:
            self._handle.seek(read)  # append() may have moved it
            line = self._handle.readline()
            read += len(line)
            with foreign_errors(self._path, "is damaged; run again without --resume"):
                mapped = from_json(line.decode())
            yield mapped

    def append(self, batch: Sequence[MappedTerm]) -> None:
        """Add a batch; it is on disk when this returns."""
        lines = "".join(f"{to_json(mapped)}\n" for mapped in batch).encode()
        with self._disk_errors():
            self._handle.seek(self._end)
            self._handle.write(lines)
            self._handle.flush()
            os.fsync(self._handle.fileno())
        self._end += len(lines)
        self.done += len(batch)

    def remove(self) -> None:
        """Delete it: the run is complete."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # what is not on the disk after append() does not count
            self._handle.close()

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = self._path or f"a temporary file in {tempfile.gettempdir()}"
            again = ", then run again with --resume" if self._path else ""
            raise InputError(
                f"{where} cannot be written: {error.strerror}; free some space{again}"
            ) from error

    def _check_is_journal(self) -> None:
        first = self._handle.read(len(_BEGINNING))
        if not _BEGINNING.startswith(first):
            raise InputError(f"{self._path} is not a journal; move it away, or delete it, then run again")

    def _start(self) -> int:
        self._handle.seek(0)
        self._handle.truncate(0)
        with self._disk_errors():
            self._handle.write(self._head_line)
            self._handle.flush()
        return len(self._head_line)

    def _read(self) -> int:
        """Count the terms; returns where the last complete line ends, 0 if there is nothing to resume."""
        self._handle.seek(0)
        first = self._handle.readline(_MOST_HEAD)
        if not first.endswith(b"\n"):
            return 0
        head = parse_json(first, self._path, "is not a journal; delete it, then run again")
        for key, what in (
            ("omop_emb_journal", "another version of omop-emb"),
            ("input", "another input"),
            ("settings", "other settings"),
        ):
            if not isinstance(head, dict) or head.get(key) != self._head[key]:
                raise InputError(
                    f"the interrupted run had {what}, so its results do not fit; run again without --resume"
                )
        end = len(first)
        for line in self._handle:
            # A line without an end was being written when the run stopped: that term is mapped again.
            if not line.endswith(b"\n"):
                break
            self.done += 1
            end += len(line)
        self._handle.truncate(end)
        return end
