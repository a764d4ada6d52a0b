"""What each concept's name says, worked out once: drug pieces, LOINC axes, contrasts, unit keys."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
from scipy import sparse

from omop_emb.arrays import Floats, Mask
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.lexicon import Lexicon, loinc_name
from omop_emb.mapping.terms import contrasts, drugs, laboratory
from omop_emb.mapping.terms.units import unit_key
from omop_emb.mapping.terms.words import normal

PROPERTIES = (
    "Mass/volume",
    "Moles/volume",
    "Presence",
    "#/volume",
    "Units/volume",
    "Enzymatic activity/volume",
    "Titer",
    "Susceptibility",
    "Ratio",
    "Mass Ratio",
    "Volume Fraction",
    "Pressure",
    "Identifier",
    "Type",
    "Time",
    "Interpretation",
    "Volume Rate",
    "Mass/time",
    "Moles/time",
    "Entitic volume",
    "Entitic mass",
    "Percentile",
    "Pure number",
    "# Ratio",
)
"""LOINC properties that have a feature of their own; a name's other property counts as "other"."""

LEVELS = ("ingredient", "strength", "form", "strength and form")
"""What a drug's name states besides its ingredients."""

_BRACKET = re.compile(r"\[[^\]]*\]")
_BOX = re.compile(r" Box of \d+")
_SUPPLIER = re.compile(r"\bby [A-Z]")
_QUANTITY = re.compile(r"^\d[\d.]* (?:ML|MG|ACTUAT|HR|UNT|G)\b")
DRUG_VOCABULARIES = ("RxNorm", "RxNorm Extension")


@dataclass(frozen=True, eq=False)
class Facts:
    """Arrays by concept row.

    Attributes:
        contrast: bits of what the name says (see contrasts.py).
        level: place in LEVELS of a drug, -1 for what is none.
        brand, box, supplier, quantity: whether a drug's name states it.
        parts: how many ingredients a drug's name lists.
        strengths: (c, strengths) which strengths a drug's name states.
        strength_column: strength -> column.
        forms: bits of the dose forms that a drug's name states.
        form_bit: dose form -> its bit.
        brand_words: (c, words) the brand's words, as in LexicalIndex.words.
        property: place in PROPERTIES of a LOINC name, len(PROPERTIES) for another, -1 for none.
        method, timing: whether a LOINC name states them.
        analyte_words: (c, words) idf of the words of a LOINC name's analyte.
        day: whether a LOINC name says that it is of 24 hours.
        axes: (c, 3) numbers of a LOINC name's property, system and method, -1 for another vocabulary.
        words: how many words the name has.
        sources: how many non-standard concepts lead to it.
        unit_rows: unit key -> rows of the units that have it.
    """

    contrast: npt.NDArray[np.uint64]
    level: npt.NDArray[np.int8]
    brand: Mask
    box: Mask
    supplier: Mask
    quantity: Mask
    parts: npt.NDArray[np.int16]
    strengths: sparse.csr_matrix
    strength_column: dict[float, int]
    forms: npt.NDArray[np.uint64]
    form_bit: dict[str, int]
    brand_words: sparse.csr_matrix
    property: npt.NDArray[np.int8]
    method: Mask
    timing: Mask
    analyte_words: sparse.csr_matrix
    day: Mask
    axes: npt.NDArray[np.int32]
    words: Floats
    sources: Floats
    unit_rows: dict[str, list[int]]


