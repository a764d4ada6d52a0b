"""Drug attributes: strengths, dose forms, brand and pack that the names of RxNorm's concepts state."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from omop_emb.arrays import Mask
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.terms import drugs
from omop_emb.mapping.terms.words import normalise

LEVELS = ("ingredient", "strength", "dose form", "strength and dose form")
"""What a drug's name states besides its ingredients."""

_VOCABULARIES = ("RxNorm", "RxNorm Extension")
_BRACKET = re.compile(r"\[[^\]]*\]")
_BOX = re.compile(r" Box of \d+")
_SUPPLIER = re.compile(r"\bby [A-Z]")
_QUANTITY = re.compile(r"^\d[\d.]* (?:ML|MG|ACTUAT|HR|UNT|G)\b")


@dataclass(frozen=True, eq=False)
class DrugAttributes:
    """Arrays by concept row; those of other vocabularies' concepts are 0 or False."""

    level: npt.NDArray[np.int8]  # index into LEVELS, -1 for a concept that is no drug
    brand: Mask  # whether the name states a brand; the next three the same
    box: Mask
    supplier: Mask
    quantity: Mask
    ingredients: npt.NDArray[np.int16]  # how many ingredients the name lists
    strengths: sparse.csr_matrix  # (c, strengths) ones for the strengths that the name states
    strength_column: dict[float, int]  # strength -> column
    dose_forms: npt.NDArray[np.uint64]  # bits of the dose forms that the name states
    dose_form_bit: dict[str, int]  # dose form -> its bit
    # (c, words) ones for the brand's words, in the columns of LexicalIndex.words
    brand_words: sparse.csr_matrix


def word_rows(index: LexicalIndex, texts: list[str], rows: list[int]) -> sparse.csr_matrix:
    """(c, words) ones for the words of normal texts, each in the row of its concept."""
    words = index.words.encode(texts)[0].tocoo()
    entries = (words.data, (np.array(rows, np.int64)[words.row], words.col))
    return sparse.csr_matrix(entries, shape=(len(index.lexicon.names), len(index.words.idf)))


def drug_attributes(index: LexicalIndex) -> DrugAttributes:
    """The attributes of every concept of an index."""
    lexicon = index.lexicon
    count = len(lexicon.names)
    level = np.full(count, -1, np.int8)
    brand, box, supplier, quantity = (np.zeros(count, bool) for _ in range(4))
    ingredients = np.zeros(count, np.int16)
    dose_forms = np.zeros(count, np.uint64)
    strength_column: dict[float, int] = {}
    dose_form_bit: dict[str, int] = {}
    strengths: list[tuple[int, int]] = []  # row, column
    brands: dict[int, str] = {}
    parsed: dict[str, tuple[tuple[float, ...], tuple[str, ...]]] = {}
    for row in np.flatnonzero(lexicon.in_vocabularies(*_VOCABULARIES)).tolist():
        name = lexicon.names[row]
        without_brand = _BRACKET.sub("", name)
        # Boxes and products of the same drug share this text: parsing it once is a third of the work.
        drug = _BOX.split(without_brand)[0].split(" by ")[0]
        if drug not in parsed:
            parsed[drug] = (drugs.strengths(drug), drugs.dose_forms(drug))
        stated_strengths, stated_forms = parsed[drug]
        level[row] = (1 if stated_strengths else 0) + (2 if stated_forms else 0)
        box[row] = " Box of " in name
        supplier[row] = _SUPPLIER.search(without_brand) is not None
        quantity[row] = _QUANTITY.match(name) is not None
        ingredients[row] = without_brand.count(" / ") + 1
        for value in stated_strengths:
            strengths.append((row, strength_column.setdefault(value, len(strength_column))))
        for form in stated_forms:
            dose_forms[row] |= np.uint64(dose_form_bit.setdefault(form, 1 << len(dose_form_bit)))
        if without_brand != name:
            brand[row] = True
            brands[row] = normalise(name[name.index("[") + 1 : name.rindex("]")])
    shape = (count, max(1, len(strength_column)))
    entries = (np.ones(len(strengths), np.float32), np.array(strengths, np.int64).reshape(-1, 2).T)
    strength_rows = sparse.csr_matrix(entries, shape=shape)
    brand_words = word_rows(index, list(brands.values()), list(brands))
    return DrugAttributes(
        level, brand, box, supplier, quantity, ingredients, strength_rows, strength_column, dose_forms,
        dose_form_bit, brand_words,
    )  # fmt: skip
