"""LOINC attributes: analyte, property, method and timing that the names of LOINC's concepts state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from omop_emb.arrays import Mask
from omop_emb.mapping.retrieval.drug_attributes import word_rows
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.terms.laboratory import loinc_axes, parse_loinc_name
from omop_emb.mapping.terms.words import normalise

PROPERTIES = (
    "Mass/volume|Moles/volume|Presence|#/volume|Units/volume|Enzymatic activity/volume|Titer"
    "|Susceptibility|Ratio|Mass Ratio|Volume Fraction|Pressure|Identifier|Type|Time|Interpretation"
    "|Volume Rate|Mass/time|Moles/time|Entitic volume|Entitic mass|Percentile|Pure number|# Ratio"
).split("|")
"""LOINC properties that have a feature of their own; any other property of a name counts as "other"."""


@dataclass(frozen=True, eq=False)
class LoincAttributes:
    """Arrays by concept row."""

    property: npt.NDArray[np.int8]  # index into PROPERTIES, len(PROPERTIES) for another, -1 for none
    method: Mask  # whether the name states a method
    timing: Mask  # whether the name states a timing
    is_24_hour: Mask  # whether the name says that it is of 24 hours
    axes: npt.NDArray[np.int32]  # (c, 3) numbers of property, system, method; -1 in other vocabularies
    # (c, words) idf of the analyte's words, in the columns of LexicalIndex.words
    analyte_words: sparse.csr_matrix


def loinc_attributes(index: LexicalIndex, is_drug: Mask) -> LoincAttributes:
    """The attributes of every concept of an index; names of drugs are not read."""
    lexicon = index.lexicon
    count = len(lexicon.names)
    property_ = np.full(count, -1, np.int8)
    method, timing, is_24_hour = (np.zeros(count, bool) for _ in range(3))
    axes = np.full((count, 3), -1, np.int32)
    axis_numbers: dict[str, int] = {}
    analytes: dict[int, str] = {}
    property_numbers = {name: number for number, name in enumerate(PROPERTIES)}
    is_loinc = lexicon.in_vocabularies("LOINC")
    for row in np.flatnonzero(~is_drug).tolist():
        name = lexicon.names[row]
        if is_loinc[row]:
            analyte, *stated = loinc_axes(name)
            analytes[row] = normalise(analyte)
            axes[row] = [axis_numbers.setdefault(axis, len(axis_numbers)) for axis in stated]
            is_24_hour[row] = "24 hour" in name
        # Other vocabularies write names of this form too.
        if (parsed := parse_loinc_name(name)) is not None:
            property_[row] = property_numbers.get(parsed["property"], len(PROPERTIES))
            method[row] = bool(parsed["method"])
            timing[row] = bool(parsed["timing"])
    analyte_words = word_rows(index, list(analytes.values()), list(analytes))
    analyte_words.data = index.words.idf[analyte_words.indices]
    return LoincAttributes(property_, method, timing, is_24_hour, axes, analyte_words)
