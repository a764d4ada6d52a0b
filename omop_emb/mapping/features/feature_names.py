"""Feature names: every feature of a term and a candidate, in the order of the columns."""

from __future__ import annotations

from omop_emb.mapping.features import (
    concept_features,
    contrast_features,
    drug_features,
    laboratory_features,
    memory_features,
    neighbour_features,
    number_features,
    retriever_features,
    sign_features,
    similarity_features,
)

NAMES: tuple[str, ...] = (
    *similarity_features.FEATURES,
    *memory_features.FEATURES,
    *neighbour_features.FEATURES,
    *similarity_features.COMBINED_FEATURES,
    *retriever_features.FEATURES,
    *number_features.FEATURES,
    *drug_features.FEATURES,
    *laboratory_features.FEATURES,
    *contrast_features.FEATURES,
    *sign_features.FEATURES,
    *concept_features.FEATURES,
)
"""Every feature, in the order of the columns."""
