"""Contrasts: differences that change what a term means (laterality, negation, specimen …), as bits."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import numpy.typing as npt

from omop_emb.mapping.terms.data_files import read_toml
from omop_emb.mapping.terms.words import normalise

SPECIMEN = "specimen"
_NEVER_COMPARED = "analyte"
_WORD_BITS = 64


@cache
def _entries() -> dict[str, dict[str, list[str]]]:
    """Group -> value -> the words and phrases that name it."""
    return {
        key: values
        for key, values in read_toml("contrasts.toml").items()
        if isinstance(values, dict) and key != "understood"
    }


def compared_groups() -> list[str]:
    """Every group in which a term and a concept may differ."""
    return [group for group in _entries() if group != _NEVER_COMPARED]


def rare_groups() -> list[str]:
    """Groups with few examples, which share their features."""
    return list(read_toml("contrasts.toml")["rare"])


@cache
def groups() -> dict[str, dict[str, int]]:
    """Group -> value -> its bit; the bits of a group lie within one word of pack()."""
    position = 0
    result: dict[str, dict[str, int]] = {}
    for group, values in _entries().items():
        if position % _WORD_BITS + len(values) > _WORD_BITS:
            position += _WORD_BITS - position % _WORD_BITS
        result[group] = {value: 1 << position + number for number, value in enumerate(values)}
        position += len(values)
    return result


@cache
def masks() -> dict[str, int]:
    """Group -> all its bits."""
    return {group: sum(values.values()) for group, values in groups().items()}


@cache
def word_count() -> int:
    """How many 64-bit words hold the bits of all groups."""
    return max(mask.bit_length() + _WORD_BITS - 1 for mask in masks().values()) // _WORD_BITS


def pack(bits: int) -> npt.NDArray[np.uint64]:
    """(word_count(),) the bits as words of 64."""
    return np.array(
        [bits >> _WORD_BITS * word & (1 << _WORD_BITS) - 1 for word in range(word_count())], np.uint64
    )


def _named(*, beginning: bool = False) -> Iterator[tuple[str, int]]:
    """Every entry in normal form (or every beginning of a word) with its bits; 0 for what is passed over."""
    listed = [(entry, 0) for entry in read_toml("contrasts.toml")["passed_over"]]
    for group, values in _entries().items():
        for value, entries in values.items():
            listed += [(entry, groups()[group][value]) for entry in entries]
    for entry, bit in listed:
        if entry.endswith("*") == beginning:
            yield normalise(entry.rstrip("*")), bit


@cache
def word_bits() -> dict[str, int]:
    """Normalised word -> the bits that it sets."""
    result: dict[str, int] = {}
    for entry, bits in _named():
        if " " not in entry:
            result[entry] = result.get(entry, 0) | bits
    return result


@cache
def phrases() -> dict[tuple[str, ...], int]:
    """Several normalised words in a row -> the bits that they set together, instead of each word's own."""
    result: dict[tuple[str, ...], int] = {}
    for entry, bits in _named():
        if " " in entry:
            words = tuple(entry.split())
            result[words] = result.get(words, 0) | bits
    return result


@cache
def beginnings() -> dict[str, int]:
    """Beginning of a word -> the bits that it sets; the longest beginning counts."""
    return dict(sorted(_named(beginning=True), key=lambda entry: -len(entry[0])))


@cache
def _phrases_by_word() -> dict[str, list[tuple[tuple[str, ...], int]]]:
    result: dict[str, list[tuple[tuple[str, ...], int]]] = {}
    for words, bits in sorted(phrases().items(), key=lambda item: -len(item[0])):
        result.setdefault(words[0], []).append((words, bits))
    return result


def bits_of_word(word: str) -> int:
    """The values that a normalised word names on its own."""
    if (known := word_bits().get(word)) is not None:
        return known
    return next((bits for start, bits in beginnings().items() if word.startswith(start)), 0)


def bits(normal_text: str) -> int:
    """The values that a normalised text names; "not elsewhere classified" and the like are no negation."""
    by_word, words = _phrases_by_word(), normal_text.split()
    result = position = 0
    while position < len(words):
        for phrase, of_phrase in by_word.get(words[position], ()):
            if tuple(words[position : position + len(phrase)]) == phrase:
                result |= of_phrase
                position += len(phrase)
                break
        else:
            result |= bits_of_word(words[position])
            position += 1
    return result


def understood(concept_bits: int, group: str) -> int:
    """The values of a group that are meant where a term names none, for a concept with these bits."""
    values = groups()[group]
    result = sum(values[value] for value in read_toml("contrasts.toml")["understood"].get(group, ()))
    if group == SPECIMEN and concept_bits & masks()[_NEVER_COMPARED]:
        result &= ~values["serum"]
    return result


def passed_over_alone(group: str, concept_bits: int = 0) -> int:
    """The values of a group that are no difference where only the term or only the concept names one."""
    is_all = group in read_toml("contrasts.toml")["opposites_only"]
    return masks()[group] if is_all else understood(concept_bits, group)


def _value_names(bits: int, group: str) -> str:
    return " and ".join(name for name, bit in groups()[group].items() if bits & bit)


def differences(term_bits: int, concept_bits: int, *, measures: bool = True) -> list[str]:
    """Groups in which a term and a concept disagree or only one names a value, as text for a reviewer.

    Args:
        term_bits: what the term names, see bits().
        concept_bits: what the concept names.
        measures: whether the concept may be a measurement, so that specimens are compared.
    """
    result = []
    for group in compared_groups():
        if group == SPECIMEN and not measures:
            continue
        in_term, in_concept = term_bits & masks()[group], concept_bits & masks()[group]
        if group == SPECIMEN and in_term == groups()[SPECIMEN]["blood"]:
            in_term |= understood(concept_bits, SPECIMEN)  # it is also said of what is measured in serum
        if in_term & in_concept or not (in_term or in_concept):
            continue
        of_term, of_concept = _value_names(in_term, group), _value_names(in_concept, group)
        if in_term and in_concept:
            result.append(f"{group}: {of_term} in the term, {of_concept} in the concept")
        elif (in_term | in_concept) & passed_over_alone(group, concept_bits):
            continue
        elif in_concept:
            result.append(f"{group}: the concept says {of_concept}, the term does not")
        else:
            result.append(f"{group}: the term says {of_term}, the concept does not")
    return result
