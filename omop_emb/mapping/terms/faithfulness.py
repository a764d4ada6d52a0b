"""Faithfulness: whether a translation keeps the numbers, strengths, units and codes of its original."""

from __future__ import annotations

import re
from collections import Counter

from omop_emb.mapping.terms.drugs import strengths
from omop_emb.mapping.terms.numbers import NUMBER, parse_number, plain_numbers
from omop_emb.mapping.terms.typography import decomposed
from omop_emb.mapping.terms.unit_symbols import everyday_symbol

_NUMBER = re.compile(NUMBER)
_COMPARISON = re.compile(r"[<>]=?")
# A few letters with a digit: B12, HbA1c, K35. "1st" begins with a number, "drain3" is a word with one.
_CODE = re.compile(r"(?<![^\W_])[a-z]{1,4}\d[a-z\d]*", re.IGNORECASE)
_RATIO_OF_UNITS = re.compile(r"(?<![^\W_])([^\W\d_]+)(?:\s?/\s?|\s+per\s+)([^\W\d_]+)(?![^\W_])")
_WORD = re.compile(r"(?<![^\W_])[IVX]+(?![^\W_])")
# Roman numbers that are hardly anything else, and those that may be a word or an abbreviation (IV, X-ray).
_ROMAN = {"II": 2, "III": 3, "VI": 6, "VII": 7, "VIII": 8, "IX": 9, "XI": 11, "XII": 12}
_DOUBTFUL_ROMAN = {"I": 1, "IV": 4, "V": 5, "X": 10}


def changed_facts(original: str, translation: str) -> str:
    """The first kind of fact that a translation adds, loses or changes, "" for none.

    Kinds are "numbers", "strengths", "units", "codes" and "comparisons". Arabic and Roman numbers are the
    same. Where it cannot be told, as of a unit that is spelled out in another script, the answer is that the
    fact changed.
    """
    one, other = _plain(original), _plain(translation)
    if not _same_numbers(one, other):
        return "numbers"
    strength = strengths(one)
    if strength != strengths(other):
        return "strengths"
    # Strengths are compared with their units, whatever the language of these.
    if not strength and _units(one) != _units(other):
        return "units"
    if Counter(_COMPARISON.findall(one)) != Counter(_COMPARISON.findall(other)):
        return "comparisons"
    return "" if _has_codes_of(one, other) and _has_codes_of(other, one) else "codes"


def _plain(text: str) -> str:
    return decomposed(plain_numbers(text))


def _same_numbers(one: str, other: str) -> bool:
    return any(
        _numbers(one, roman) == _numbers(other, roman) for roman in (_ROMAN, {**_ROMAN, **_DOUBTFUL_ROMAN})
    )


def _numbers(text: str, roman: dict[str, int]) -> Counter[float]:
    numbers = Counter(parse_number(number) for number in _NUMBER.findall(text))
    numbers.update(float(roman[word]) for word in _WORD.findall(text) if word in roman)
    return numbers


def _units(text: str) -> Counter[tuple[str, str]]:
    """Units such as mmol/l, by their symbols; "y/o" is one only by accident, and is left out."""
    pairs = ((everyday_symbol(one), everyday_symbol(other)) for one, other in _RATIO_OF_UNITS.findall(text))
    return Counter((one, other) for one, other in pairs if one and other and len(one + other) > 2)


def _has_codes_of(one: str, other: str) -> bool:
    """Whether every code of a text is in another, where it may be written with a space or hyphen."""
    squeezed = "".join(filter(str.isalnum, other)).casefold()
    return all(code.casefold() in squeezed for code in _CODE.findall(one))
