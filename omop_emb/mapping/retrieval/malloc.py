"""The C library's heap (glibc's): memory that is done with goes back to the system."""

from __future__ import annotations

import ctypes

_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # of malloc.h
_LARGE = 4 << 20


def keep_freed_memory() -> None:
    """From now on, arrays over 4 MB go back as soon as they are done with, and threads share what is free.

    Otherwise arrays of up to 32 MB are kept for later once the first of them was freed, for each thread
    apart: 0.4 GB here. It concerns the whole process: commands call it, what others import does not.
    """
    option = getattr(ctypes.CDLL(None), "mallopt", None)
    if option is not None:
        option(_MMAP_THRESHOLD, _LARGE)
        option(_ARENA_MAX, 1)


def give_back() -> None:
    """Give back what is free now; worth while after much was made and dropped."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
