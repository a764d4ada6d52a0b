"""Contrast features: agreement of a term and a name on laterality, negation, specimen and the like."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Ints, Mask
from omop_emb.mapping.features.encoded_term import Columns, EncodedTerm
from omop_emb.mapping.retrieval.concept_attributes import ConceptAttributes
from omop_emb.mapping.terms import contrasts
from omop_emb.mapping.terms.stated import stated_contrasts

_KINDS = ("{} differs", "{} only in the concept", "{} only in the term")
_RARE = "another contrast"
_GROUPS = contrasts.compared_groups()
_OWN = [group for group in _GROUPS if group not in contrasts.rare_groups()]
FEATURES = (
    *(kind.format(group) for kind in _KINDS for group in (*_OWN, _RARE)),
    "specimen agrees",
    "serum or plasma by default",
    "blood by default",
    "serum or plasma for blood",
    "not the default specimen",
)


class ContrastFeatures:
    """Compares the contrasts of terms and names."""

    def __init__(self, attributes: ConceptAttributes) -> None:
        self._attributes = attributes
        masks = np.stack([contrasts.pack(contrasts.masks()[group]) for group in _GROUPS])
        self._word = masks.argmax(axis=1)  # the bits of a group lie within one word
        self._mask = masks.max(axis=1)
        passed_over = [contrasts.pack(contrasts.passed_over_alone(group)) for group in _GROUPS]
        self._passed_over = np.stack(passed_over).max(axis=1)

    def describe(self, term: EncodedTerm, concepts: Ints, variant: Ints) -> Columns:
        """FEATURES of (p,) concept rows, each matched by a variant of the term."""
        of_variants = np.stack(
            [contrasts.pack(stated_contrasts(term.original, each.text)) for each in term.query.variants]
        )
        of_concepts = self._attributes.contrasts[concepts]
        # Shape: candidates, groups.
        in_term = of_variants[variant][:, self._word] & self._mask
        in_concept = of_concepts[:, self._word] & self._mask
        found = (
            (in_term > 0) & (in_concept > 0) & (in_term & in_concept == 0),
            (in_concept > 0) & (in_concept & self._passed_over == 0) & (in_term == 0),
            (in_concept == 0) & (in_term > 0) & (in_term & self._passed_over == 0),
        )
        columns: dict[str, Mask] = {}
        is_rare = np.isin(_GROUPS, contrasts.rare_groups())
        for kind, by_group in zip(_KINDS, found, strict=True):
            for group in _OWN:
                columns[kind.format(group)] = by_group[:, _GROUPS.index(group)]
            columns[kind.format(_RARE)] = by_group[:, is_rare].any(axis=1)
        has_property = self._attributes.loinc.property[concepts] >= 0
        specimen = _GROUPS.index(contrasts.SPECIMEN)
        columns.update(
            _specimens(in_term[:, specimen], in_concept[:, specimen], self._meant(of_concepts), has_property)
        )
        return columns

    def _meant(self, of_concepts: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """The specimens that are meant where a term names none."""
        word = self._word[_GROUPS.index(contrasts.SPECIMEN)]
        analyte = contrasts.masks()["analyte"]
        in_blood = (of_concepts & contrasts.pack(analyte)).any(axis=1)
        usual, of_blood = (
            contrasts.pack(contrasts.understood(bits, contrasts.SPECIMEN))[word] for bits in (0, analyte)
        )
        meant: npt.NDArray[np.uint64] = np.where(in_blood, of_blood, usual)
        return meant


def _specimens(
    in_term: npt.NDArray[np.uint64],
    in_concept: npt.NDArray[np.uint64],
    meant: npt.NDArray[np.uint64],
    has_property: Mask,
) -> dict[str, Mask]:
    packed = {value: contrasts.pack(bit).max() for value, bit in contrasts.groups()["specimen"].items()}
    serum, blood = (in_concept & packed["serum"]) > 0, (in_concept & packed["blood"]) > 0
    by_default = has_property & (in_term == 0)
    # "In the blood" is also said of what is measured in serum.
    term_says_blood = in_term & (packed["blood"] | packed["serum"]) == packed["blood"]
    is_meant = (in_concept & meant) > 0
    return {
        "specimen agrees": (in_concept & in_term) > 0,
        "serum or plasma by default": by_default & serum & is_meant,
        "blood by default": by_default & blood & is_meant,
        "serum or plasma for blood": has_property & term_says_blood & serum,
        "not the default specimen": by_default & (in_concept > 0) & ~is_meant,
    }
