"""Matrix policy: whether searches that come a few at a time use the matrix, and when they build it.

Nobody knows how many searches will come. Once those that came would have saved as much time as building the
matrix takes, it is built: however many follow, searching and building together take at most twice the time of
the better choice (https://en.wikipedia.org/wiki/Ski_rental_problem). docs/decisions/0011 has the figures.
"""

from __future__ import annotations

import math
from typing import Any

import psycopg

from omop_emb import disk_cache
from omop_emb.search import matrix
from omop_emb.search.matrix import VectorMatrix
from omop_emb.search.planner import MatrixCost
from omop_emb.spaces.registry import Space

_MAX_STATES = 64  # of spaces whose forgone time is remembered

_forgone: dict[str, float] = {}
"""Microseconds that searches of this process would have saved so far, by the state of the space."""

_opened: dict[str, VectorMatrix] = {}
"""The matrix that was used last, by its state: opening it takes longer than a search of few rows."""


def matrix_if_repaid(
    connection: psycopg.Connection[Any], space: Space, cost: MatrixCost
) -> VectorMatrix | None:
    """The matrix of the rows that this transaction sees, if it exists or is worth building by now.

    None too while this transaction has written rows and has not committed.
    """
    state = matrix.committed_state(connection, space)
    if state is None:
        return None
    if disk_cache.cached_folder(state) is not None:
        opened = _opened.get(state)
        return opened if opened is not None else _open(connection, space)
    _opened.pop(state, None)  # the cache was cleared: its room on the disk is released
    _forgone[state] = forgone = _forgone.pop(state, 0.0) + cost.saved
    if len(_forgone) > _MAX_STATES:
        _forgone.pop(next(iter(_forgone)), None)
    if forgone < cost.build or not cost.is_quick_to_build:
        return None
    _forgone[state] = -math.inf  # if it fails, it is not tried again
    built = _open(connection, space)
    _forgone.pop(state, None)
    return built


def _open(connection: psycopg.Connection[Any], space: Space) -> VectorMatrix:
    opened = matrix.open_matrix(connection, space, wait=False)
    _opened.clear()
    _opened[opened.state] = opened
    return opened
