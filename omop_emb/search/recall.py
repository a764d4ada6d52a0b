"""Recall: the share of the true nearest that an HNSW index finds, measured when the index is built."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from omop_emb.arrays import Doubles, Vectors
from omop_emb.database import binary_format
from omop_emb.search import matrix_search, planner, row_search
from omop_emb.search.options import SearchOptions
from omop_emb.search.planner import SearchMethod, SearchPlan
from omop_emb.search.topk import TopK
from omop_emb.spaces import row_counts
from omop_emb.spaces.filters import ALL_ROWS, Condition
from omop_emb.spaces.registry import Recall, Space

# ef_search to try; for a first pass, how many candidates, of which ef_search is only the first batch.
_STEPS = (40, 64, 80, 100, 128, 160, 200, 250, 320, 400, 640, 1000)
_FIRST_PASS_STEPS = (*_STEPS, 1600, 2500, 4000)
_KS = (10, 100)
_KINDS = 3  # of queries
_QUERIES = 600  # at the largest k, with its many rows for each, half of them suffice
_FIRST_QUERIES = 99  # show whether recall is far too low
_FAR_RECALL = 0.95
_STANDARD_ERRORS = 2.33  # the true mean lies farther below a sample's mean once in a hundred samples
_MIN_ROWS = 1000  # with fewer, every method is fast and the exact one is chosen
_ENOUGH_RECALL = 0.997  # larger ef_search need not be tried
_ROWS_PER_CANDIDATE = 20  # with fewer, an exact search is cheaper
_NEAREST_ROWS = 400  # of a query, among which the nearest concepts are: a concept may have several texts
_STALE_SHARE = 0.2
_SAMPLE_ROWS = 200
_ROUNDING = 1e-6  # similarities closer than that are equal: the same text may belong to several concepts


def row_sample(connection: psycopg.Connection[Any], space: Space) -> list[int]:
    """Hashes of some rows, the same as long as these rows exist and few others are added."""
    rows = connection.execute(
        sql.SQL("select text_hash from {} order by hashint8(text_hash), text_hash limit %s").format(
            space.tables.rows
        ),
        (_SAMPLE_ROWS,),
    )
    return [text_hash for (text_hash,) in rows]


def is_stale(connection: psycopg.Connection[Any], space: Space, sample: list[int]) -> bool:
    """Whether over a fifth of the rows differ from those with which the space's recall was measured."""
    row = connection.execute(
        "select recall_sample from omop_emb.space where space_id = %s", (space.space_id,)
    ).fetchone()
    return row is None or len(set(sample) & set(row[0])) < (1 - _STALE_SHARE) * len(sample)


