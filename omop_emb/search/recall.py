"""What an HNSW index finds of the true nearest, measured on the space itself when the index is built."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from omop_emb.database import binary_format
from omop_emb.search import statements
from omop_emb.search.planner import MAX_EF_SEARCH
from omop_emb.spaces.filters import ALL_ROWS
from omop_emb.spaces.registry import Recall, Space

_STEPS = (40, 64, 80, 100, 128, 160, 200, 250, 320, 400, 640, 1000)
_FIRST_PASS_STEPS = (*_STEPS, 1600, 2500, 4000)  # candidates, of which ef_search is only the first batch
_KS = (10, 100)
_QUERIES = 600
_FEWER = 100  # of these: enough to see that recall is far from what is asked for, or for many neighbours each
_FAR = 0.95
_SURE = 2.33  # standard errors: the truth lies farther below a sample's mean once in a hundred samples
_FEWEST_ROWS = 1000  # below, every way is fast and the exact one is taken
_ENOUGH = 0.998  # larger ef_search need not be tried
_WORTH = 20  # rows for each candidate: nearer to all rows, the exact way is cheaper
_STALE_SHARE = 0.2
_SAMPLE = 200
_ROUNDING = 1e-6  # similarities nearer than that are one: the same text may belong to several concepts


def row_sample(connection: psycopg.Connection[Any], space: Space) -> list[int]:
    """Hashes of some rows, the same ones as long as these rows are there and few others have come."""
    rows = connection.execute(
        sql.SQL("select text_hash from {} order by hashint8(text_hash), text_hash limit %s").format(
            space.tables.rows
        ),
        (_SAMPLE,),
    )
    return [text_hash for (text_hash,) in rows]


def is_stale(connection: psycopg.Connection[Any], space: Space, now: list[int]) -> bool:
    """Whether over a fifth of the rows are others than when the space's recall was measured."""
    row = connection.execute(
        "select recall_sample from omop_emb.space where space_id = %s", (space.space_id,)
    ).fetchone()
    return row is None or len(set(now) & set(row[0])) < (1 - _STALE_SHARE) * len(now)


