"""Search statements: one SQL text per method, so that a cached plan of one never serves another."""

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
# No index can order by the sum: without it the planner may take the HNSW index for an exact search.
# Sorting copies each row that it looks at, so it sorts row addresses alone: a tenth less time.
_EXACT = sql.SQL(
    "with nearest as materialized (select ctid as address from {rows} {where} "
    "order by (embedding {operator} cast(%(query)s as halfvec)) + 0 limit %(limit)s) "
    "select {columns} from nearest join {rows} as stored on stored.ctid = nearest.address"
)
# Without `materialized` the planner may sort past the limit inside; the final ranking is done in Python.
_INDEX = sql.SQL(
    "with nearest as materialized (select {columns} from {rows} {where} "
    "order by {index_order} limit %(limit)s) select * from nearest"
)
# A first pass or a filtered index scan gives many candidates: the server itself picks the best of them.
_CANDIDATES = sql.SQL(
    "with nearest as materialized (select {columns} from {rows} {where} "
    "order by {index_order} limit %(candidates)s) "
    "select * from nearest order by embedding <=> cast(%(query)s as halfvec) limit %(limit)s"
)
_TEMPLATES = {"exact": _EXACT, "index": _INDEX, "candidates": _CANDIDATES}


def exact_statement(space: Space, metric_type: MetricType, condition: Condition) -> str:
    """Compare all rows that pass: parameters query, limit and the condition's."""
    return _statement("exact", space, metric_type, condition, None)


def index_statement(
    space: Space, condition: Condition, *, partial_domain: int | None, by_candidates: bool = False
) -> str:
    """Search the HNSW index, or that of one domain: parameters query, limit and the condition's.

    With `by_candidates`, and always with a first pass, the index gives as many passing rows as the parameter
    candidates says, and the nearest of them are taken.
    """
    template = "candidates" if by_candidates or space.first_pass else "index"
    return _statement(template, space, MetricType.COSINE, condition, partial_domain)


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


def _statement(
    template: str, space: Space, metric_type: MetricType, condition: Condition, partial_domain: int | None
) -> str:
    names, dimensions = tuple(condition.parameters), space.fingerprint.dimensions
    return _composed(
        template, space.space_id, dimensions, space.first_pass, metric_type, names, partial_domain
    )


@lru_cache(maxsize=512)  # composing costs a tenth of an index search
def _composed(
    template: str,
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
        _TEMPLATES[template]
        .format(
            columns=_COLUMNS,
            rows=SpaceTables(space_id, dimensions).rows,
            where=sql.SQL("where {}").format(sql.SQL(" and ").join(passing)) if passing else sql.SQL(""),
            operator=_OPERATORS[metric_type],
            index_order=index_order(first_pass, dimensions),
        )
        .as_string(None)
    )
