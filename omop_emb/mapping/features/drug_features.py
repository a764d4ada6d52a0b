"""What a term and drugs' names say of strength, dose form, brand and pack, as features."""

from __future__ import annotations

import numpy as np

from omop_emb.arrays import Floats, Ints
from omop_emb.mapping.features.names import Put
from omop_emb.mapping.retrieval.concept_attributes import LEVELS, Facts
from omop_emb.mapping.terms import drugs


def describe(
    facts: Facts,
    term: str,
    words: Floats,
    concepts: Ints,
    put: Put,
) -> None:
    """Features of candidates of which some are drugs.

    Args:
        facts: what the vocabulary's names say.
        term: the term as it stands.
        words: (words,) 1 for each of its words.
        concepts: (p,) rows of the candidates.
        put: where a feature's (p,) values go.
    """
    level = facts.level[concepts]
    drug = level >= 0
    strengths = drugs.strengths(term)
    known = [facts.strength_column[value] for value in strengths if value in facts.strength_column]
    wanted = np.zeros(facts.strengths.shape[1], np.float32)
    wanted[known] = 1
    states = facts.strengths[concepts]
    agreeing = states @ wanted
    stated = np.asarray(states.sum(axis=1)).ravel() > 0
    asks = bool(strengths)
    put("strengths agree", agreeing > 0)
    put("strengths differ", stated & asks & (agreeing == 0))
    put("strength only in the concept", stated & (not asks))
    put("strength only in the term", drug & ~stated & asks)
    asked = np.uint64(sum(facts.form_bit.get(form, 0) for form in drugs.dose_forms(term)))
    forms = facts.forms[concepts]
    put("forms agree", (forms & asked) > 0)
    put("forms differ", (forms > 0) & (asked > 0) & ((forms & asked) == 0))
    put("form only in the concept", (forms > 0) & (asked == 0))
    put("form only in the term", drug & (forms == 0) & (asked > 0))
    brand_words = facts.brand_words[concepts]
    hit = brand_words @ words
    all_words = np.asarray(brand_words.sum(axis=1)).ravel()
    in_term = facts.brand[concepts] & (hit >= all_words) & (all_words > 0)
    put("brand in the term", in_term)
    put("brand not in the term", facts.brand[concepts] & ~in_term)
    listed = 1 + term.count("/") + term.count("+") + term.lower().count(" and ")
    put("more ingredients than the term", np.clip(facts.parts[concepts] - listed, 0, 3) * drug)
    put("box", facts.box[concepts])
    put("supplier", facts.supplier[concepts])
    put("quantity", facts.quantity[concepts])
    for number, name in enumerate(LEVELS):
        put(f"drug: {name}", level == number)
        put(f"drug: {name}, term has a strength", (level == number) & asks)
