"""Retriever features: who found a candidate."""

from __future__ import annotations

from omop_emb.mapping.features.encoded_term import Columns, EncodedTerm

FEATURES = ("found by exact", "found by dense and lexical", "same unit", "same unit, alone")


def describe(term: EncodedTerm) -> Columns:
    """FEATURES of a term's candidates."""
    found_by = term.found_by
    unit = found_by["unit"]
    return {
        "found by exact": found_by["exact"],
        "found by dense and lexical": found_by["dense"] & found_by["lexical"],
        "same unit": unit,
        "same unit, alone": unit & (unit.sum() == 1),
    }
