"""The matrix for searches that come a few at a time: used where it is there, made once that would have paid.

Nobody knows how many searches will come. Once those that came would have saved as much time as making the
matrix takes, it is made: whatever comes then, both together take no longer than twice the better of two
(https://en.wikipedia.org/wiki/Ski_rental_problem).
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

_MOST = 64  # states of spaces that are remembered

_forgone: dict[str, float] = {}
"""Microseconds that searches of this process would have saved so far, by the state of the space."""

_kept: dict[str, VectorMatrix] = {}
"""The one that was used last, by its state, as opening it takes longer than a search of few rows."""


def matrix_if_repaid(connection: psycopg.Connection[Any], space: Space, price: MatrixCost) -> VectorMatrix | None:
    """The matrix of the rows that this transaction sees, if it is there or has become worth making.

    Where rows were written and not committed there is none.

    Raises:
        MatrixUnavailableError: it cannot be made; see matrix.of_space. It is not tried again in this state.
    """
    name = matrix.state_name(connection, space)
    if name is None:
        return None
    if disk_cache.cached_folder(name) is not None:
        kept = _kept.get(name)
        return kept if kept is not None else _opened(connection, space)
    _kept.pop(name, None)  # the cache was cleared: its room on the disk is given back
    _forgone[name] = forgone = _forgone.pop(name, 0.0) + price.saved
    if len(_forgone) > _MOST:
        _forgone.pop(next(iter(_forgone)), None)
    if forgone < price.making or not price.is_bearable:
        return None
    _forgone[name] = -math.inf  # if it fails, it is not tried again
    made = _opened(connection, space)
    _forgone.pop(name, None)
    return made


def _opened(connection: psycopg.Connection[Any], space: Space) -> VectorMatrix:
    made = matrix.open_matrix(connection, space, wait=False)
    _kept.clear()
    _kept[made.state] = made
    return made
