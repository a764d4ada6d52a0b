"""What a term states: its contrasts, read from the term and from the variant of it that matched."""

from __future__ import annotations

from functools import lru_cache

from omop_emb.mapping.terms import contrasts
from omop_emb.mapping.terms.sides import write_sides
from omop_emb.mapping.terms.variants import prefixed_specimen
from omop_emb.mapping.terms.words import normalise


@lru_cache(maxsize=10_000)
def stated_contrasts(term: str, variant: str) -> int:
    """The bits (see contrasts.py) of a term that matched in the words of a variant.

    "COPD" matched as "chronic obstructive pulmonary disease" says chronic. What the term itself says counts
    too, since a variant may be a part of it.
    """
    result = 0
    for text in dict.fromkeys((term, variant)):
        result |= contrasts.bits(normalise(write_sides(text)))
    if (laboratory := prefixed_specimen(term)) is not None:
        result |= contrasts.bits(normalise(laboratory[1]))
    return result
