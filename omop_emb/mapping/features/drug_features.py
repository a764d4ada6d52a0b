"""Drug features: strength, dose form, brand and pack, as a term and a drug's name state them."""

from __future__ import annotations

import numpy as np

from omop_emb.arrays import Ints, Mask
from omop_emb.mapping.features.encoded_term import Columns, EncodedTerm
from omop_emb.mapping.retrieval.drug_attributes import LEVELS, DrugAttributes
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.terms import drugs

FEATURES = (
    "strengths agree",
    "strengths differ",
    "strength only in the concept",
    "strength only in the term",
    "strength left out",
    "dose forms agree",
    "dose forms differ",
    "dose form only in the concept",
    "dose form only in the term",
    "brand in the term",
    "brand not in the term",
    "more ingredients than the term",
    "box",
    "supplier",
    "quantity",
    *(f"drug: {level}" for level in LEVELS),
    *(f"drug: {level}, term has a strength" for level in LEVELS),
)

_MAX_EXTRA_INGREDIENTS = 3


class DrugFeatures:
    """Compares terms with the names of drugs."""

    def __init__(self, lexical: LexicalIndex, attributes: DrugAttributes) -> None:
        self._attributes, self._words = attributes, lexical.word_rows
        self._name_rows = np.flatnonzero(lexical.lexicon.text_kind == 0)

    def describe(self, term: EncodedTerm, concepts: Ints) -> Columns:
        """FEATURES of (p,) concept rows; none if no candidate is a drug."""
        attributes = self._attributes
        level = attributes.level[concepts]
        is_drug = level >= 0
        if not is_drug.any():
            return {}
        strengths = drugs.strengths(term.original)
        columns = [
            attributes.strength_column[value] for value in strengths if value in attributes.strength_column
        ]
        of_term = np.zeros(attributes.strengths.shape[1], np.float32)
        of_term[columns] = 1
        of_concepts = attributes.strengths[concepts]
        shared = of_concepts @ of_term
        stated = np.asarray(of_concepts.sum(axis=1)).ravel()
        # A term may state one of several strengths, but of 5/325 and 5/500 only one strength is the same.
        agree = (shared > 0) & ((shared == stated) | (len(strengths) == 1))
        in_concept = stated > 0
        in_term = bool(strengths)
        without = is_drug & ~in_concept & in_term
        # A bare ingredient answers to a strength that no product has, but not beside one that has it.
        left_out = self._leaves_out(concepts, without, agree)

        bits = (attributes.dose_form_bit.get(form, 0) for form in drugs.dose_forms(term.original))
        term_forms = np.uint64(sum(bits))
        forms = attributes.dose_forms[concepts]
        shared_forms = (forms & term_forms) > 0

        brand_words = attributes.brand_words[concepts]
        brand_size = np.asarray(brand_words.sum(axis=1)).ravel()
        brand = attributes.brand[concepts]
        named = brand & (brand_words @ term.words[:, 0] >= brand_size) & (brand_size > 0)

        text = term.original
        ingredients = 1 + text.count("/") + text.count("+") + text.lower().count(" and ")
        extra = np.clip(attributes.ingredients[concepts] - ingredients, 0, _MAX_EXTRA_INGREDIENTS)
        return {
            "strengths agree": agree,
            "strengths differ": in_concept & in_term & ~agree,
            "strength only in the concept": in_concept & (not in_term),
            "strength only in the term": without & ~left_out,
            "strength left out": left_out,
            "dose forms agree": shared_forms,
            "dose forms differ": (forms > 0) & (term_forms > 0) & ~shared_forms,
            "dose form only in the concept": (forms > 0) & (term_forms == 0),
            "dose form only in the term": is_drug & (forms == 0) & (term_forms > 0),
            "brand in the term": named,
            "brand not in the term": brand & ~named,
            "more ingredients than the term": extra * is_drug,
            "box": attributes.box[concepts],
            "supplier": attributes.supplier[concepts],
            "quantity": attributes.quantity[concepts],
            **{f"drug: {name}": level == number for number, name in enumerate(LEVELS)},
            **{
                f"drug: {name}, term has a strength": (level == number) & in_term & ~left_out
                for number, name in enumerate(LEVELS)
            },
        }

    def _leaves_out(self, concepts: Ints, without: Mask, agree: Mask) -> Mask:
        """(p,) whether a drug has no strength, and one of its words and number of ingredients has it."""
        result = np.zeros(len(concepts), bool)
        drugs_without, drugs_with = np.flatnonzero(without), np.flatnonzero(agree)
        if len(drugs_without) and len(drugs_with):
            names = self._words[self._name_rows[concepts]].sign()
            words = names[drugs_without]
            ingredients = self._attributes.ingredients[concepts]
            has_all = (words @ names[drugs_with].T).toarray() == np.asarray(words.sum(axis=1))
            as_many = ingredients[drugs_without][:, None] == ingredients[drugs_with][None, :]
            result[drugs_without] = (has_all & as_many).any(axis=1)
        return result
