"""Progress of a build: total, rate and time left agree."""

from __future__ import annotations

import re
import time
from importlib import import_module
from typing import Any

import pytest

from omop_emb.indexing.report import Phase, Progress
from omop_emb.mapping.file_job.job_progress import JobPhase, JobProgress, with_progress

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


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (JobProgress(JobPhase.MAP, 1, 1), "1 of 1 term"),
        (JobProgress(JobPhase.MAP, 50, 2_000, 0, 10), "50 of 2,000 terms, 5.0 a second, 6 min 30 s left"),
        (JobProgress(JobPhase.MAP, 2_000, 2_000, 0, 10), "2,000 of 2,000 terms"),
        # An interrupted run mapped 900: they are done, and say nothing about how fast this run is.
        (JobProgress(JobPhase.MAP, 900, 1_000, 900, 0), "900 of 1,000 terms, 900 of them before"),
        (
            JobProgress(JobPhase.MAP, 950, 1_000, 900, 5),
            "950 of 1,000 terms, 900 of them before, 10 a second, 5 s left",
        ),
        (JobProgress(JobPhase.WRITE, 1, 3, 0, 1), "1 of 3 terms, 1.0 a second, 2 s left"),
    ],
)
def test_progress_of_a_mapped_file_in_words(made: JobProgress, said: str) -> None:
    assert progress._map_detail(made) == said


def test_terms_of_an_interrupted_run_are_done_and_not_in_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    seen: list[JobProgress] = []
    assert [*with_progress("abcde", JobPhase.MAP, 5, seen.append, resumed=3)] == [*"abcde"]
    assert [(one.done, one.terms_per_second) for one in seen[:3]] == [(1, None), (2, None), (3, None)]
    assert [(one.done, one.seconds) for one in seen[3:]] == [(4, 20), (5, 30)]
    assert seen[3].remaining_seconds == 20
    assert seen[4].remaining_seconds is None


def test_a_short_mapping_says_nothing_without_a_terminal_and_a_long_one_its_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for seconds, expected in (
        (0.5, []),
        (5.0, ["mapping: 2 of 4 terms, 0.2 a second, 10 s left", "mapping: 4 of 4 terms"]),
    ):
        lines = progress._MapLines()
        for done in range(1, 5):
            now += seconds
            lines(JobProgress(JobPhase.MAP, done, 4, 0, done * seconds))
        assert capsys.readouterr().err.splitlines() == expected
