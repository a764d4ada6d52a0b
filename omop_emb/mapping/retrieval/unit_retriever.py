"""Unit retriever: units of measurement whose key is the term's, UCUM's before other vocabularies'."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from omop_emb.arrays import Ints
from omop_emb.mapping.retrieval.lexicon import Lexicon
from omop_emb.mapping.retrieval.queries import QueryBatch
from omop_emb.mapping.terms.units import unit_key, unit_readings

_MAX_UNITS = 20  # a key that more units share says nothing


class UnitRetriever:
    """Finds units by the keys that the term's original text may mean.

    Args:
        lexicon: the concepts.
        unit_rows: unit key -> concept rows.
    """

    uses_vectors = False

    def __init__(self, lexicon: Lexicon, unit_rows: Mapping[str, list[int]]) -> None:
        self._lexicon, self._unit_rows = lexicon, unit_rows
        self._is_ucum = lexicon.in_vocabularies("UCUM")

    def find(self, batch: QueryBatch) -> tuple[Ints, Ints]:
        """(variant, concept row), where the variant is the original of a term that may be a unit."""
        matches: list[tuple[int, int]] = []
        for query, variant in zip(batch.queries, batch.offsets[:-1].tolist(), strict=True):
            if query.domains is None or "Unit" in query.domains:
                keys = unit_readings(query.variants[0].text)
                rows = list(dict.fromkeys(row for key in keys for row in self._unit_rows.get(key, [])))
                if query.hidden_texts:
                    rows = [row for row in rows if self._has_visible_key(row, keys, query.hidden_texts)]
                if self._is_ucum[rows].any():  # other vocabularies name the same units again
                    rows = [row for row in rows if self._is_ucum[row]]
                if len(rows) <= _MAX_UNITS:
                    matches.extend((variant, row) for row in rows)
        variants, concepts = np.array(matches, np.int64).reshape(-1, 2).T
        return batch.permitted(self._lexicon, variants, concepts)

    def _has_visible_key(self, row: int, keys: Collection[str], hidden: frozenset[int]) -> bool:
        texts = self._lexicon.texts
        return any(
            text not in hidden and unit_key(texts[text]) in keys for text in self._lexicon.text_rows(row)
        )
