"""Number features: numbers that only a term or only a candidate's name has, and how long the name is."""

from __future__ import annotations

import numpy as np

from omop_emb.arrays import Ints
from omop_emb.mapping.features.encoded_term import Columns, EncodedTerm
from omop_emb.mapping.retrieval.concept_attributes import ConceptAttributes
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex

FEATURES = (
    "numbers of the term missing",
    "numbers of the concept extra",
    "concept longer",
    "concept shorter",
)

_MAX_EXTRA_NUMBERS = 3


class NumberFeatures:
    """Compares the numbers and the length of terms and names."""

    def __init__(self, lexical: LexicalIndex, attributes: ConceptAttributes) -> None:
        is_number = np.zeros(len(lexical.words.idf), np.float32)
        is_number[[column for word, column in lexical.words.column.items() if _is_number(word)]] = 1
        names = lexical.word_rows[np.flatnonzero(lexical.lexicon.text_kind == 0)].sign()
        self._number_words = names.multiply(is_number).tocsr()
        self._numbers = np.asarray(names @ is_number, np.float32).ravel()
        self._word_count = attributes.word_count

    def describe(self, term: EncodedTerm, concepts: Ints) -> Columns:
        """FEATURES of (p,) concept rows."""
        shared = self._number_words[concepts] @ term.words[:, 0]
        words = term.query.normal[0].split()
        numbers = sum(1 for word in set(words) if _is_number(word))
        length = np.log(np.maximum(self._word_count[concepts], 1) / max(1, len(words)))
        return {
            "numbers of the term missing": (numbers - shared) / max(numbers, 1),
            "numbers of the concept extra": np.minimum(self._numbers[concepts] - shared, _MAX_EXTRA_NUMBERS),
            "concept longer": np.maximum(length, 0),
            "concept shorter": np.maximum(-length, 0),
        }


def _is_number(word: str) -> bool:
    return word.lstrip("+-")[:1].isdigit()
