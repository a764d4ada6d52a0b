"""Harvested abbreviations: short forms that a vocabulary's own texts explain, with how often each is seen."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from omop_emb.mapping.terms.words import normalise

Abbreviations = Mapping[str, Sequence[tuple[str, int]]]
"""Short form as written -> (long form, in how many concepts it is seen), the commonest first."""

_SHORT = r"[A-Z][A-Za-z0-9]{1,7}"
_BEFORE = re.compile(rf"({_SHORT}) - ([A-Za-z][^()\[\];]*)")  # MI - Myocardial infarction
_INSIDE = re.compile(rf"\(({_SHORT})\)")  # Erythropoietin (EPO)
_AFTER = re.compile(rf"(?<![\w-])({_SHORT}) \(([a-z][^()\[\];]*)\)")  # CMV (cytomegalovirus)
_WORD = re.compile(r"[A-Za-z0-9]+")
_LINKING = frozenset("a an and by for from in of on or the to with".split())
_MOST_MEANINGS = 4


def harvest(texts: Iterable[tuple[int, str]]) -> dict[str, tuple[tuple[str, int], ...]]:
    """The abbreviations in (concept row, text) pairs, see is_short_form()."""
    seen: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    written: dict[str, Counter[str]] = defaultdict(Counter)
    for row, text in texts:
        for short, long in _pairs(text):
            key = normalise(long)
            seen[short][key].add(row)
            written[key][long] += 1
    result = {}
    for short in sorted(seen):
        by_count = sorted(seen[short].items(), key=lambda item: (-len(item[1]), item[0]))[:_MOST_MEANINGS]
        result[short] = tuple((written[key].most_common(1)[0][0], len(rows)) for key, rows in by_count)
    return result


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """(short form, long form) of each explanation in a text."""
    if match := _BEFORE.fullmatch(text):
        if is_short_form(match[1], match[2]):
            yield match[1], match[2].strip()
        return
    if "(" not in text:
        return
    for match in _AFTER.finditer(text):
        if is_short_form(match[1], match[2]):
            yield match[1], match[2].strip()
    for match in _INSIDE.finditer(text):
        words = list(_WORD.finditer(text, 0, match.start()))[-2 * len(match[1]) :]
        # The shortest run of words that explains it, as Schwartz and Hearst (2003) choose it.
        for first in reversed(words):
            long = text[first.start() : match.start()].strip()
            if first.group().casefold() not in _LINKING and is_short_form(match[1], long):
                yield match[1], long
                break


def is_short_form(short: str, long: str) -> bool:
    """Whether a long form's letters spell a short one: each of its words begins a letter, in order.

    Letters inside a word may follow its first (OsteoArthritis), and linking words may have none.
    """
    words = _WORD.findall(long.casefold())
    if not words or short.casefold() in words or len(long) < len(short) + 3 or set("()[]") & set(long):
        return False
    is_too_short = len(words) == 1 and len(short) == 2  # "DC - Docetaxel"
    return not is_too_short and _spells(short.casefold(), words)


def _spells(letters: str, words: Sequence[str]) -> bool:
    """Whether the letters stand in the words in order, the first of each word but linking ones among them."""
    if not words:
        return not letters
    first, rest = words[0], words[1:]
    if first in _LINKING and _spells(letters, rest):
        return True
    if not letters or letters[0] != first[0]:
        return False
    position, taken = 0, 1
    while True:
        if _spells(letters[taken:], rest):
            return True
        if taken == len(letters):
            return False
        position = first.find(letters[taken], position + 1)
        if position < 0:
            return False
        taken += 1


def expand_harvested(text: str, abbreviations: Abbreviations) -> Iterator[str]:
    """The text with each long form of each abbreviation that it writes as the vocabulary does.

    A text of one word, or of several that are not all in capitals, may be one: "ALL" in capitals is an
    abbreviation, in a sentence of capitals it may be a word.
    """
    if text.isupper() and len(text.split()) > 1:
        return
    for match in _WORD.finditer(text):
        for long, _ in abbreviations.get(match.group(), ()):
            yield f"{text[: match.start()]}{long}{text[match.end() :]}"
