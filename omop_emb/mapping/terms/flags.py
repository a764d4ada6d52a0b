"""Flags: the differences between a term and a concept's name that a reviewer must see."""

from __future__ import annotations

from omop_emb.mapping.terms import contrasts, drugs
from omop_emb.mapping.terms.stated import stated_contrasts
from omop_emb.mapping.terms.words import normalise

_MEASURING_DOMAINS = ("Measurement", "Observation")


def flags(term: str, variant: str, concept_name: str, domain: str) -> tuple[str, ...]:
    """Differences that a reviewer must see: laterality, negation, course, specimen … and strength.

    Args:
        term: as the source writes it.
        variant: the text of the variant of it that matched.
        concept_name: the concept's name.
        domain: the concept's domain.
    """
    differences = contrasts.differences(
        stated_contrasts(term, variant),
        contrasts.bits(normalise(concept_name)),
        measures=domain in _MEASURING_DOMAINS,
    )
    if domain == "Drug":
        ours, theirs = drugs.strengths(term), drugs.strengths(concept_name)
        # Of 5/325 and 5/500 one strength is the same; a term may state one of several.
        agrees = set(theirs) <= set(ours) or (len(ours) == 1 and ours[0] in theirs)
        if ours and not theirs:
            differences.append(f"strength: the term says {_joined(ours)}, the concept does not")
        elif ours and not agrees:
            differences.append(f"strength: {_joined(ours)} in the term, {_joined(theirs)} in the concept")
    return tuple(differences)


def _joined(values: tuple[float, ...]) -> str:
    return " and ".join(f"{value:g}" for value in values)
