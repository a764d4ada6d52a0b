"""Search statements: one SQL text per method, so that a cached plan of one never serves another."""

from __future__ import annotations

from functools import lru_cache

from psycopg import sql

from omop_emb.records import MetricType
from omop_emb.spaces.filters import Condition, clauses
from omop_emb.spaces.registry import Space
from omop_emb.spaces.tables import BINARY, SpaceTables

# Every name of pgvector's is given with its schema: a search_path need not contain it.
_OPERATORS = {
    MetricType.COSINE: "<=>",
    MetricType.L2: "<->",
    MetricType.INNER_PRODUCT: "<#>",
    MetricType.L1: "<+>",
}
SLACK = 24  # rows fetched beyond k, so that a second fetch is rare

_COLUMNS = sql.SQL("concept_id, text_kind, text_hash, embedding")
# No index can order by the sum: without it the planner may take the HNSW index for an exact search.
# Sorting copies each row that it looks at, so it sorts row addresses alone: a tenth less time.
_EXACT = sql.SQL(
    "with nearest as materialized (select ctid as address from {rows} {where} "
    "order by (embedding operator({vector}.{operator}) cast(%(query)s as {vector}.halfvec)) + 0 "
    "limit %(limit)s) "
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
    "select * from nearest order by embedding operator({vector}.<=>) cast(%(query)s as {vector}.halfvec) "
    "limit %(limit)s"
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


def index_order(first_pass: str, dimensions: int, vector_schema: str) -> sql.Composable:
    """What an HNSW search orders by: the expression of SpaceTables.create_hnsw() and the query's."""
    vector = sql.Identifier(vector_schema)
    if first_pass == BINARY:
        return sql.SQL(
            "cast({vector}.binary_quantize(embedding) as bit({bits})) operator({vector}.<~>) "
            "cast({vector}.binary_quantize(cast(%(query)s as {vector}.halfvec)) as bit({bits}))"
        ).format(vector=vector, bits=sql.Literal(dimensions))
    if first_pass:
        return sql.SQL(
            "cast({vector}.subvector(embedding, 1, {first}) as {vector}.halfvec({first})) "
            "operator({vector}.<=>) cast({vector}.subvector(cast(%(query)s as {vector}.halfvec), 1, {first}) "
            "as {vector}.halfvec({first}))"
        ).format(vector=vector, first=sql.Literal(int(first_pass)))
    return sql.SQL("embedding operator({vector}.<=>) cast(%(query)s as {vector}.halfvec)").format(
        vector=vector
    )


def _statement(
    template: str, space: Space, metric_type: MetricType, condition: Condition, partial_domain: int | None
) -> str:
    names = tuple(condition.parameters)
    return _composed(template, space.tables, space.first_pass, metric_type, names, partial_domain)


@lru_cache(maxsize=512)  # composing costs a tenth of an index search
def _composed(
    template: str,
    tables: SpaceTables,
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
            rows=tables.rows,
            where=sql.SQL("where {}").format(sql.SQL(" and ").join(passing)) if passing else sql.SQL(""),
            vector=sql.Identifier(tables.vector_schema),
            operator=sql.SQL(_OPERATORS[metric_type]),
            index_order=index_order(first_pass, tables.dimensions, tables.vector_schema),
        )
        .as_string(None)
    )
