"""Sides of the body: abbreviations and words of other languages for left and right, where they are one."""

from __future__ import annotations

import re
from functools import cache

from omop_emb.mapping.terms.data_files import read_toml
from omop_emb.mapping.terms.words import fold

_ENGLISH = {"left": "left", "right": "right", "both": "bilateral"}
_WORD = re.compile(r"[bB]/[lL](?![^\W_])|[^\W_]+")
# A letter alone in brackets or between hyphens: "(R)", "[L]", "-L-", and one that ends a term: "knee, R"
_ALONE = re.compile(r"^[(\[]\s*$|^\s*-\s*$|^,\s*$")
_ENDS = re.compile(r"^\s*[.)\],;:-]")


@cache
def _sides(kind: str) -> dict[str, str]:
    """Word -> English side."""
    return {
        word: _ENGLISH[side]
        for side, words in read_toml("sides.toml").get(kind, {}).items()
        for word in words
    }


@cache
def _words(kind: str) -> frozenset[str]:
    return frozenset(read_toml("sides.toml")["words"][kind])


@cache
def _all_sides() -> frozenset[str]:
    kinds = read_toml("sides.toml").keys() - {"words"}
    return frozenset(word for kind in kinds for word in _sides(kind))


def write_sides(text: str) -> str:
    """The text with every side of the body written as "left", "right" or "bilateral".

    Spanish "sin", which looks like one, is written as "without" before a word.
    """
    found = list(_WORD.finditer(text))
    words = [fold(match.group()) for match in found]
    if _all_sides().isdisjoint(words):
        return text
    pieces, end = [], 0
    for number, match in enumerate(found):
        before = text[found[number - 1].end() if number else 0 : match.start()]
        after = text[match.end() : found[number + 1].start() if number + 1 < len(found) else None]
        side = _side(words, number, before, after)
        if side is None:
            continue
        start, stop = _without_marks(text, match.start(), match.end())
        pieces += [text[end:start], " " if text[:start].rstrip() == text[:start] and start else "", side]
        if text[stop : stop + 1].isalnum():
            pieces.append(" ")
        end = stop
    return "".join([*pieces, text[end:]])


def _side(words: list[str], number: int, before: str, after: str) -> str | None:
    """What a word means if it is a side; `before` and `after` stand between it and the next words."""
    word = words[number]
    previous = words[number - 1] if number else ""
    following = words[number + 1] if number + 1 < len(words) else ""
    body = _words("body") | _words("foreign_body")
    ends = not following or _ENDS.match(after) is not None
    if word in _sides("always"):
        return _sides("always")[word]
    if word in _sides("about_eyes") and _words("eyes") & {*words[:number], *words[number + 1 :]}:
        return _sides("about_eyes")[word]
    if word in _sides("beside_body") and following not in _words("not_before"):
        beside = following in body or (previous in body and not following.isdigit())
        alone = _ALONE.match(before) is not None and ends
        alone |= len(word) > 1  # "lt" and "rt" stand apart from the part: "fracture rt distal radius"
        if (beside and not previous.isdigit()) or (alone and body & set(words)):
            return _sides("beside_body")[word]
    if word in _sides("next_to_body"):
        follows = previous in body and ends and before.isspace()
        if follows or (following in body and after.strip() in ("", ".")):
            return _sides("next_to_body")[word]
    if word in _sides("after_foreign_body") and previous in _words("foreign_body"):
        if ends or (word == "dx" and following not in ("of", "de")):
            return _sides("after_foreign_body")[word]
    return "without" if word == "sin" and not ends else None


def _without_marks(text: str, start: int, stop: int) -> tuple[int, int]:
    """The span of a side with its own brackets, hyphens or full stop."""
    if text[stop : stop + 1] == ".":
        stop += 1
    if start and text[start - 1 : start] + text[stop : stop + 1] in ("()", "[]", "--"):
        return start - 1, stop + 1
    if text[stop : stop + 1] == "-":
        stop += 1
    if start and text[start - 1] == "-":
        start -= 1
    return start, stop