def measure_recall(connection: psycopg.Connection[Any], space: Space, domain: int | None = None) -> Recall:
    """Recall at 10 and 100 for rising ef_search; nothing where there are too few rows to measure it.

    Queries are made of stored vectors: half of them lie between two rows that are near each other, half
    between two of any rows. Real terms are found less often than the former and more often than the latter
    (docs/concepts/search-speed.md); the recall of both together is taken as low as it may be for all such
    queries (see surely). A larger ef_search finds no less: where less was found by chance, no smaller one is
    said to find more. It is tried as long as it can be cheaper than comparing all rows.

    Args:
        connection: in whose transaction it happens.
        space: what is measured.
        domain: measure the index of this domain; None: that of all rows.
    """
    with connection.transaction(), binary_format.binary_cursor(connection) as cursor:
        counted = cursor.execute(
            sql.SQL("select count(*) from {} {}").format(space.tables.rows, _where(domain))
        ).fetchone()
        if counted is None or counted[0] < _FEWEST_ROWS:
            return ()
        every = _FIRST_PASS_STEPS if space.first_pass else _STEPS
        steps = tuple(step for step in every if step <= max(160, counted[0] // _WORTH))
        queries = _queries(cursor, space, domain)
        kth_similarities = _kth_similarities(cursor, space, queries, domain)
        return _measured(cursor, space, queries, kth_similarities, domain, steps)


def _where(domain: int | None) -> sql.Composable:
    return sql.SQL("") if domain is None else sql.SQL("where domain = {}").format(sql.Literal(domain))


def _queries(cursor: psycopg.Cursor[Any], space: Space, domain: int | None) -> NDArray[np.float32]:
    """(queries, dimensions) unit rows, of the two kinds by turns."""
    sampled = cursor.execute(
        sql.SQL("select embedding from {} {} order by hashint8(text_hash), text_hash limit %s").format(
            space.tables.rows, _where(domain)
        ),
        (2 * _QUERIES,),
    ).fetchall()
    vectors = binary_format.decode_half_vectors([value for (value,) in sampled], space.fingerprint.dimensions)
    one, other = vectors[:_QUERIES], vectors[_QUERIES:]
    half = _QUERIES // 2
    near = one[:half] + other[np.argmax(one[:half] @ other.T, axis=1)]
    queries = np.stack([near, one[half:] + other[half:]], axis=1).reshape(-1, vectors.shape[1])
    return np.asarray(queries / np.linalg.norm(queries, axis=1, keepdims=True), np.float32)


def _kth_similarities(
    cursor: psycopg.Cursor[Any], space: Space, queries: NDArray[np.float32], domain: int | None
) -> NDArray[np.float64]:
    """(queries, largest k) the cosine similarities of the true nearest rows, falling; rows are read once."""
    layout = binary_format.row_dtype([("embedding", (">f2", space.fingerprint.dimensions))])
    keep = max(_KS)
    best = np.full((len(queries), keep), -2.0, np.float32)
    statement = sql.SQL("copy (select embedding from {} {}) to stdout (format binary)").format(
        space.tables.rows, _where(domain)
    )
    with cursor.copy(statement) as copy:
        for block in binary_format.decode_rows(iter(copy), layout):
            vectors = binary_format.halves_to_float32(block["embedding"].astype("<f2"))
            lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
            found = np.concatenate([best, queries @ vectors.T / lengths], axis=1)
            best = np.partition(found, found.shape[1] - keep, axis=1)[:, -keep:]
    return -np.sort(-best, axis=1).astype(np.float64)


def _measured(
    cursor: psycopg.Cursor[Any],
    space: Space,
    queries: NDArray[np.float32],
    kth_similarities: NDArray[np.float64],
    domain: int | None,
    steps: tuple[int, ...],
) -> Recall:
    for name, value in (("hnsw.iterative_scan", "relaxed_order"), ("plan_cache_mode", "force_custom_plan")):
        cursor.execute("select set_config(%s, %s, true)", (name, value))
    of_k: dict[int, list[tuple[int, float]]] = {k: [] for k in _KS}
    for ef_search in steps:
        ks = [k for k in _KS if k <= ef_search and not (of_k[k] and of_k[k][-1][1] >= _ENOUGH)]
        if not ks:
            continue
        few, rest = slice(_FEWER), slice(_FEWER, None)
        found = _found(cursor, space, queries[few], kth_similarities[few], ks, ef_search, domain)
        if ks[0] == _KS[0] and found.mean(axis=1).max() >= _FAR:
            more = _found(cursor, space, queries[rest], kth_similarities[rest], ks, ef_search, domain)
            found = np.concatenate([found, more], axis=1)
        for k, shares in zip(ks, found, strict=True):
            recall = lower_confidence_bound(shares[::2], shares[1::2])
            of_k[k] = [*((ef, min(lower, recall)) for ef, lower in of_k[k]), (ef_search, recall)]
    return tuple((k, ef, round(recall, 4)) for k, steps_of_k in of_k.items() for ef, recall in steps_of_k)


def lower_confidence_bound(*kinds: NDArray[np.float64]) -> float:
    """The mean that all queries have at least, with a probability of 0.99, as samples of each kind tell.

    Kinds count alike, however different they are: the error is that of a stratified sample.
    """
    mean = np.mean([shares.mean() for shares in kinds])
    error = np.sqrt(sum(shares.var(ddof=1) / len(shares) for shares in kinds)) / len(kinds)
    return max(0.0, float(mean - _SURE * error))


def _found(
    cursor: psycopg.Cursor[Any],
    space: Space,
    queries: NDArray[np.float32],
    kth_similarities: NDArray[np.float64],
    ks: list[int],
    ef_search: int,
    domain: int | None,
) -> NDArray[np.float64]:
    """(ks, queries) the share of the k nearest that the index finds."""
    cursor.execute("select set_config('hnsw.ef_search', %s, true)", (str(min(ef_search, MAX_EF_SEARCH)),))
    statement = statements.index_statement(space, ALL_ROWS, partial_domain=domain)
    limit = max(ks) + statements.SLACK
    shares = np.empty((len(ks), len(queries)))
    for place, query in enumerate(queries):
        rows = cursor.execute(
            statement,
            {
                "query": binary_format.encode_half_vector(query),
                "limit": limit,
                "candidates": max(limit, ef_search),
            },
        ).fetchall()
        vectors = binary_format.decode_half_vectors([row[3] for row in rows], space.fingerprint.dimensions)
        similarities = vectors @ query.astype(np.float64) / np.linalg.norm(vectors, axis=1)
        for row, k in enumerate(ks):  # a search for fewer fetches the first of the same rows
            near = similarities[: k + statements.SLACK] >= kth_similarities[place, k - 1] - _ROUNDING
            shares[row, place] = min(k, int(near.sum())) / k
    return shares
