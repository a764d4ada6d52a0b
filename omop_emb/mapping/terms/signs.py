"""Signs: polarity, comparators and powers of ten that a text states, and how two texts differ in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache

from omop_emb.mapping.terms.data_files import read_toml
from omop_emb.mapping.terms.words import fold, normalise

Signs = tuple[tuple[str, str], ...]
"""(group, value) of each group that a text states."""

GROUPS = ("polarity", "comparator", "power of ten", "negative number", "reciprocal", "direction")
"""A term and a concept that differ in one of these are not accepted as the same."""

_POLARITY, _COMPARATOR, _POWER, _NEGATIVE, _RECIPROCAL, _DIRECTION = GROUPS
# "a + b" and "a+b" add; "a+b+" and "a+" are signs.
_ADDITION = re.compile(
    r"(?<=[a-z0-9)\]%])\+(?=[(a-z0-9][a-z0-9]*(?:[^a-z0-9+-]|$))| \+ ?(?!ve\b)(?=[a-z(])| \+ (?=\d)"
)
# Most texts have no signs, and these patterns read them once: none goes back at each digit.
_MAY_SAY_SIGN = re.compile(
    r"[<>+*^\u00b1\u2190-\u21ff\u2260-\u226f\u2070-\u207f\u00b2\u00b3\u00b9\u2212]|-(?:(?![^\W_])|(?<![^\W_)\]]-)\d|ve\b)"
    r"|pos(?:it|\b)|neg(?:at|\b)|react|detect|nachweis|aantoon|equivoc|in(?:determ|conclus)|than|below|under"
    r"|above|over|at (?:least|most)|up to|ex(?:ceed|p)|\de"
)
_MAY_BEGIN_AS_SIGN = re.compile(r" ?(?:1? ?/|per\b)")
_CHOICE = re.compile(r"\d.* (?:or|and) ")
_NUMBER = r"[-+]?\d[\d.,]*"


def _any_of(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


@cache
def _tables() -> dict[str, dict[str, list[str]]]:
    return read_toml("signs.toml")


@cache
def _values(table: str) -> dict[str, str]:
    """Word or sign -> what it says."""
    return {word: value for value, words in _tables()[table].items() for word in words}


@cache
def _pattern() -> re.Pattern[str]:
    tables = _tables()
    polarity, joined, ion = tables["polarity"], tables["joined"], tables["ion"]
    says = [word for value, words in polarity.items() if value != "other" for word in words]
    return re.compile(
        rf"""(?<!\S)(?:
        (?P<nothing> {_any_of(polarity["other"])} | (?:{_any_of(ion["cation"])})\ \++
            | (?:{_any_of(ion["anion"])})(?:\ [23])?\ -+ | {_NUMBER}\ -(?=\ [a-z\d])
            | (?:{_any_of(joined["before"])})\ - | \S+\ -(?=\ (?:{_any_of(joined["after"])})\ ) )
        | x?10\ (?:\*\*?|\^|e|exp)\ (?P<exponent>[-+]?\d+) | x?10?(?:e|exp)\+?(?P<short_exponent>\d+)
        | x?10?e\ (?P<spaced_exponent>[-+]\ \d+) | x\ ?10\ (?P<signed_exponent>-\d+)
        | (?P<comparator> {_any_of(_values("comparator"))})\ (?P<number>{_NUMBER})
        | (?P<bare_comparator> [<>]=?)
        | (?P<number_before> {_NUMBER})(?:\ [a-z]+)??\ (?P<after> {_any_of(_values("comparator_after"))})
        | (?P<negative_number> -\d[\d.,]*)
        | no\ (?:\S+\ ){{0,4}}(?P<no>detected|detectable)
        | (?P<polarity> {_any_of(says)} | \++ | -+)
        )(?!\S)""",
        re.VERBOSE,
    )


def signs_of(text: str) -> Signs:
    """What a text's signs say, group by group; a group without signs is left out."""
    if not _may_have_signs(text.lower()):
        return ()
    folded = " ".join(fold(text).split())
    words = normalise(_ADDITION.sub(" ", folded))
    found: dict[str, list[str]] = {group: [] for group in GROUPS}
    for match in _pattern().finditer(words):
        _read(match, found)
    if words.startswith(("/ ", "1 / ", "per ")):
        found[_RECIPROCAL].append("per")
    found[_DIRECTION] += [letter for letter in folded if letter in "\u2191\u2193"]
    polarity = found[_POLARITY]
    # Order tells "ER+ PR-" from "ER- PR+"; saying a thing twice adds nothing.
    found[_POLARITY] = [value for n, value in enumerate(polarity) if n == 0 or value != polarity[n - 1]]
    for group in (_COMPARATOR, _POWER, _NEGATIVE):
        found[group] = sorted(set(found[group]))
    return tuple((group, ", ".join(values)) for group, values in found.items() if values)


