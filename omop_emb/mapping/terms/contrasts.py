"""Contrasts: differences that change what a term means (laterality, negation, specimen …), as bits."""

from __future__ import annotations

import re
from functools import cache

from omop_emb.mapping.terms.data_files import read_toml
from omop_emb.mapping.terms.words import normalise


@cache
def _words() -> dict[str, dict[str, list[str]]]:
    """Group -> value -> its words."""
    return {key: value for key, value in read_toml("contrasts.toml").items() if isinstance(value, dict)}


@cache
def _unspecified() -> re.Pattern[str]:
    phrases = read_toml("contrasts.toml")["unspecified"]
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, phrases))})\b")


@cache
def groups() -> dict[str, dict[str, int]]:
    """Group -> value -> its bit."""
    bit = 1
    result: dict[str, dict[str, int]] = {}
    for group, values in _words().items():
        result[group] = {}
        for value in values:
            result[group][value] = bit
            bit <<= 1
    return result


@cache
def masks() -> dict[str, int]:
    """Group -> all its bits."""
    return {group: sum(values.values()) for group, values in groups().items()}


@cache
def word_bits() -> dict[str, int]:
    """Normalised word -> the bits that it sets."""
    result: dict[str, int] = {}
    for group, values in _words().items():
        for value, words in values.items():
            for word in map(normalise, words):
                if " " not in word:
                    result[word] = result.get(word, 0) | groups()[group][value]
    return result


def bits(normal_text: str) -> int:
    """The values that a normalised text names; "not elsewhere classified" and the like are no negation."""
    known = word_bits()
    result = 0
    for word in _unspecified().sub(" ", normal_text).split():
        result |= known.get(word, 0)
    return result


def _value_names(bits: int, group: str) -> str:
    return " and ".join(name for name, bit in groups()[group].items() if bits & bit)


def differences(term_bits: int, concept_bits: int) -> list[str]:
    """Groups in which a term and a concept disagree or only one names a value, as text for a reviewer."""
    result = []
    for group, mask in masks().items():
        in_term, in_concept = term_bits & mask, concept_bits & mask
        if in_term == in_concept:
            continue
        of_term, of_concept = _value_names(in_term, group), _value_names(in_concept, group)
        if in_term and in_concept and not in_term & in_concept:
            result.append(f"{group}: {of_term} in the term, {of_concept} in the concept")
        elif in_concept and not in_term and group != "specimen":
            result.append(f"{group}: the concept says {of_concept}, the term does not")
        elif in_term and not in_concept:
            result.append(f"{group}: the term says {of_term}, the concept does not")
    return result
