"""Recall: the share of the true nearest that an HNSW index finds, measured when the index is built."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
from psycopg import sql

from omop_emb.arrays import Doubles, Vectors
from omop_emb.database import binary_format
from omop_emb.search import statements
from omop_emb.search.planner import MAX_EF_SEARCH
from omop_emb.search.topk import TopK
from omop_emb.spaces.filters import ALL_ROWS
from omop_emb.spaces.registry import Recall, Space

# ef_search to try; for a first pass, how many candidates, of which ef_search is only the first batch.
_STEPS = (40, 64, 80, 100, 128, 160, 200, 250, 320, 400, 640, 1000)
_FIRST_PASS_STEPS = (*_STEPS, 1600, 2500, 4000)
_KS = (10, 100)
_QUERIES = 600
# So few of them show that recall is far too low, and suffice at the largest k, with its many rows for each.
_FIRST_QUERIES = 100
_FAR_RECALL = 0.95
_STANDARD_ERRORS = 2.33  # the true mean lies farther below a sample's mean once in a hundred samples
_MIN_ROWS = 1000  # with fewer, every method is fast and the exact one is chosen
_ENOUGH_RECALL = 0.998  # larger ef_search need not be tried
_ROWS_PER_CANDIDATE = 20  # with fewer, an exact search is cheaper
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


def measure_recall(connection: psycopg.Connection[Any], space: Space, domain: int | None = None) -> Recall:
    """Recall at 10 and 100 for rising ef_search; nothing where there are too few rows to measure it.

    Queries are made from stored vectors: half of them lie between two rows that are near each other, half
    between any two rows. Real terms are found less often than the former and more often than the latter
    (docs/concepts/search-speed.md); the result is the lower confidence bound of both together. A larger
    ef_search finds no less: where less was found by chance, no smaller one is said to find more. Larger ones
    are tried as long as they can be cheaper than comparing all rows.

    Args:
        connection: in whose transaction the queries run.
        space: what is measured.
        domain: measure the index of this domain; None: that of all rows.
    """
    with connection.transaction(), binary_format.binary_cursor(connection) as cursor:
        row = cursor.execute(
            sql.SQL("select count(*) from {} {}").format(space.tables.rows, _where(domain))
        ).fetchone()
        if row is None or row[0] < _MIN_ROWS:
            return ()
        most = max(160, row[0] // _ROWS_PER_CANDIDATE)
        steps = [step for step in (_FIRST_PASS_STEPS if space.first_pass else _STEPS) if step <= most]
        queries = _queries(cursor, space, domain)
        similarities = _true_similarities(cursor, space, queries, domain)
        return _measured(cursor, space, queries, similarities, domain, steps)


def _where(domain: int | None) -> sql.Composable:
    return sql.SQL("") if domain is None else sql.SQL("where domain = {}").format(sql.Literal(domain))


def _queries(cursor: psycopg.Cursor[Any], space: Space, domain: int | None) -> Vectors:
    """(queries, dimensions) unit rows, alternately of the two kinds."""
    sampled = cursor.execute(
        sql.SQL("select embedding from {} {} order by hashint8(text_hash), text_hash limit %s").format(
            space.tables.rows, _where(domain)
        ),
        (2 * _QUERIES,),
    ).fetchall()
    vectors = binary_format.decode_half_vectors([value for (value,) in sampled], space.fingerprint.dimensions)
    one, other = vectors[:_QUERIES], vectors[_QUERIES:]
    half = _QUERIES // 2
    between_neighbours = one[:half] + other[np.argmax(one[:half] @ other.T, axis=1)]
    queries = np.stack([between_neighbours, one[half:] + other[half:]], axis=1).reshape(-1, vectors.shape[1])
    return np.asarray(queries / np.linalg.norm(queries, axis=1, keepdims=True), np.float32)


def _true_similarities(
    cursor: psycopg.Cursor[Any], space: Space, queries: Vectors, domain: int | None
) -> Doubles:
    """(queries, largest k) the cosine similarities of the true nearest rows, falling; rows are read once."""
    layout = binary_format.row_dtype([("embedding", (">f2", space.fingerprint.dimensions))])
    top = TopK(len(queries), max(_KS))
    statement = sql.SQL("copy (select embedding from {} {}) to stdout (format binary)").format(
        space.tables.rows, _where(domain)
    )
    with cursor.copy(statement) as copy:
        for block in binary_format.decode_rows(iter(copy), layout):
            vectors = binary_format.halves_to_float32(block["embedding"].astype("<f2"))
            lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
            top.add(queries @ vectors.T / lengths, 0)
    return top.table()[0].astype(np.float64)


def _measured(
    cursor: psycopg.Cursor[Any],
    space: Space,
    queries: Vectors,
    similarities: Doubles,
    domain: int | None,
    steps: list[int],
) -> Recall:
    for name, value in (("hnsw.iterative_scan", "relaxed_order"), ("plan_cache_mode", "force_custom_plan")):
        cursor.execute("select set_config(%s, %s, true)", (name, value))
    recall_at: dict[int, list[tuple[int, float]]] = {k: [] for k in _KS}
    for ef_search in steps:
        ks = [
            k for k in _KS if k <= ef_search and not (recall_at[k] and recall_at[k][-1][1] >= _ENOUGH_RECALL)
        ]
        if not ks:
            continue
        first, rest = slice(_FIRST_QUERIES), slice(_FIRST_QUERIES, None)
        shares = _found_shares(cursor, space, queries[first], similarities[first], ks, ef_search, domain)
        if ks[0] == _KS[0] and shares.mean(axis=1).max() >= _FAR_RECALL:
            more = _found_shares(cursor, space, queries[rest], similarities[rest], ks, ef_search, domain)
            shares = np.concatenate([shares, more], axis=1)
        for k, at_k in zip(ks, shares, strict=True):
            recall = lower_confidence_bound(at_k[::2], at_k[1::2])
            recall_at[k] = [*((ef, min(lower, recall)) for ef, lower in recall_at[k]), (ef_search, recall)]
    return tuple((k, ef, round(recall, 4)) for k, measured in recall_at.items() for ef, recall in measured)


def lower_confidence_bound(*kinds: Doubles) -> float:
    """What the mean of all queries is at least, with a probability of 0.99, given a sample of each kind.

    Kinds count alike, however much they differ: the error is that of a stratified sample.
    """
    mean = np.mean([shares.mean() for shares in kinds])
    error = np.sqrt(sum(shares.var(ddof=1) / len(shares) for shares in kinds)) / len(kinds)
    return max(0.0, float(mean - _STANDARD_ERRORS * error))


def _found_shares(
    cursor: psycopg.Cursor[Any],
    space: Space,
    queries: Vectors,
    similarities: Doubles,
    ks: list[int],
    ef_search: int,
    domain: int | None,
) -> Doubles:
    """(ks, queries) the share of the k nearest that the index finds."""
    cursor.execute("select set_config('hnsw.ef_search', %s, true)", (str(min(ef_search, MAX_EF_SEARCH)),))
    statement = statements.index_statement(space, ALL_ROWS, partial_domain=domain)
    limit = max(ks) + statements.SLACK
    parameters: dict[str, Any] = {"limit": limit, "candidates": max(limit, ef_search)}
    shares = np.empty((len(ks), len(queries)))
    for number, query in enumerate(queries):
        parameters["query"] = binary_format.encode_half_vector(query)
        rows = cursor.execute(statement, parameters).fetchall()
        vectors = binary_format.decode_half_vectors([row[3] for row in rows], space.fingerprint.dimensions)
        index_similarities = vectors @ query.astype(np.float64) / np.linalg.norm(vectors, axis=1)
        for row, k in enumerate(ks):  # a search for fewer fetches the first of the same rows
            fetched = index_similarities[: k + statements.SLACK]
            hits = fetched >= similarities[number, k - 1] - _ROUNDING
            shares[row, number] = min(k, int(hits.sum())) / k
    return shares
