"""Progress of a build: total, rate and time left agree."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import pytest

from omop_emb.indexing.report import Phase, Progress

progress: Any = import_module("omop_emb.cli.progress")


@pytest.mark.parametrize("done", [1, 10, 500, 990, 999])
@pytest.mark.parametrize("seconds", [0.5, 20.0, 4000.0])
@pytest.mark.parametrize("length", [0.5, 1.0, 2.0])
def test_what_is_left_at_the_rate_takes_the_time_left(done: int, seconds: float, length: float) -> None:
    # The texts done are shorter or longer than those to come.
    made = Progress(
        Phase.EMBED,
        done=done,
        total=1000,
        characters=round(100 * done * length) or 1,
        total_characters=200_000,
        seconds=seconds,
    )
    assert made.remaining_seconds is not None
    assert made.texts_per_second is not None
    assert made.texts_per_second * made.remaining_seconds == pytest.approx(1000 - done)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (Progress(Phase.PLAN), ""),
        (Progress(Phase.EMBED, total=1), "0 of 1 text"),
        (Progress(Phase.EMBED, total=2_000, skipped=7), "0 of 2,000 texts, 7 skipped"),
        (Progress(Phase.EMBED, done=2, total=2, characters=9, total_characters=9, seconds=3), "2 of 2 texts"),
        (
            Progress(Phase.EMBED, done=50, total=100, characters=60, total_characters=100, seconds=30),
            "50 of 100 texts, 2.5 a second, 20 s left",
        ),
        (
            Progress(Phase.EMBED, done=1, total=100, characters=1, total_characters=100, seconds=3600),
            "1 of 100 texts, 1 an hour, 99 h 00 min left",
        ),
        (Progress(Phase.FINISH, fraction=0.333), "33%"),
    ],
)
def test_progress_in_words(made: Progress, said: str) -> None:
    assert progress._detail(made) == said


def test_without_a_terminal_the_first_and_the_last_line_of_a_phase_are_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = progress._BuildLines()
    for done in range(11):
        lines(
            Progress(
                Phase.EMBED, done=done, total=10, characters=done, total_characters=10, seconds=done or 0.1
            )
        )
    lines(Progress(Phase.FINISH))
    printed = capsys.readouterr().err.splitlines()
    assert [re.sub(",.*", "", line) for line in printed] == [
        "embedding: 0 of 10 texts",
        "embedding: 10 of 10 texts",
        "building the index",
    ]
