"""Concept attributes: what the names of all concepts say, parsed once for a vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import groupby

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Floats, Ints
from omop_emb.mapping.retrieval.drug_attributes import DrugAttributes, drug_attributes
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.lexicon import NON_STANDARD, Lexicon
from omop_emb.mapping.retrieval.loinc_attributes import LoincAttributes, loinc_attributes
from omop_emb.mapping.terms import contrasts
from omop_emb.mapping.terms.signs import Signs, signs_of
from omop_emb.mapping.terms.units import unit_key
from omop_emb.mapping.terms.words import normalise


@dataclass(frozen=True, eq=False)
class ConceptAttributes:
    """Arrays by concept row."""

    drugs: DrugAttributes
    loinc: LoincAttributes
    contrasts: npt.NDArray[np.uint64]  # (c, words) packed bits of the name, see terms/contrasts.py
    signs: Ints  # index into sign_texts
    sign_texts: list[tuple[Signs, ...]]  # what the signs of a concept's own texts say, its name's first
    word_count: Floats  # number of distinct words of the name
    sources: Floats  # number of non-standard concepts that map to the concept
    unit_rows: dict[str, list[int]]  # unit key -> rows of the units that have it


def concept_attributes(index: LexicalIndex) -> ConceptAttributes:
    """The attributes of every concept of an index; takes a few seconds for 300,000."""
    lexicon = index.lexicon
    drugs = drug_attributes(index)
    own_names = np.flatnonzero(lexicon.text_kind == 0)
    mapped_names = lexicon.text_concept[lexicon.text_kind == NON_STANDARD]
    signs, sign_texts = _signs(lexicon)
    return ConceptAttributes(
        drugs=drugs,
        loinc=loinc_attributes(index, drugs.level >= 0),
        contrasts=_contrast_bits(index),
        signs=signs,
        sign_texts=sign_texts,
        word_count=index.word_count[own_names],
        sources=np.bincount(mapped_names, minlength=len(lexicon.names)).astype(np.float32),
        unit_rows=_unit_rows(lexicon),
    )


def _contrast_bits(index: LexicalIndex) -> npt.NDArray[np.uint64]:
    # A word of all names at once, by the index: a loop over the names would take seconds.
    lexicon, columns = index.lexicon, index.words.column
    names_by_word = index.word_rows[np.flatnonzero(lexicon.text_kind == 0)].tocsc()

    def names_with(word: str) -> npt.NDArray[np.int32]:
        if (column := columns.get(word)) is None:
            return np.zeros(0, np.int32)
        start, stop = names_by_word.indptr[column : column + 2]
        return np.asarray(names_by_word.indices[start:stop])

    starts = tuple(contrasts.beginnings())
    words = contrasts.word_bits().keys() | {word for word in columns if word.startswith(starts)}
    result = np.zeros((len(lexicon.names), contrasts.word_count()), np.uint64)
    for word in words:
        if bits := contrasts.bits_of_word(word):
            result[names_with(word)] |= contrasts.pack(bits)
    # Where words in a row may mean something else than each of them, the name is read.
    has_phrase = np.zeros(len(lexicon.names), bool)
    for phrase in contrasts.phrases():
        rarest, *others = sorted(map(names_with, phrase), key=len)
        has_phrase[reduce(np.intersect1d, others, rarest)] = True
    for row in np.flatnonzero(has_phrase).tolist():
        result[row] = contrasts.pack(contrasts.bits(normalise(lexicon.names[row])))
    return result


def _signs(lexicon: Lexicon) -> tuple[Ints, list[tuple[Signs, ...]]]:
    numbers: dict[tuple[Signs, ...], int] = {((),): 0}
    result = np.zeros(len(lexicon.names), np.int64)
    own = (lexicon.text_kind != NON_STANDARD).tolist()
    texts = zip(lexicon.text_concept.tolist(), own, lexicon.texts, strict=True)
    for row, of_concept in groupby(texts, key=lambda text: text[0]):
        distinct = dict.fromkeys(signs_of(text) for _, is_own, text in of_concept if is_own)
        result[row] = numbers.setdefault(tuple(distinct), len(numbers))
    return result, list(numbers)


def _unit_rows(lexicon: Lexicon) -> dict[str, list[int]]:
    own: dict[str, list[int]] = {}
    mapped: dict[
        str, list[int]
    ] = {}  # by the names of what maps to a unit, which may be those of other units
    for row in range(*lexicon.domain_range("Unit")):
        for text in lexicon.text_rows(row):
            rows = mapped if lexicon.text_kind[text] == NON_STANDARD else own
            key = unit_key(lexicon.texts[text])
            if key and row not in rows.setdefault(key, []):
                rows[key].append(row)
    return {**mapped, **own}
