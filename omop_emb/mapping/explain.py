"""Differences between a term and a candidate that a person must see before approving."""

from __future__ import annotations

from omop_emb.mapping.retrieval.lexicon import Lexicon
from omop_emb.mapping.terms import contrasts, drugs
from omop_emb.mapping.terms.normalise import specimen
from omop_emb.mapping.terms.words import normal


def flags(term: str, concept_name: str, *, is_drug: bool) -> tuple[str, ...]:
    """Laterality, negation, course, specimen … and strengths that disagree; for a person to read."""
    said = contrasts.bits(normal(term))
    laboratory = specimen(term)
    if laboratory is not None:
        said |= contrasts.bits(normal(laboratory[1]))
    found = contrasts.differences(said, contrasts.bits(normal(concept_name)))
    if is_drug:
        ours, theirs = drugs.strengths(term), drugs.strengths(concept_name)
        if ours and theirs and not set(ours) & set(theirs):
            found.append(f"strength: {_listed(ours)} in the term, {_listed(theirs)} in the concept")
    return tuple(found)


def _listed(values: tuple[float, ...]) -> str:
    return " and ".join(f"{value:g}" for value in values)


def is_drug(lexicon: Lexicon, row: int) -> bool:
    """Whether a concept is a drug."""
    return bool(lexicon.domains[lexicon.domain[row]] == "Drug")
