"""Differences that matter (laterality, negation, course, specimen …) as bits that can be compared."""

from __future__ import annotations

import re
from functools import cache

from omop_emb.mapping.terms.data_files import settings
from omop_emb.mapping.terms.words import normal


@cache
def _words() -> dict[str, dict[str, list[str]]]:
    """Group -> value -> its words."""
    return {key: value for key, value in settings("contrasts.toml").items() if isinstance(value, dict)}


@cache
def unspecified() -> re.Pattern[str]:
    """Phrases of a normal text that say no more than that nothing more is known."""
    phrases = settings("contrasts.toml")["unspecified"]
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, phrases))})\b")


@cache
def groups() -> dict[str, dict[str, int]]:
    """Group -> value -> its bit."""
    place = 0
    result: dict[str, dict[str, int]] = {}
    for group, values in _words().items():
        result[group] = {}
        for value in values:
            result[group][value] = 1 << place
            place += 1
    return result


@cache
def masks() -> dict[str, int]:
    """Group -> all its bits."""
    return {group: sum(values.values()) for group, values in groups().items()}


@cache
def word_bits() -> dict[str, int]:
    """Normal word -> the bits that it sets."""
    found: dict[str, int] = {}
    for group, values in _words().items():
        for value, words in values.items():
            for written in words:
                word = normal(written)
                if " " not in word:
                    found[word] = found.get(word, 0) | groups()[group][value]
    return found


def bits(normal_text: str) -> int:
    """What a normal text says, one bit a value; "not elsewhere classified" and the like deny nothing."""
    known = word_bits()
    result = 0
    for word in unspecified().sub(" ", normal_text).split():
        result |= known.get(word, 0)
    return result


def named(value: int, group: str) -> list[str]:
    """Names of a group's values whose bits are set."""
    return [name for name, bit in groups()[group].items() if value & bit]


def differences(term: int, concept: int) -> list[str]:
    """Where a term and a concept disagree, or one says what the other does not, for a person to read."""
    found = []
    for group, mask in masks().items():
        ours, theirs = term & mask, concept & mask
        if ours == theirs:
            continue
        left, right = " and ".join(named(ours, group)), " and ".join(named(theirs, group))
        if ours and theirs and not ours & theirs:
            found.append(f"{group}: {left} in the term, {right} in the concept")
        elif theirs and not ours and group != "specimen":
            found.append(f"{group}: the concept says {right}, the term does not")
        elif ours and not theirs:
            found.append(f"{group}: the term says {left}, the concept does not")
    return found
