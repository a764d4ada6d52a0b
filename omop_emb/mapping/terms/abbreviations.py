"""Abbreviations: clinical short forms and their meanings, however they are dotted, hyphenated or spaced."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

from omop_emb.mapping.terms.data_files import read_table
from omop_emb.mapping.terms.words import fold

_PIECE = re.compile(r"[^\W_]+")
_GAP = re.compile(r"\s?[./-]?\s?")
_MAX_PIECES = 5
# Letters that each end with a full stop: "C.H.F.", "s. p."
_INITIALS = re.compile(r"(?<![^\W_])(?<!\.)(?:[^\W\d_]\.\s?)+[^\W\d_]\.?(?![^\W_])")
# "stage IV" is a number, "500 mg" and "mg/dl" are units.
_NUMBERED = frozenset("stage grade type class factor nerve group level degree phase part".split())
_ROMAN = frozenset(("iv", "vi", "ii", "cd", "cc", "mi"))
_UNITS = frozenset("mg ng mm hr ms g k l ppm cc u iu cap tab".split())


@dataclass
class _Entry:
    """An abbreviation of the table."""

    breaks: set[int] = field(default_factory=set)  # where it may be written with a space, counted in letters
    meanings: list[tuple[tuple[str, ...], str]] = field(default_factory=list)  # (alternatives, domain)
    is_word: bool = False  # whether it is a common English word too


@cache
def _table() -> dict[str, _Entry]:
    """Key -> entry."""
    result: dict[str, _Entry] = {}
    for row in read_table("abbreviations.tsv"):
        written = fold(row["abbreviation"])
        entry, letters = result.setdefault(_key(written), _Entry()), 0
        for part in re.split(r"[ -]", written)[:-1]:
            letters += len(part)
            entry.breaks.add(letters)
        entry.meanings.append((tuple(row["alternatives"].split("|")), row["domain"]))
        entry.is_word |= row["word"] == "yes"
    return result


def _key(written: str) -> str:
    """One key for A.Fib, a-fib and AFib; a slash, and a last full stop as in "loc.", tell apart."""
    return re.sub(r"[\s-]|\.(?!$)", "", fold(written))


def join_initials(text: str) -> str:
    """The text with dotted initials as the abbreviation that they are: C.H.F. as CHF, s.p. as s/p."""

    def joined(match: re.Match[str]) -> str:
        letters = [letter for letter in match.group() if letter.isalpha()]
        slashed = "/".join(letters)
        return slashed if fold(slashed) in _table() else "".join(letters)

    return _INITIALS.sub(joined, text)


def begins_hyphenated(text: str) -> bool:
    """Whether a text begins with an abbreviation that it writes with a hyphen: "L-spine", "A-fib"."""
    return any(start == 0 and "-" in text[:stop] for start, stop, _ in _found(text, None))


def _alternatives(entry: _Entry, domain: str | None) -> tuple[str, ...]:
    """What it may mean for a concept in a domain, or several separated by "|": the domain's own first."""
    own = [texts for texts, of in entry.meanings if of and (domain is None or of in domain.split("|"))]
    general = [texts for texts, of in entry.meanings if not of]
    return tuple(dict.fromkeys(text for texts in (*own, *general) for text in texts))


def _found(text: str, domain: str | None) -> list[tuple[int, int, tuple[str, ...]]]:
    """(start, stop, meanings) of each abbreviation in a text."""
    pieces = list(_PIECE.finditer(text))
    result, number = [], 0
    while number < len(pieces):
        for count in range(min(_MAX_PIECES, len(pieces) - number), 0, -1):
            run = pieces[number : number + count]
            entry, stop = _entry(text, run)
            meanings = () if entry is None else _alternatives(entry, domain)
            if entry is None or not meanings or _is_something_else(text, pieces, number, count, entry):
                continue
            result.append((run[0].start(), stop, meanings))
            number += count
            break
        else:
            number += 1
    return result


def _entry(text: str, run: list[re.Match[str]]) -> tuple[_Entry | None, int]:
    """The entry of pieces of a text in a row, and where it ends in the text; None if there is none."""
    table, stop = _table(), run[-1].end()
    gaps = [text[left.end() : right.start()] for left, right in pairwise(run)]
    if not all(_GAP.fullmatch(gap) for gap in gaps):
        return None, stop
    letters = [fold(piece.group()) for piece in run]
    following = text[stop : stop + 1]
    if any("/" in gap for gap in gaps):
        return (table.get("/".join(letters)) if all("/" in gap for gap in gaps) else None), stop
    key = "".join(letters)
    if following in ("/", ".") and following and key + following in table:
        return table[key + following], stop + 1
    entry = table.get(key)
    if entry is None:
        return None, stop
    position, are_initials = 0, len(run) > 2 and all(len(letter) == 1 for letter in letters)
    for letter, gap in zip(letters, gaps, strict=False):
        position += len(letter)
        if gap.strip() == "" and position not in entry.breaks and not are_initials:
            return None, stop
    is_dotted = following == "." and (any("." in gap for gap in gaps) or len(run) == 1)
    return entry, stop + is_dotted


def _is_something_else(
    text: str, pieces: list[re.Match[str]], number: int, count: int, entry: _Entry
) -> bool:
    """Whether it is a common word, a unit or a Roman number where it stands."""
    first, last = pieces[number], pieces[number + count - 1]
    word = fold(first.group()) if count == 1 else ""
    if entry.is_word:
        in_capitals = first.group().isupper() and not text.isupper()
        return not in_capitals and number + count < len(pieces)
    before = pieces[number - 1] if number else None
    if word in _UNITS:
        after_number = before is not None and before.group().isnumeric()
        beside_slash = "/" in (text[first.start() - 1 : first.start()], text[last.end() : last.end() + 1])
        return after_number or beside_slash
    return word in _ROMAN and before is not None and fold(before.group()) in _NUMBERED


def readings(text: str, domain: str | None = None) -> list[tuple[str, tuple[str, ...]]]:
    """(abbreviation as written, its meanings) of each abbreviation in a text, the commonest meaning first."""
    return [(text[start:stop], meanings) for start, stop, meanings in _found(text, domain)]


def expand_abbreviations(text: str, domain: str | None = None) -> Iterator[str]:
    """The text with every abbreviation in its commonest meaning, then with each other meaning of each."""
    found = _found(text, domain)
    others = ((number, other) for number, (_, _, texts) in enumerate(found) for other in texts[1:])
    for changed, other in ((-1, ""), *others) if found else ():
        pieces, end = [], 0
        for number, (start, stop, texts) in enumerate(found):
            pieces += [text[end:start], other if number == changed else texts[0]]
            if text[stop : stop + 1].isalnum():
                pieces.append(" ")
            end = stop
        yield "".join([*pieces, text[end:]])
