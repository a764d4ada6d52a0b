"""Number features: numbers that only a term or only a candidate's name has, and how long the name is."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from omop_emb.arrays import Ints
from omop_emb.mapping.features.encoded_term import Columns, EncodedTerm
from omop_emb.mapping.retrieval.concept_attributes import ConceptAttributes
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.terms.numbers import number_in, plain_numbers
from omop_emb.mapping.terms.words import normalise

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
        names = lexical.word_rows[np.flatnonzero(lexical.lexicon.text_kind == 0)].sign()
        self._column: dict[float | str, int] = {}  # number -> its column
        words, columns = [], []
        for word, column in lexical.words.column.items():
            if (number := number_in(word)) is not None:
                words.append(column)
                columns.append(self._column.setdefault(number, len(self._column)))
        shape = (names.shape[1], max(1, len(self._column)))
        number_of_word = sparse.csr_matrix((np.ones(len(words), np.float32), (words, columns)), shape=shape)
        self._number_rows = (names @ number_of_word).sign().tocsr()
        self._numbers = np.asarray(self._number_rows.sum(axis=1), np.float32).ravel()
        self._word_count = attributes.word_count

    def describe(self, term: EncodedTerm, concepts: Ints) -> Columns:
        """FEATURES of (p,) concept rows."""
        words = term.query.normal[0].split()
        found = map(number_in, normalise(plain_numbers(term.original)).split())
        numbers = {number for number in found if number is not None}
        of_term = np.zeros(self._number_rows.shape[1], np.float32)
        of_term[[self._column[number] for number in numbers if number in self._column]] = 1
        shared = self._number_rows[concepts] @ of_term
        length = np.log(np.maximum(self._word_count[concepts], 1) / max(1, len(words)))
        return {
            "numbers of the term missing": (len(numbers) - shared) / max(len(numbers), 1),
            "numbers of the concept extra": np.minimum(self._numbers[concepts] - shared, _MAX_EXTRA_NUMBERS),
            "concept longer": np.maximum(length, 0),
            "concept shorter": np.maximum(-length, 0),
        }
