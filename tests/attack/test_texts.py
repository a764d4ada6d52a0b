"""Hostile texts: whatever is searched for or mapped, it is answered or refused in one line, in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from random import Random

import pytest
from sqlalchemy.orm import Session

from omop_emb import EmbeddingInterface, OmopEmbError, database_engine
from omop_emb.mapping.records import SourceTerm
from omop_emb.service import ConceptFinder

SECONDS = 30  # for any one text, on a busy machine
WORDS = (
    "fever",
    "HTN",
    "glucose 5 mg/dL",
    "metformin 500 mg tab",
    "? GALLSTONES;",
    "no h/o",
    "left",
    "10*-3",
)
# What ends programs elsewhere: patterns that backtrack, operators of query languages, signs beyond the usual.
PIECES = (
    *("(" * 500, "[" * 500, "a" * 3_000, "1/" * 800, "1.000.000," * 200, "- " * 900, "mg/" * 600),
    *("\x00", "\ud800", "\udcff", "\u202e", "\ufeff", "\u200d" * 300, "e\u0301" * 400, "\U0001f600" * 200),
    *("' or 1=1 --", "%s %(x)s {0} {}", "\\", "\\u0000", "<script>", "$$", "& | ! <-> :*", "a:*&b"),
    *("=cmd|' /C calc'!A0", "../" * 100, "\r\n\t\v\f", "9" * 4_000, "1e999", "NaN", "-0", "\u0663\u0664 mg"),
    *("\u0130\u0131\u017f\u1e9e", "\ufb01\ufb02", "\u2460\u00bd\u2079", "\u0345" * 50, "\u4e2d" * 500),
)


def hostile_text(chance: Random) -> str:
    """One text of a few pieces."""
    parts = []
    for _ in range(chance.randint(1, 4)):
        kind = chance.randrange(4)
        if kind == 0:
            parts.append(chance.choice(WORDS))
        elif kind == 1:
            parts.append(chance.choice(PIECES))
        elif kind == 2:
            parts.append("".join(chr(chance.randrange(0x3000)) for _ in range(chance.randint(1, 40))))
        else:
            parts.append(chr(chance.randrange(0x110000)) * chance.randint(1, 5))
    return chance.choice((" ", "", "/", "-", "; ")).join(parts)


def refusal(ask: Callable[[], object]) -> str:
    """What is wrong with how a text was answered; "" if nothing is."""
    begun = time.monotonic()
    try:
        ask()
    except OmopEmbError as error:
        if len(str(error).splitlines()) != 1:
            return f"more than a line: {error!r}"
    except Exception as error:
        return repr(error)[:300]
    seconds = time.monotonic() - begun
    return f"{seconds:.0f} seconds" if seconds > SECONDS else ""


def attack(url: str, count: int, seed: int) -> list[str]:
    """What went wrong with so many texts, each with what makes it again."""
    failures = []
    engine = database_engine(url)
    with ConceptFinder(engine) as finder, Session(engine) as session:
        interface = EmbeddingInterface()

        def nearest(text: str) -> object:
            return interface.get_nearest_concepts_from_query_texts(session=session, query_texts=[text], k=3)

        ways: dict[str, Callable[[str], object]] = {
            "search": lambda text: finder.find(text, k=3),
            "complete": finder.complete,
            "vectors": nearest,
            "map": lambda text: finder.map([SourceTerm(name=text, code=text[:40])]),
        }
        for number in range(count):
            text = hostile_text(Random(f"{seed}-{number}"))  # noqa: S311 - nothing secret
            for name, ask in ways.items():
                if problem := refusal(partial(ask, text)):
                    failures.append(f"{name}, seed {seed}, number {number}: {problem}")
    engine.dispose()
    return failures


def test_whatever_a_text_holds_it_is_answered_or_refused_in_one_line(sample_database_url: str) -> None:
    assert attack(sample_database_url, 40, 1) == []


@pytest.mark.long
def test_ten_thousand_hostile_texts_are_answered_or_refused_in_one_line(sample_database_url: str) -> None:
    assert attack(sample_database_url, 10_000, 2) == []
