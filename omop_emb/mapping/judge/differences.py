"""Differences: what tells a term's candidates from each other and from the term, in words for a judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from omop_emb.mapping.records import Candidate
from omop_emb.mapping.terms import contrasts
from omop_emb.mapping.terms.words import normalise

_SMALL = frozenset("a an and by for from in of on or the to with".split())
_MIN_PLURAL = 4  # letters; a shorter word keeps its s


def what_each_says(names: Sequence[str]) -> list[dict[str, str]]:
    """What each name says about side, negation, course, specimen … where the names do not all say the same.

    By group of contrasts, "nothing" for a name that says nothing about it: [{"laterality": "left"}, …].
    """
    bits = [contrasts.bits(normalise(name)) for name in names]
    masks = contrasts.masks()
    differing = [
        group for group in contrasts.compared_groups() if len({one & masks[group] for one in bits}) > 1
    ]
    return [{group: _values(group, one) or "nothing" for group in differing} for one in bits]


def words_apart(term: str, candidate: Candidate) -> Mapping[str, tuple[str, ...]]:
    """Words that only the candidate's name has (`adds`), and those that only the term has (`lacks`).

    A term that was rewritten is compared as it was rewritten. There are none if the term is what the
    candidate is called otherwise.
    """
    own = _words(candidate.variant.text or term)
    name = _words(candidate.concept_name)
    called = _words(candidate.matched_text)
    if own.keys() == called.keys():
        return {"adds": (), "lacks": ()}
    return {
        "adds": tuple(word for key, word in name.items() if key not in own),
        "lacks": tuple(word for key, word in own.items() if key not in name),
    }


def _values(group: str, bits: int) -> str:
    return " and ".join(value for value, bit in contrasts.groups()[group].items() if bits & bit)


def _words(text: str) -> dict[str, str]:
    """The words of a text by what they have in common with their plural."""
    words = (word for word in normalise(text).split() if word not in _SMALL)
    return {word[:-1] if len(word) >= _MIN_PLURAL and word.endswith("s") else word: word for word in words}
