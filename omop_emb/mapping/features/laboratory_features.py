"""Laboratory features: analyte, property, method and timing, as a term and a test's name state them."""

from __future__ import annotations

import numpy as np

from omop_emb.arrays import Ints
from omop_emb.mapping.features.encoded_term import Columns, EncodedTerm
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.loinc_attributes import PROPERTIES, LoincAttributes
from omop_emb.mapping.terms import contrasts, laboratory

_PROPERTY_FEATURES = tuple(f"property {name}" for name in (*PROPERTIES, "other"))
_ANALYTE_FEATURES = ("analyte in the term", "term is the analyte")
FEATURES = (
    *_PROPERTY_FEATURES,
    *_ANALYTE_FEATURES,
    "method not in the term",
    "timing stated",
    "24 hours agree",
    "24 hours only in the concept",
)


class LaboratoryFeatures:
    """Compares terms with the names of laboratory tests."""

    def __init__(self, index: LexicalIndex, attributes: LoincAttributes) -> None:
        self._attributes, self._words = attributes, attributes.analyte_words
        self._word_total = np.asarray(self._words.sum(axis=1), np.float32).ravel()
        column, idf = index.words.column, index.words.idf
        specimens = contrasts.masks()["specimen"]
        specimen_words = {word for word, bits in contrasts.word_bits().items() if bits & specimens}
        columns = [column[word] for word in laboratory.NO_ANALYTE | specimen_words if word in column]
        self._other_idf = np.zeros(len(idf), np.float32)  # of words that name no analyte
        self._other_idf[columns] = idf[columns]
        self._analyte_words = self._words.multiply(self._other_idf == 0).tocsr()

    def describe(self, term: EncodedTerm, concepts: Ints) -> Columns:
        """FEATURES of (p,) concept rows."""
        attributes = self._attributes
        property_ = attributes.property[concepts]
        is_24_hour = attributes.is_24_hour[concepts]
        agrees = laboratory.is_24_hour(term.original)
        return {
            **{
                _PROPERTY_FEATURES[value]: property_ == value
                for value in np.unique(property_[property_ >= 0])
            },
            **self._analytes(term, concepts),
            "method not in the term": attributes.method[concepts]
            & ("by" not in term.query.normal[0].split()),
            "timing stated": attributes.timing[concepts],
            "24 hours agree" if agrees else "24 hours only in the concept": is_24_hour,
        }

    def _analytes(self, term: EncodedTerm, concepts: Ints) -> Columns:
        """How much of an analyte a variant names, and how much of a variant is the analyte, by idf."""
        total = self._word_total[concepts]
        tests = np.flatnonzero(total > 0)
        if not len(tests):
            return {}
        rows = concepts[tests]
        named = (self._words[rows] @ term.words).max(axis=1) / total[tests]
        term_total = np.maximum(term.word_total - self._other_idf @ term.words, 1e-6)
        covered = (self._analyte_words[rows] @ term.words / term_total).max(axis=1)
        columns = np.zeros((len(_ANALYTE_FEATURES), len(concepts)), np.float32)
        columns[:, tests] = named, covered
        return dict(zip(_ANALYTE_FEATURES, columns, strict=True))
