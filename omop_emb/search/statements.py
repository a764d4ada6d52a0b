"""The SQL of each way of searching: one text per way, so that a cached plan of one never serves another."""

from __future__ import annotations

from functools import lru_cache

from psycopg import sql

from omop_emb.records import MetricType
from omop_emb.spaces.filters import Condition, clauses
from omop_emb.spaces.registry import Space
from omop_emb.spaces.tables import BINARY, SpaceTables

_OPERATORS = {
    MetricType.COSINE: sql.SQL("<=>"),
    MetricType.L2: sql.SQL("<->"),
    MetricType.INNER_PRODUCT: sql.SQL("<#>"),
    MetricType.L1: sql.SQL("<+>"),
}
SLACK = 24  # rows fetched beyond k, so that a second fetch is rare

_COLUMNS = sql.SQL("concept_id, text_kind, text_hash, embedding")
# The sum is what no index can order by: without it the planner may take the HNSW index for an exact search.
# Sorting copies each row that it looks at, so it is given their places alone: a tenth less time.
_EXACT = sql.SQL(
    "with near as materialized (select ctid as place from {rows} {where} "
    "order by (embedding {operator} cast(%(query)s as halfvec)) + 0 limit %(limit)s) "
    "select {columns} from near join {rows} as found on found.ctid = near.place"
)
# Without `materialized` the planner may sort past the limit inside; the outer ranking is done in Python.
_INDEX = sql.SQL(
    "with near as materialized (select {columns} from {rows} {where} "
    "order by {ranked_by} limit %(limit)s) select * from near"
)
# Candidates of a first pass, or of a filtered walk, are many: the server itself leaves the best of them.
_CANDIDATES = sql.SQL(
    "with near as materialized (select {columns} from {rows} {where} "
    "order by {ranked_by} limit %(candidates)s) "
    "select * from near order by embedding <=> cast(%(query)s as halfvec) limit %(limit)s"
)
_TEMPLATES = {"exact": _EXACT, "index": _INDEX, "candidates": _CANDIDATES}


def exact_statement(space: Space, metric_type: MetricType, condition: Condition) -> str:
    """Compare all rows that pass: parameters query, limit and the condition's."""
    return _text("exact", space, metric_type, condition, None)


def index_statement(
    space: Space, condition: Condition, *, partial_domain: int | None, by_candidates: bool = False
) -> str:
    """Walk the HNSW index, or that of one domain: parameters query, limit and the condition's.

    `by_candidates` walks on until so many rows have passed as the parameter candidates says, and takes the
    nearest of them; a first pass always does.
    """
    way = "candidates" if by_candidates or space.first_pass else "index"
    return _text(way, space, MetricType.COSINE, condition, partial_domain)


def index_order(first_pass: str, dimensions: int) -> sql.Composable:
    """What an HNSW search orders by: the expression of SpaceTables.create_hnsw() and the query's."""
    if first_pass == BINARY:
        bits = sql.Literal(dimensions)
        return sql.SQL(
            "cast(binary_quantize(embedding) as bit({bits})) <~> "
            "cast(binary_quantize(cast(%(query)s as halfvec)) as bit({bits}))"
        ).format(bits=bits)
    if first_pass:
        return sql.SQL(
            "cast(subvector(embedding, 1, {first}) as halfvec({first})) <=> "
            "cast(subvector(cast(%(query)s as halfvec), 1, {first}) as halfvec({first}))"
        ).format(first=sql.Literal(int(first_pass)))
    return sql.SQL("embedding <=> cast(%(query)s as halfvec)")


def _text(
    way: str, space: Space, metric_type: MetricType, condition: Condition, partial_domain: int | None
) -> str:
    return _composed(
        way,
        space.space_id,
        space.fingerprint.dimensions,
        space.first_pass,
        metric_type,
        tuple(condition.parameters),
        partial_domain,
    )


# Composing costs a tenth of an indexed search.
@lru_cache(maxsize=512)
def _composed(
    way: str,
    space_id: int,
    dimensions: int,
    first_pass: str,
    metric_type: MetricType,
    names: tuple[str, ...],
    partial_domain: int | None,
) -> str:
    passing: list[sql.Composable] = list(clauses(names))
    if partial_domain is not None:
        # As the index has it: PostgreSQL does not conclude it from a parameter.
        passing.append(sql.SQL("domain = {}").format(sql.Literal(partial_domain)))
    return (
        _TEMPLATES[way]
        .format(
            columns=_COLUMNS,
            rows=SpaceTables(space_id, dimensions).rows,
            where=sql.SQL("where {}").format(sql.SQL(" and ").join(passing)) if passing else sql.SQL(""),
            operator=_OPERATORS[metric_type],
            ranked_by=index_order(first_pass, dimensions),
        )
        .as_string(None)
    )