def gather(lexicon: Lexicon, index: LexicalIndex) -> Facts:
    """The facts of every concept of a lexicon; a few seconds for 300,000."""
    count = len(lexicon.names)
    level = np.full(count, -1, np.int8)
    brand, box, supplier, quantity, method, timing, day = (np.zeros(count, bool) for _ in range(7))
    parts = np.zeros(count, np.int16)
    forms = np.zeros(count, np.uint64)
    prop = np.full(count, -1, np.int8)
    strength_column: dict[float, int] = {}
    form_bit: dict[str, int] = {}
    strength_at: tuple[list[int], list[int]] = ([], [])
    brand_rows: list[int] = []
    brands: list[str] = []
    analyte_rows: list[int] = []
    analytes: list[str] = []
    axes_code = np.full((count, 3), -1, np.int32)
    axis_place: dict[str, int] = {}
    property_place = {name: place for place, name in enumerate(PROPERTIES)}
    drug_codes = {place for place, name in enumerate(lexicon.vocabularies) if name in DRUG_VOCABULARIES}
    laboratory_code = {place for place, name in enumerate(lexicon.vocabularies) if name == "LOINC"}
    seen: dict[str, tuple[tuple[float, ...], tuple[str, ...]]] = {}
    for row, name in enumerate(lexicon.names):
        if lexicon.vocabulary[row] in drug_codes:
            plain = _BRACKET.sub("", name)
            # boxes and products of the same drug share this: a third of the work
            stem = _BOX.split(plain)[0].split(" by ")[0]
            if stem not in seen:
                seen[stem] = (drugs.strengths(stem), drugs.dose_forms(stem))
            strong, shaped = seen[stem]
            level[row] = (1 if strong else 0) + (2 if shaped else 0)
            brand[row] = plain != name
            box[row] = " Box of " in name
            supplier[row] = _SUPPLIER.search(plain) is not None
            quantity[row] = name[0].isdigit() and _QUANTITY.match(name) is not None
            parts[row] = plain.count(" / ") + 1
            for value in strong:
                strength_at[0].append(row)
                strength_at[1].append(strength_column.setdefault(value, len(strength_column)))
            for form in shaped:
                forms[row] |= np.uint64(form_bit.setdefault(form, 1 << len(form_bit)))
            if brand[row]:
                brand_rows.append(row)
                brands.append(normal(name[name.index("[") + 1 : name.rindex("]")]))
            continue
        if lexicon.vocabulary[row] in laboratory_code:
            analyte, *stated = laboratory.axes(name)
            analyte_rows.append(row)
            analytes.append(normal(analyte))
            axes_code[row] = [axis_place.setdefault(axis, len(axis_place)) for axis in stated]
            day[row] = "24 hour" in name
        if (axes := loinc_name(name)) is not None:
            prop[row] = property_place.get(axes.property, len(PROPERTIES))
            method[row] = bool(axes.method)
            timing[row] = bool(axes.timing)
    own_name = np.flatnonzero(lexicon.text_kind == 0)
    # words of all names at once, from the index: a loop over the names would take seconds
    in_names = index.word_rows[own_name].tocsc()
    contrast = np.zeros(count, np.uint64)
    for word, bits in contrasts.word_bits().items():
        column = index.words.number.get(word)
        if column is not None:
            contrast[in_names.indices[in_names.indptr[column] : in_names.indptr[column + 1]]] |= np.uint64(
                bits
            )
    column = index.words.number.get("not")
    if column is not None:
        for row in in_names.indices[in_names.indptr[column] : in_names.indptr[column + 1]]:
            contrast[row] = contrasts.bits(normal(lexicon.names[row]))
    unit_rows: dict[str, list[int]] = {}
    for text in range(*(int(lexicon.first_text[row]) for row in lexicon.domain_range("Unit"))):
        key = unit_key(lexicon.texts[text])
        rows = unit_rows.setdefault(key, [])
        if key and int(lexicon.text_concept[text]) not in rows:
            rows.append(int(lexicon.text_concept[text]))
    analyte_words = _placed(index, analytes, analyte_rows, count)
    analyte_words.data = index.words.idf[analyte_words.indices]
    return Facts(
        contrast=contrast,
        level=level,
        brand=brand,
        box=box,
        supplier=supplier,
        quantity=quantity,
        parts=parts,
        strengths=sparse.csr_matrix(
            (np.ones(len(strength_at[0]), np.float32), strength_at),
            shape=(count, max(1, len(strength_column))),
        ),
        strength_column=strength_column,
        forms=forms,
        form_bit=form_bit,
        brand_words=_placed(index, brands, brand_rows, count),
        property=prop,
        method=method,
        timing=timing,
        analyte_words=analyte_words,
        day=day,
        axes=axes_code,
        words=index.word_count[own_name],
        sources=cast(
            "Floats",
            np.bincount(lexicon.text_concept[lexicon.text_kind == 4], minlength=count).astype(np.float32),
        ),
        unit_rows=unit_rows,
    )


def _placed(index: LexicalIndex, texts: list[str], rows: list[int], count: int) -> sparse.csr_matrix:
    """(count, words) ones for the words of each text, in the given rows."""
    coo = index.words.encode(texts)[0].tocoo()
    places = (np.array(rows, np.int64)[coo.row], coo.col)
    return sparse.csr_matrix((coo.data, places), shape=(count, len(index.words.idf)))
