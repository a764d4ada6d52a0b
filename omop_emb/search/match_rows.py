"""Rows that were found become matches: their texts, and what is shown of their concepts."""

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

_CONCEPTS_AT_ONCE = 20_000

# All texts of each concept, of which few are wanted: a third of the time of a join by whole keys.
_TEXTS = sql.SQL(
    "select concept_id, text_kind, text_hash, text, concept_name, domain_id, vocabulary_id, "
    "concept_class_id, standard_concept, concept_code "
    "from {texts} where concept_id = any(cast(%(concept_ids)s as integer[]))"
)


class RowsChangedError(Exception):
    """Rows that were found have gone since: another transaction committed between two statements."""


def load_matches(connection: psycopg.Connection[Any], space: Space, found: list[RankedRows]) -> list[list[ConceptMatch]]:
    """The matches of each query's hits, same order.

    Raises:
        ChangedError: a row that was hit is no longer there.
    """
    keyed = [
        list(zip(hits.concept_ids.tolist(), hits.text_kinds.tolist(), hits.text_hashes.tolist(), strict=True))
        for hits in found
    ]
    keys = {key for of_query in keyed for key in of_query}
    concepts = sorted({concept_id for concept_id, _, _ in keys})
    statement = _statement(space.tables)
    shown: dict[tuple[int, bytes, int], tuple[Any, ...]] = {}
    for start in range(0, len(concepts), _CONCEPTS_AT_ONCE):
        wanted = binary_format.array_literal(concepts[start : start + _CONCEPTS_AT_ONCE])
        for row in connection.execute(statement, {"concept_ids": wanted}):
            key = row[0], row[1].encode(), row[2]
            if key in keys:
                shown[key] = row[3:]
    if len(shown) < len(keys):
        raise RowsChangedError
    return [
        [
            _match(key[0], shown[key], distance, similarity)
            for key, distance, similarity in zip(
                of_query, hits.distances.tolist(), hits.similarities.tolist(), strict=True
            )
        ]
        for of_query, hits in zip(keyed, found, strict=True)
    ]


@lru_cache(maxsize=64)
def _statement(tables: SpaceTables) -> str:
    return _TEXTS.format(texts=tables.texts).as_string(None)


def _match(concept_id: int, shown: tuple[Any, ...], distance: float, similarity: float) -> ConceptMatch:
    text, concept_name, domain_id, vocabulary_id, concept_class_id, standard_concept, concept_code = shown
    return ConceptMatch(
        concept_id=concept_id,
        concept_name=concept_name,
        domain_id=domain_id,
        vocabulary_id=vocabulary_id,
        concept_class_id=concept_class_id,
        standard_concept=standard_concept,
        concept_code=concept_code,
        matched_text=text,
        distance=distance,
        similarity=similarity,
    )
