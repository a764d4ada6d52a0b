"""Objects made of arrays, kept in the cache folder and read back memory-mapped, without copying."""

from __future__ import annotations

import hashlib
import io
import mmap
import pickle
import sys
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import scipy

import omop_emb
from omop_emb import disk_cache

_ALIGNED = 64
_ARRAYS, _REST = "arrays", "rest"
# What arrays and sparse matrices are put together with, in whichever module a version of numpy has it.
_ALLOWED = {"_reconstruct", "scalar", "ndarray", "dtype", "csr_matrix"}

_Made = TypeVar("_Made")


def name_of(*states: str) -> str:
    """A name for what is made from data in the given states by this version on this machine."""
    return hashlib.sha256("\n".join([_code(), *states]).encode()).hexdigest()[:40]


def _code() -> str:
    return " ".join([sources(), np.__version__, scipy.__version__, sys.version, sys.byteorder])


@cache
def sources() -> str:
    """A digest of the code and data of mapping: all that shapes what is kept, besides what it was made of."""
    package = Path(str(resources.files("omop_emb")))
    digest = hashlib.sha256(omop_emb.__version__.encode())
    for folder, kinds in ((package / "mapping", (".py",)), (package / "data" / "mapping", (".tsv", ".toml"))):
        for file in sorted(folder.rglob("*")):
            if file.name.endswith(kinds):
                digest.update(file.read_bytes())
    return digest.hexdigest()


def find(name: str) -> Any | None:
    """What is kept under a name, its arrays read-only and read from the disk when they are used; or None."""
    try:
        folder = disk_cache.cached_folder(name)
        return None if folder is None else _read(folder)
    except (OSError, ValueError, EOFError, pickle.UnpicklingError):
        return None  # removed for want of room, out of reach, or cut off when the machine stopped


def _read(folder: Path) -> Any:
    rest = (folder / _REST).read_bytes()
    with (folder / _ARRAYS).open("rb") as file:
        arrays = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    spans = np.frombuffer(rest[8 : 8 + 16 * int.from_bytes(rest[:8], "little")], np.int64).reshape(-1, 2)
    buffers = [arrays[start:stop] for start, stop in spans.tolist()]
    return _Reader(io.BytesIO(rest[8 + spans.nbytes :]), buffers=buffers).load()


def keep(name: str, made: _Made) -> _Made:
    """Keep what was made under a name, and give it back as find() would; as it is where there is no room."""
    buffers: list[pickle.PickleBuffer] = []
    shape = pickle.dumps(made, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    try:
        with disk_cache.build_folder(name, len(shape) + sum(view.nbytes + _ALIGNED for view in views)) as folder:
            if folder is not None:
                _write(folder, shape, views)
    except OSError:
        return made
    found: _Made | None = find(name)
    return made if found is None else found


def _write(folder: Path, shape: bytes, views: list[memoryview]) -> None:
    spans = np.zeros((len(views), 2), np.int64)
    with (folder / _ARRAYS).open("wb") as file:
        file.write(bytes(_ALIGNED))  # an empty file cannot be mapped
        for number, view in enumerate(views):
            start = file.tell() + -file.tell() % _ALIGNED
            file.seek(start)
            file.write(view)
            spans[number] = start, file.tell()
    (folder / _REST).write_bytes(len(views).to_bytes(8, "little") + spans.tobytes() + shape)


class _Reader(pickle.Unpickler):
    """Puts together arrays and this package's own records, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The class or function of a name, if it is among those that are needed."""
        package = module.partition(".")[0]
        if package == "numpy" and name == "_frombuffer":
            return _array
        if package in ("numpy", "scipy") and name in _ALLOWED:
            return super().find_class(module, name)
        if module.startswith("omop_emb.mapping.") and "." not in name:
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is nothing that is kept")


def _array(buffer: memoryview, dtype: np.dtype[Any], shape: tuple[int, ...], order: Literal["C", "F"]) -> Any:
    # By its name, a type is numpy's own object; np.add.at is slow by fifteen times where it is merely equal.
    return np.frombuffer(buffer, np.dtype(dtype.str)).reshape(shape, order=order)
