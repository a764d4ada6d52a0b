"""Array cache: objects made of arrays as files in the cache folder, read back memory-mapped."""

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

_ALIGNMENT = 64
_ARRAYS, _STRUCTURE = "arrays", "structure"
# What numpy and scipy build arrays and sparse matrices with; the module depends on numpy's version.
_ALLOWED = {"_reconstruct", "scalar", "ndarray", "dtype", "csr_matrix"}

_T = TypeVar("_T")


def cache_key(*states: str) -> str:
    """A name for what this code derives from data in the given states, on this machine."""
    versions = (code_digest(), np.__version__, scipy.__version__, sys.version, sys.byteorder)
    return hashlib.sha256("\n".join([" ".join(versions), *states]).encode()).hexdigest()[:40]


@cache
def code_digest() -> str:
    """A digest of the code and data of mapping, which shape what is cached."""
    package = Path(str(resources.files("omop_emb")))
    digest = hashlib.sha256(omop_emb.__version__.encode())
    for folder, suffixes in (("mapping", (".py",)), ("data/mapping", (".tsv", ".toml"))):
        for file in sorted((package / folder).rglob("*")):
            if file.name.endswith(suffixes):
                digest.update(file.read_bytes())
    return digest.hexdigest()


def load(key: str) -> Any | None:
    """The cached object or None; its arrays are read-only, and read from the disk when they are used."""
    try:
        folder = disk_cache.cached_folder(key)
        return None if folder is None else _read(folder)
    except (OSError, ValueError, EOFError, pickle.UnpicklingError):
        return None  # evicted meanwhile, unreadable, or truncated when the machine stopped


def _read(folder: Path) -> Any:
    structure = (folder / _STRUCTURE).read_bytes()
    with (folder / _ARRAYS).open("rb") as file:
        arrays = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    count = int.from_bytes(structure[:8], "little")
    spans = np.frombuffer(structure[8 : 8 + 16 * count], np.int64).reshape(-1, 2)
    buffers = [arrays[start:stop] for start, stop in spans.tolist()]
    return _Unpickler(io.BytesIO(structure[8 + spans.nbytes :]), buffers=buffers).load()


def store(key: str, value: _T) -> _T:
    """Cache an object and return it as load() does; the object itself if there is no room."""
    buffers: list[pickle.PickleBuffer] = []
    structure = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    size = len(structure) + sum(view.nbytes + _ALIGNMENT for view in views)
    try:
        with disk_cache.build_folder(key, size) as folder:
            if folder is not None:
                _write(folder, structure, views)
    except OSError:
        return value
    cached: _T | None = load(key)
    return value if cached is None else cached


def _write(folder: Path, structure: bytes, views: list[memoryview]) -> None:
    spans = np.zeros((len(views), 2), np.int64)
    with (folder / _ARRAYS).open("wb") as file:
        file.write(bytes(_ALIGNMENT))  # an empty file cannot be mapped
        for number, view in enumerate(views):
            start = file.tell() + -file.tell() % _ALIGNMENT
            file.seek(start)
            file.write(view)
            spans[number] = start, file.tell()
    (folder / _STRUCTURE).write_bytes(len(views).to_bytes(8, "little") + spans.tobytes() + structure)


class _Unpickler(pickle.Unpickler):
    """Builds arrays and this package's own classes, nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        package = module.partition(".")[0]
        if package == "numpy" and name == "_frombuffer":
            return _array
        if package in ("numpy", "scipy") and name in _ALLOWED:
            return super().find_class(module, name)
        if module.startswith("omop_emb.mapping.") and "." not in name:
            cls = super().find_class(module, name)
            if isinstance(cls, type) and cls.__module__ == module:
                return cls
        raise pickle.UnpicklingError(f"{module}.{name} is not an array or a class of omop_emb.mapping")


def _array(buffer: memoryview, dtype: np.dtype[Any], shape: tuple[int, ...], order: Literal["C", "F"]) -> Any:
    # np.add.at is fifteen times slower with a dtype that equals numpy's own but is another object.
    return np.frombuffer(buffer, np.dtype(dtype.str)).reshape(shape, order=order)
