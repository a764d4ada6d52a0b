"""Near groups: open terms of a review that are nearly the same, to be looked at together, not decided so."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any

import psycopg
from psycopg.rows import class_row

from omop_emb.sql import read

_CODE_WITH_PARENT = re.compile(r"([A-Za-z]?\d[\w-]*)\.(\w+)")
_MOST_WORDS = 20  # longer names are sentences, whose words are not compared
_MOST_TERMS = 200  # of a group; more are no neighbours, but a column of a file


class Likeness(Enum):
    """What makes terms nearly the same."""

    CONCEPT = "the same first concept"
    CODE = "the same parent code"
    NAME = "one word or number differs"


@dataclass(frozen=True, kw_only=True)
class NearGroup:
    """Open terms that are nearly the same.

    Attributes:
        label: what they share: a concept's name, a code, a name with … for the word that differs.
        positions: of the terms, in the order of the file.
    """

    likeness: Likeness
    label: str
    positions: Sequence[int]


@dataclass(frozen=True, slots=True)
class _OpenTerm:
    position: int
    source_code: str
    text_key: str
    domain: str | None
    context: str
    concept_id: int
    concept_name: str


def near_groups(
    connection: psycopg.Connection[Any],
    project_id: int,
    *,
    position: int | None = None,
    likenesses: Sequence[Likeness] = tuple(Likeness),
    limit: int = 50,
) -> list[NearGroup]:
    """Groups of at least two open terms that are nearly the same, the largest first.

    Nothing is decided by it: each member may mean something else.

    With a position, only the groups of that term are given.
    """
    cursor = connection.cursor(row_factory=class_row(_OpenTerm))
    terms = cursor.execute(read("review_open_terms"), {"project": project_id}).fetchall()
    if position is not None:
        terms = _sharing(terms, position, likenesses)
    members: dict[tuple[Likeness, object], list[int]] = defaultdict(list)
    labels: dict[tuple[Likeness, object], str] = {}
    for term in terms:
        for likeness, shared, label in _shared(term, likenesses):
            members[likeness, shared].append(term.position)
            labels.setdefault((likeness, shared), label)
    groups = [
        NearGroup(likeness=key[0], label=labels[key], positions=tuple(positions))
        for key, positions in members.items()
        if 1 < len(positions) <= _MOST_TERMS and (position is None or position in positions)
    ]
    order = list(Likeness)
    groups.sort(key=lambda one: (-len(one.positions), order.index(one.likeness), one.positions))
    return list(islice(_distinct(groups), limit))


def _shared(term: _OpenTerm, likenesses: Sequence[Likeness]) -> Iterator[tuple[Likeness, object, str]]:
    """What a term may share with others, and how it is named."""
    if Likeness.CONCEPT in likenesses and term.concept_id:
        yield Likeness.CONCEPT, term.concept_id, term.concept_name
    if Likeness.CODE in likenesses and (found := _CODE_WITH_PARENT.fullmatch(term.source_code.strip())):
        yield Likeness.CODE, found[1].upper(), found[1]
    if Likeness.NAME in likenesses:
        words = term.text_key.split()
        # Of two words a number alone may differ: "pain …" would be every pain.
        numbers = [place for place, word in enumerate(words) if word[0].isdigit()]
        places: Sequence[int] = range(len(words)) if 2 < len(words) <= _MOST_WORDS else numbers
        for place in places if 1 < len(words) <= _MOST_WORDS else ():
            pattern = " ".join([*words[:place], "…", *words[place + 1 :]])
            yield Likeness.NAME, (pattern, term.domain, term.context), pattern


def _sharing(terms: list[_OpenTerm], position: int, likenesses: Sequence[Likeness]) -> list[_OpenTerm]:
    """The terms that share something with one, itself included."""
    own = {
        (likeness, shared)
        for term in terms
        if term.position == position
        for likeness, shared, _ in _shared(term, likenesses)
    }
    return [
        term
        for term in terms
        if any((likeness, shared) in own for likeness, shared, _ in _shared(term, likenesses))
    ]


def _distinct(groups: Sequence[NearGroup]) -> Iterator[NearGroup]:
    """Each set of terms once, under the first likeness that it has."""
    seen: set[Sequence[int]] = set()
    for group in groups:
        if group.positions not in seen:
            seen.add(group.positions)
            yield group
