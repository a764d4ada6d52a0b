"""Contrast features: agreement of a term and a name on laterality, negation, specimen and the like."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Ints, Mask
from omop_emb.mapping.features.encoded_term import Columns, EncodedTerm
from omop_emb.mapping.retrieval.concept_attributes import ConceptAttributes
from omop_emb.mapping.terms import contrasts
from omop_emb.mapping.terms.variants import prefixed_specimen
from omop_emb.mapping.terms.words import normalise

FEATURES = (
    *(f"{group} differs" for group in contrasts.groups()),
    *(f"{group} only in the concept" for group in contrasts.groups()),
    *(f"{group} only in the term" for group in contrasts.groups()),
    "specimen agrees",
    "serum or plasma by default",
    "blood by default",
    "serum or plasma for blood",
)


class ContrastFeatures:
    """Compares the contrasts of terms and names."""

    def __init__(self, attributes: ConceptAttributes) -> None:
        self._attributes = attributes

    def describe(self, term: EncodedTerm, concepts: Ints) -> Columns:
        """FEATURES of (p,) concept rows."""
        of_term = contrasts.bits(term.query.normal[0])
        laboratory = prefixed_specimen(term.original)
        if laboratory is not None:
            of_term |= contrasts.bits(normalise(laboratory[1]))
        of_concepts = self._attributes.contrasts[concepts]
        columns: dict[str, Mask] = {}
        for group, mask in contrasts.masks().items():
            in_term, in_concept = np.uint64(of_term & mask), of_concepts & np.uint64(mask)
            columns[f"{group} differs"] = (in_concept > 0) & (in_term > 0) & (in_concept & in_term == 0)
            columns[f"{group} only in the concept"] = (in_concept > 0) & (in_term == 0)
            columns[f"{group} only in the term"] = (in_concept == 0) & (in_term > 0)
            if group == "specimen":
                has_property = self._attributes.loinc.property[concepts] >= 0
                columns.update(_specimens(in_term, in_concept, has_property))
        return columns


def _specimens(in_term: np.uint64, in_concept: npt.NDArray[np.uint64], has_property: Mask) -> dict[str, Mask]:
    bits = {value: np.uint64(bit) for value, bit in contrasts.groups()["specimen"].items()}
    serum, blood = (in_concept & bits["serum"]) > 0, (in_concept & bits["blood"]) > 0
    by_default = has_property & (in_term == 0)
    # "In the blood" is also said of what is measured in serum.
    term_says_blood = in_term & (bits["blood"] | bits["serum"]) == bits["blood"]
    return {
        "specimen agrees": (in_concept & in_term) > 0,
        "serum or plasma by default": by_default & serum,
        "blood by default": by_default & blood,
        "serum or plasma for blood": has_property & term_says_blood & serum,
    }
