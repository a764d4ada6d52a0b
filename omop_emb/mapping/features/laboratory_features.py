"""What a term and laboratory tests' names say of analyte, property, specimen and time, as features."""

from __future__ import annotations

import numpy as np

from omop_emb.arrays import Floats, Ints
from omop_emb.mapping.features.names import Put
from omop_emb.mapping.retrieval.concept_attributes import PROPERTIES, Facts
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.terms import contrasts, laboratory


class Analytes:
    """Compares the words of terms with the analytes of LOINC names."""

    def __init__(self, index: LexicalIndex, facts: Facts) -> None:
        self._words = facts.analyte_words
        self._total = np.asarray(self._words.sum(axis=1), np.float32).ravel()
        number, idf = index.words.number, index.words.idf
        specimens = contrasts.masks()["specimen"]
        idle = laboratory.NO_ANALYTE | {
            word for word, bits in contrasts.word_bits().items() if bits & specimens
        }
        self._idle_idf = np.zeros(len(idf), np.float32)
        columns = [number[word] for word in idle if word in number]
        self._idle_idf[columns] = idf[columns]
        self._asked = self._words.multiply(self._idle_idf == 0).tocsr()

    def describe(
        self,
        concepts: Ints,
        words: Floats,
        word_total: Floats,
        put: Put,
    ) -> None:
        """How much of an analyte a form of the term names, and how much of a form is the analyte.

        Args:
            concepts: (p,) rows of the candidates.
            words: (words, forms) 1 for each word of the term's forms.
            word_total: (forms,) sum of their idf.
            put: where a feature's (p,) values go.
        """
        total = self._total[concepts]
        tests = np.flatnonzero(total > 0)
        if not len(tests):
            return
        rows = concepts[tests]
        named = (self._words[rows] @ words).max(axis=1) / total[tests]
        asked_total = np.maximum(word_total - self._idle_idf @ words, 1e-6)
        covered = (self._asked[rows] @ words / asked_total).max(axis=1)
        for name, values in (("analyte in the term", named), ("term is the analyte", covered)):
            column = np.zeros(len(concepts), np.float32)
            column[tests] = values
            put(name, column)


def describe(facts: Facts, term: str, normal_term: str, concepts: Ints, put: Put) -> None:
    """Property, method, timing and what was collected in a day, as LOINC names state them."""
    prop = facts.property[concepts]
    for value in np.unique(prop[prop >= 0]):
        put(f"property {(*PROPERTIES, 'other')[value]}", prop == value)
    put("method not in the term", facts.method[concepts] & ("by" not in normal_term.split()))
    put("timing stated", facts.timing[concepts])
    day = facts.day[concepts]
    put("24 hours agree" if laboratory.whole_day(term) else "24 hours only in the concept", day)


def contrast(facts: Facts, said: int, concepts: Ints, put: Put) -> None:
    """Where what a term says (bits, see contrasts.py) and a candidate's name agree or disagree."""
    stated = facts.contrast[concepts]
    loinc = facts.property[concepts] >= 0
    for group, mask in contrasts.masks().items():
        ours = np.uint64(said & mask)
        theirs = stated & np.uint64(mask)
        both = theirs & ours
        put(f"{group} differs", (theirs > 0) & (ours > 0) & (both == 0))
        put(f"{group} only in the concept", (theirs > 0) & (ours == 0))
        put(f"{group} only in the term", (theirs == 0) & (ours > 0))
        if group == "specimen":
            values = contrasts.groups()[group]
            serum = (theirs & np.uint64(values["serum"])) > 0
            put("specimen agrees", both > 0)
            put("serum or plasma by default", loinc & (ours == 0) & serum)
            put("blood by default", loinc & (ours == 0) & ((theirs & np.uint64(values["blood"])) > 0))
            # "in the blood" is said of what is measured in serum
            blood = ours & np.uint64(values["blood"] | values["serum"]) == np.uint64(values["blood"])
            put("serum or plasma for blood", loinc & blood & serum)
