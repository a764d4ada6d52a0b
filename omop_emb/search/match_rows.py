"""Match rows: ranked rows become matches, with their texts and what is shown of their concepts."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import psycopg
from psycopg import sql

from omop_emb.database import binary_format
from omop_emb.records import ConceptMatch
from omop_emb.search.ranking import RankedRows
from omop_emb.spaces.registry import Space
from omop_emb.spaces.tables import SpaceTables

_CONCEPTS_PER_STATEMENT = 20_000

# All texts of each concept, of which few are needed: a third of the time of a join by whole keys.
_TEXTS = sql.SQL(
    "select concept_id, text_kind, text_hash, concept_name, domain_id, vocabulary_id, "
    "concept_class_id, standard_concept, concept_code, text "  # as ConceptMatch has them
    "from {texts} where concept_id = any(cast(%(concept_ids)s as integer[]))"
)

_Columns = tuple[str, str | None, str | None, str | None, str | None, str | None, str]


class RowsChangedError(Exception):
    """Ranked rows are gone: another transaction committed between two statements."""


def load_matches(
    connection: psycopg.Connection[Any], space: Space, ranked: list[RankedRows]
) -> list[list[ConceptMatch]]:
    """The matches of each query's rows, same order."""
    keys_of_queries = [
        list(zip(rows.concept_ids.tolist(), rows.text_kinds.tolist(), rows.text_hashes.tolist(), strict=True))
        for rows in ranked
    ]
    keys = {key for of_query in keys_of_queries for key in of_query}
    concept_ids = sorted({concept_id for concept_id, _, _ in keys})
    statement = _statement(space.tables)
    columns: dict[tuple[int, bytes, int], _Columns] = {}
    for start in range(0, len(concept_ids), _CONCEPTS_PER_STATEMENT):
        some_ids = binary_format.array_literal(concept_ids[start : start + _CONCEPTS_PER_STATEMENT])
        for row in connection.execute(statement, {"concept_ids": some_ids}):
            key = row[0], row[1].encode(), row[2]
            if key in keys:
                columns[key] = row[3:]
    if len(columns) < len(keys):
        raise RowsChangedError
    return [
        [
            ConceptMatch(key[0], *columns[key], distance, similarity)
            for key, distance, similarity in zip(
                of_query, rows.distances.tolist(), rows.similarities.tolist(), strict=True
            )
        ]
        for of_query, rows in zip(keys_of_queries, ranked, strict=True)
    ]


@lru_cache(maxsize=64)
def _statement(tables: SpaceTables) -> str:
    return _TEXTS.format(texts=tables.texts).as_string(None)
