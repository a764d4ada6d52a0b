"""Vocabulary downloads: the files in a folder or zip, read in pieces."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from omop_emb.errors import VocabularyError
from omop_emb.safe_files.foreign_errors import foreign_errors, one_line
from omop_emb.safe_files.zip_archive import check_ratio, open_zip
from omop_emb.vocabulary.layout import LAYOUTS, TableLayout

_LAYOUT_OF = {layout.name: layout for layout in LAYOUTS}
_SUFFIXES = (".csv", ".txt", ".tsv")
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class VocabularyFile:
    """A file that holds a vocabulary table."""

    layout: TableLayout
    name: str  # its path inside the folder or zip
    size: int  # in bytes, unpacked
    _open: Callable[[], IO[bytes]]

    def pieces(self) -> Iterator[bytes]:
        """The file's bytes, a mebibyte at a time."""
        with _readable(self.name):
            stream = self._open()
        with stream:
            while True:
                with _readable(self.name):
                    piece = stream.read(_PIECE_BYTES)
                if not piece:
                    return
                yield piece


@contextmanager
def vocabulary_files(path: str | Path) -> Iterator[list[VocabularyFile]]:
    """The vocabulary files in a folder or zip, CONCEPT first; readable inside the with block."""
    path = Path(path).expanduser()
    if path.is_dir():
        with foreign_errors(path, kind=VocabularyError):
            entries = _files_in_folder(path)
        yield _layout_files(path, entries)
    elif not path.exists():
        raise VocabularyError(f"there is no folder or zip {str(path)!r}")
    elif path.suffix.lower() in _SUFFIXES:
        raise VocabularyError(f"{path.name} is one file: give the folder that it is in, {str(path.parent)!r}")
    else:
        if not path.is_file():
            raise VocabularyError(f"{path.name} is neither a folder nor a zip")
        with foreign_errors(path.name, kind=VocabularyError):
            handle = path.open("rb")
        what = "is not a zip, or is truncated: download it again"
        with handle, open_zip(handle, path.name, what, VocabularyError) as archive:
            files = _layout_files(path, _files_in_zip(archive))
            for file in files:
                check_ratio(archive.getinfo(file.name), path.name, VocabularyError)
            yield files


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Errors of unpacking a file, or of reading it, as ours."""
    try:
        yield
    except RuntimeError as error:  # encrypted, or packed by a method that Python lacks
        reason = one_line(str(error))
        raise VocabularyError(f"cannot be unpacked ({reason}); unzip it first", file=name) from error
    except OSError as error:
        raise VocabularyError(f"cannot be read ({error.strerror or 'damaged'})", file=name) from error
    except Exception as error:
        reason = one_line(str(error))
        raise VocabularyError(f"the zip is damaged ({reason}); download it again", file=name) from error


# Path inside the folder or zip, bytes unpacked, a function that opens it.
_Entry = tuple[str, int, Callable[[], IO[bytes]]]


def _files_in_folder(folder: Path) -> list[_Entry]:
    files = [entry for entry in folder.iterdir() if entry.is_file()]
    if not any(_table_name(entry.name) == "concept" for entry in files):
        files += [
            entry for sub in folder.iterdir() if sub.is_dir() for entry in sub.iterdir() if entry.is_file()
        ]
    return [
        (str(entry.relative_to(folder)), entry.stat().st_size, partial(_open_binary, entry))
        for entry in files
    ]


def _open_binary(path: Path) -> IO[bytes]:
    return path.open("rb")


def _files_in_zip(archive: zipfile.ZipFile) -> list[_Entry]:
    files: list[_Entry] = []
    for info in archive.infolist():
        parts = re.split(r"[/\\]", info.filename)
        # Nothing is ever unpacked to disk; such a zip is refused because nobody makes one by accident.
        if parts[0] == "" or parts[0].endswith(":") or ".." in parts:
            raise VocabularyError(
                f"the zip contains a path that leads out of it, {info.filename!r}: do not trust this file"
            )
        if not info.is_dir() and parts[0] != "__MACOSX":
            files.append((info.filename, info.file_size, partial(archive.open, info)))
    return files


def _table_name(path: str) -> str:
    name = PurePosixPath(path.replace("\\", "/"))
    return name.stem.lower() if name.suffix.lower() in _SUFFIXES else ""


def _layout_files(path: Path, entries: Sequence[_Entry]) -> list[VocabularyFile]:
    files: dict[str, VocabularyFile] = {}
    for name, size, open_ in sorted(entries, key=lambda entry: entry[0]):
        layout = _LAYOUT_OF.get(_table_name(name))
        if layout is None:
            continue
        if layout.name in files:
            raise VocabularyError(
                f"{path.name} holds {layout.name.upper()} twice: {files[layout.name].name} and {name}"
            )
        files[layout.name] = VocabularyFile(layout, name, size, open_)
    if "concept" not in files:
        listed = ", ".join(sorted(name for name, _, _ in entries)[:8]) or "nothing"
        raise VocabularyError(f"{path.name} holds no CONCEPT.csv; found: {listed}")
    return [files[layout.name] for layout in LAYOUTS if layout.name in files]
