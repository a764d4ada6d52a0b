"""Sign features: whether a candidate differs from the term in polarity, comparator or power of ten."""

from __future__ import annotations

import numpy as np

from omop_emb.arrays import Ints
from omop_emb.mapping.features.encoded_term import Columns, EncodedTerm
from omop_emb.mapping.retrieval.concept_attributes import ConceptAttributes
from omop_emb.mapping.retrieval.lexicon import Lexicon
from omop_emb.mapping.retrieval.queries import Query
from omop_emb.mapping.terms.signs import Signs, closest_differences, signs_of

FEATURES = ("signs differ",)


class SignFeatures:
    """Compares the signs of terms with those of concepts' own texts."""

    def __init__(self, lexicon: Lexicon, attributes: ConceptAttributes) -> None:
        self._attributes = attributes
        first, end = lexicon.domain_range("Unit")
        self._units = range(first, end)

    def describe(self, term: EncodedTerm, concepts: Ints) -> Columns:
        """FEATURES of (p,) concept rows."""
        of_term, of_concepts = signs_of_query(term.query), self._attributes.signs[concepts]
        if of_term == [()] and not of_concepts.any():
            return {}
        is_unit = (concepts >= self._units.start) & (concepts < self._units.stop)
        kinds = np.column_stack([of_concepts, is_unit, term.found_by["unit"]])
        distinct, kind = np.unique(kinds, axis=0, return_inverse=True)
        differ = [
            bool(
                closest_differences(
                    of_term,
                    self._attributes.sign_texts[number],
                    is_unit=bool(unit),
                    same_unit=bool(same_unit),
                )
            )
            for number, unit, same_unit in distinct.tolist()
        ]
        return {"signs differ": np.array(differ)[kind.ravel()]}


def signs_of_query(query: Query) -> list[Signs]:
    """What the signs of a term say; without any, what those of its spelled out abbreviations say too."""
    original = signs_of(query.variants[0].text)
    if original:
        return [original]
    spelled_out = (signs_of(variant.text) for variant in query.variants if variant.rule == "abbreviation")
    return list(dict.fromkeys([original, *spelled_out]))