def _may_have_signs(text: str) -> bool:
    if _MAY_SAY_SIGN.search(text) or _MAY_BEGIN_AS_SIGN.match(text):
        return True
    return (" or " in text or " and " in text) and _CHOICE.search(text) is not None


def _read(match: re.Match[str], found: dict[str, list[str]]) -> None:
    exponents = ("exponent", "short_exponent", "spaced_exponent", "signed_exponent")
    if exponent := next((match[name] for name in exponents if match[name]), ""):
        found[_POWER].append(str(int(exponent.replace(" ", ""))))
    elif match["comparator"]:
        found[_COMPARATOR].append(f"{_values('comparator')[match['comparator']]} {_plain(match['number'])}")
    elif match["bare_comparator"]:
        found[_COMPARATOR].append(match["bare_comparator"])
    elif match["after"]:
        comparator = _values("comparator_after")[match["after"]]
        found[_COMPARATOR].append(f"{comparator} {_plain(match['number_before'])}")
    elif match["negative_number"]:
        found[_NEGATIVE].append(_plain(match["negative_number"]))
    elif match["no"]:
        found[_POLARITY].append("negative")
    elif word := match["polarity"]:
        sign = {"+": "positive", "-": "negative"}.get(word[:1], "")
        # "++" is another grade than "+"
        value = _values("polarity").get(word) or (word if sign and len(word) > 1 else sign)
        found[_POLARITY].append(value)


def _plain(number: str) -> str:
    """A number with a decimal point and no thousands' commas."""
    digits = re.sub(r"(?<=\d),(?=\d{3}(?:\D|$))", "", number).replace(",", ".").rstrip(".")
    try:
        return f"{float(digits):g}"
    except ValueError:
        return digits


def differences(term: Signs, concept: Signs, *, is_unit: bool = False, same_unit: bool = False) -> list[str]:
    """Groups in which a term and a concept differ, as text for a reviewer.

    A positive power of ten that only one of them states counts among units alone: elsewhere it belongs to the
    unit of a measurement. So does a reciprocal. Neither counts if both are the same unit by their keys.
    """
    of_term, of_concept = dict(term), dict(concept)
    result = []
    for group in GROUPS:
        ours, theirs = of_term.get(group, ""), of_concept.get(group, "")
        if ours == theirs:
            continue
        is_one_sided = not (ours and theirs)
        if group == _RECIPROCAL and (same_unit or not is_unit):
            continue
        if group == _POWER and is_one_sided and (same_unit or not (is_unit or "-" in ours + theirs)):
            continue
        if not is_one_sided:
            result.append(f"{group}: {ours} in the term, {theirs} in the concept")
        elif theirs:
            result.append(f"{group}: the concept says {theirs}, the term does not")
        else:
            result.append(f"{group}: the term says {ours}, the concept does not")
    return result


def closest_differences(
    terms: Sequence[Signs], concepts: Sequence[Signs], *, is_unit: bool = False, same_unit: bool = False
) -> list[str]:
    """The differences from the first of a concept's texts; none if any text agrees with any of the term's."""
    closest: list[str] | None = None
    for term in terms:
        for concept in concepts:
            found = differences(term, concept, is_unit=is_unit, same_unit=same_unit)
            if not found:
                return []
            closest = closest or found
    return closest or []


def objection(flags: Iterable[str]) -> str:
    """The first flag that is a difference in signs, which forbids acceptance; "" if there is none."""
    return next((flag for flag in flags if flag.split(":")[0] in GROUPS), "")
