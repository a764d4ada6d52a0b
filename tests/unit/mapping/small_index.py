"""Small indexes for the tests of mapping: concepts in, candidates and features out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from omop_emb.mapping.features.candidate_features import Features
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.candidates import Candidates, find_candidates, make_retrievers
from omop_emb.mapping.retrieval.concept_attributes import concept_attributes
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.lexicon import build_lexicon
from omop_emb.mapping.retrieval.queries import Query, QueryBatch

_CONDITION = {
    "domain_id": "Condition",
    "vocabulary_id": "SNOMED",
    "concept_class_id": "Disorder",
    "standard_concept": "S",
    "concept_code": "",
    "invalid_reason": "",
}


def small_index(
    concepts: Sequence[Mapping[str, Any]], maps_to: Sequence[tuple[int, int]] = ()
) -> LexicalIndex:
    """An index of concepts, each with at least an id and a name; the rest is that of a condition.

    Args:
        concepts: columns of CONCEPT.
        maps_to: (concept_id_1, concept_id_2) of "Maps to".
    """
    return LexicalIndex(
        build_lexicon(
            pd.DataFrame([{**_CONDITION, **concept} for concept in concepts]),
            pd.DataFrame({"concept_id": [], "concept_synonym_name": []}),
            pd.DataFrame(
                [(one, two, "Maps to") for one, two in maps_to],
                columns=["concept_id_1", "concept_id_2", "relationship_id"],
            ),
        )
    )


def candidates_of(query: Query, lexical: LexicalIndex, memory: MemoryIndex | None = None) -> Candidates:
    """What is found for a query without vectors."""
    retrievers = make_retrievers(lexical, concept_attributes(lexical), None, memory)
    return find_candidates(QueryBatch.encode([query], lexical, None), retrievers)


def features_of(query: Query, lexical: LexicalIndex, memory: MemoryIndex | None = None) -> pd.DataFrame:
    """The features of a query's candidates, by concept id."""
    candidates = candidates_of(query, lexical, memory)
    scored = Features(lexical, concept_attributes(lexical), None, memory).compute(candidates)
    ids = lexical.lexicon.concept_id[candidates.concept]
    return pd.DataFrame(scored.features, columns=list(NAMES), index=ids)
