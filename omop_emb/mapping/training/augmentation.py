"""Augmentation: texts as they come from hospitals, with typing errors, other case and words left out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from omop_emb.mapping.terms import contrasts
from omop_emb.mapping.terms.words import normalise

_CHANGED_SHARE = 0.5
"""Of the texts; the others stay as they are, so that clean texts are not forgotten."""
_SHORTEST_WORD = 4
_SHORTENED_LETTERS = 4


def augmented(text: str, random: np.random.Generator) -> str:
    """A text, changed in one way or left as it is; digits are never changed, and no text becomes empty."""
    if random.random() >= _CHANGED_SHARE:
        return text
    change = _CHANGES[int(random.integers(len(_CHANGES)))]
    return change(text, random) or text


def _typing_error(text: str, random: np.random.Generator) -> str:
    """Two letters of a longer word swapped, or one left out or doubled."""
    words = text.split(" ")
    long = [index for index, word in enumerate(words) if len(word) >= _SHORTEST_WORD and word.isalpha()]
    if not long:
        return text
    index = int(random.choice(long))
    word, at = words[index], int(random.integers(1, len(words[index]) - 1))
    kinds = (
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
    )
    words[index] = kinds[int(random.integers(len(kinds)))]
    return " ".join(words)


def _other_case(text: str, random: np.random.Generator) -> str:
    return text.upper() if random.random() < _CHANGED_SHARE else text.lower()


def _dropped_word(text: str, random: np.random.Generator) -> str:
    """Without one of four or more words; never a number, a side, or what else changes the meaning."""
    words = text.split(" ")
    droppable = [
        index for index, word in enumerate(words) if word.isalpha() and not contrasts.bits(normalise(word))
    ]
    if len(words) < _SHORTEST_WORD or not droppable:
        return text
    del words[int(random.choice(droppable))]
    return " ".join(words)


def _abbreviation(text: str, random: np.random.Generator) -> str:
    """With one longer word cut to its first letters."""
    words = text.split(" ")
    long = [
        index for index, word in enumerate(words) if len(word) > _SHORTENED_LETTERS + 2 and word.isalpha()
    ]
    if not long:
        return text
    index = int(random.choice(long))
    words[index] = words[index][:_SHORTENED_LETTERS] + ("." if random.random() < _CHANGED_SHARE else "")
    return " ".join(words)


_CHANGES: tuple[Callable[[str, np.random.Generator], str], ...] = (
    _typing_error,
    _other_case,
    _dropped_word,
    _abbreviation,
)
