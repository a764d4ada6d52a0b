"""Misspelling: texts with the vocabulary's own words for those that it does not know."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from itertools import islice, product

from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.terms.words import normalise

_NEAR = 0.75  # difflib's ratio
_SHORTEST = 4  # letters; shorter words are near to too many
_TEXTS, _WORDS, _MOST = 60, 3, 3


def is_near(word: str, others: Iterable[str]) -> bool:
    """Whether a word may be a misspelling of one of some others."""
    return bool(_nearest(word, others))


def corrected(text: str, lexical: LexicalIndex) -> list[str]:
    """Texts that a text with words unknown to the vocabulary may mean, the nearest first; [] if it has none.

    A number, a sign and a short word are never replaced, and a text of which a word stays unknown is none.
    """
    words = normalise(text).split()
    known = lexical.words.column
    choices: list[Sequence[str]] = []
    for word in words:
        if word in known:
            choices.append([word])
            continue
        if not word.isalpha() or len(word) < _SHORTEST:
            return []
        choices.append(_nearest(word, _words_like(word, lexical)))
    if all(word in known for word in words):
        return []
    return [" ".join(chosen) for chosen in islice(product(*choices), _MOST)]


def _words_like(word: str, lexical: LexicalIndex) -> list[str]:
    """The words of the texts that share most 3-grams with a word."""
    _, texts = lexical.search(lexical.encode([word]), [None], _TEXTS)
    found = (normalise(lexical.lexicon.texts[row]).split() for row in texts.tolist())
    return list(dict.fromkeys(one for of_text in found for one in of_text))


def _nearest(word: str, others: Iterable[str]) -> list[str]:
    candidates = [one for one in others if one.isalpha() and len(one) >= _SHORTEST]
    return difflib.get_close_matches(word, candidates, n=_WORDS, cutoff=_NEAR)