def measure_recall(
    connection: psycopg.Connection[Any], space: Space, condition: Condition = ALL_ROWS
) -> Recall:
    """Recall at 10 and 100 for rising ef_search; nothing where too few rows pass to measure it.

    Each query is searched by the plan that a search with this filter uses, and what counts are the concepts
    that it finds. Queries are made from stored vectors, of three kinds: between any two rows that pass,
    between any four, and from any row of the space, whether it passes or not, as far again in a random
    direction. Terms of people lie as far out (docs/concepts/search-speed.md). The result is the lower
    confidence bound of the kind of which least is found. A larger ef_search finds no less: where less was
    found by chance, no smaller one is said to find more. Larger ones are tried as long as they can be cheaper
    than comparing all rows.

    Args:
        connection: in whose transaction the queries run.
        space: what is measured; its rows must have been counted.
        condition: that of the filter.
    """
    with connection.transaction(), binary_format.binary_cursor(connection) as cursor:
        count = row_counts.count_passing(connection, space, condition)
        most = max(160, count.passing // _ROWS_PER_CANDIDATE)
        steps = [step for step in (_FIRST_PASS_STEPS if space.first_pass else _STEPS) if step <= most]
        queries = _queries(cursor, space, condition)
        if queries is None:
            return ()
        least_similar = _least_similar(cursor, space, queries, condition)
        measured = []
        for k in _KS:
            reached: list[tuple[int, float]] = []
            for ef_search in [step for step in steps if step >= k]:
                plan = planner.index_plan(_PLAN, space, condition, ef_search, count)
                shares = _found_shares(cursor, space, queries, least_similar[k], condition, plan, k)
                recall = lower_confidence_bound(*(shares[kind::_KINDS] for kind in range(_KINDS)))
                reached = [*((ef, min(lower, recall)) for ef, lower in reached), (ef_search, recall)]
                if recall >= _ENOUGH_RECALL or shares.min() == 1:
                    break
            measured += [(k, ef_search, round(recall, 4)) for ef_search, recall in reached]
    return tuple(measured)


_PLAN = SearchPlan(method=SearchMethod.INDEX, reason="", queries=1)


def _queries(cursor: psycopg.Cursor[Any], space: Space, condition: Condition) -> Vectors | None:
    """(queries, dimensions) unit rows of the three kinds in turn; None where too few rows pass."""
    each = _QUERIES // _KINDS
    passing = _sample(cursor, space, condition, max(_MIN_ROWS, 6 * each))
    if len(passing) < _MIN_ROWS:
        return None
    two, four = passing[: 2 * each], np.roll(passing, -2 * each, axis=0)[: 4 * each]
    anywhere = _sample(cursor, space, ALL_ROWS, each)
    moves = np.random.default_rng(1).normal(size=anywhere.shape)
    moves /= np.linalg.norm(moves, axis=1, keepdims=True)
    kinds = [
        two.reshape(2, each, -1).sum(axis=0),
        four.reshape(4, each, -1).sum(axis=0),
        anywhere + moves,
    ]
    queries = np.stack(kinds, axis=1).reshape(-1, passing.shape[1])
    return np.asarray(queries / np.linalg.norm(queries, axis=1, keepdims=True), np.float32)


def _sample(cursor: psycopg.Cursor[Any], space: Space, condition: Condition, count: int) -> Vectors:
    """(count or fewer, dimensions) vectors of rows that pass, always the same."""
    statement = sql.SQL("select embedding from {} {} order by hashint8(text_hash), text_hash limit {}")
    rows = cursor.execute(
        statement.format(space.tables.rows, condition.where, sql.Literal(count)), condition.parameters
    ).fetchall()
    vectors = binary_format.decode_half_vectors([value for (value,) in rows], space.fingerprint.dimensions)
    return vectors.astype(np.float32)


def _least_similar(
    cursor: psycopg.Cursor[Any], space: Space, queries: Vectors, condition: Condition
) -> dict[int, Doubles]:
    """For each k, (queries,) the cosine similarity of the k-th nearest concept; rows are read once."""
    layout = binary_format.row_dtype(
        [("concept_id", ">i4"), ("embedding", (">f2", space.fingerprint.dimensions))]
    )
    top, read = TopK(len(queries), _NEAREST_ROWS), 0
    concept_ids: list[NDArray[np.int32]] = []
    statement = sql.SQL("copy (select concept_id, embedding from {} {}) to stdout (format binary)").format(
        space.tables.rows, condition.where
    )
    with cursor.copy(statement, condition.parameters) as copy:
        for block in binary_format.decode_rows(iter(copy), layout):
            vectors = binary_format.halves_to_float32(block["embedding"].astype("<f2"))
            lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
            top.add(queries @ vectors.T / lengths, read)
            concept_ids.append(block["concept_id"].astype(np.int32))
            read += len(block)
    similarities, rows = top.table()
    of_rows = np.concatenate(concept_ids)[rows]
    least = {}
    for k in _KS:
        kth, has_k = matrix_search.kth_concept(of_rows, k)
        # Where these rows are of fewer concepts, the k-th is no more similar than the last of them.
        column = np.where(has_k, kth, _NEAREST_ROWS - 1)
        least[k] = similarities[np.arange(len(queries)), column].astype(np.float64)
    return least


def _found_shares(
    cursor: psycopg.Cursor[Any],
    space: Space,
    queries: Vectors,
    least_similar: Doubles,
    condition: Condition,
    plan: SearchPlan,
    k: int,
) -> Doubles:
    """(queries,) the share of the k nearest that the plan finds; if it is low, of the first queries only."""
    options, shares = SearchOptions(k=k), np.empty(0)
    several = len(queries) if k < max(_KS) else len(queries) // (2 * _KINDS) * _KINDS
    for part in (slice(min(_FIRST_QUERIES, several)), slice(_FIRST_QUERIES, several)):
        with row_search.search_scope(cursor.connection, plan.ef_search):
            ranked, _ = row_search.search_rows(cursor, space, queries[part], options, condition, plan)
        found = [
            min(k, int((of_query.similarities >= least - _ROUNDING).sum())) / k
            for of_query, least in zip(ranked, least_similar[part], strict=True)
        ]
        shares = np.concatenate([shares, found])
        if shares.mean() < _FAR_RECALL:
            break
    return shares


def lower_confidence_bound(*kinds: Doubles) -> float:
    """What the mean of each kind of queries is at least, with a probability of 0.99, by samples of them.

    A sample without any loss has no variance, and still cannot exclude that a few queries find nothing at
    all, as in a graph of which a part cannot be reached. So one such query is added to all.
    """
    unseen = 1 / (1 + sum(map(len, kinds)))
    return min(
        max(0.0, float(shares.mean() - _STANDARD_ERRORS * shares.std(ddof=1) / np.sqrt(len(shares))) - unseen)
        for shares in kinds
    )
