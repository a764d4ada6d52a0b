"""Spilled arrays: large arrays in files without a name, which the system may write out of memory."""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

from omop_emb import config
from omop_emb.safe_files.private_file import cache_folder

MIN_BYTES = 64_000_000


def empty(size: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array of undefined values; in memory if it is small, or if the cache folder has no room."""
    byte_count = size * np.dtype(dtype).itemsize
    if byte_count < MIN_BYTES or not hasattr(os, "posix_fallocate"):
        return np.empty(size, dtype)
    try:
        with tempfile.TemporaryFile(prefix="omop-emb-", dir=cache_folder(config.cache_dir())) as file:
            # Without blocks of its own, a full disk would end the process.
            os.posix_fallocate(file.fileno(), 0, byte_count)
            return np.frombuffer(mmap.mmap(file.fileno(), byte_count), dtype)
    except OSError:
        return np.empty(size, dtype)


def spill(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy of an array in such a file."""
    result = empty(len(array), array.dtype)
    result[:] = array
    return result
