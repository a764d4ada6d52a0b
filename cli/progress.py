"""Progress of a build on stderr: a bar on a terminal, a plain line now and then otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .render import echo

if TYPE_CHECKING:
    from omop_emb.indexing import Progress

_PLAIN_SECONDS = 10.0


@contextmanager
def reporter() -> Iterator[Callable[[Progress], None]]:
    """A callback for build_index(); its display ends with the block."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress as Bar, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[detail]}"))
    bar = Bar(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=None, detail="")

    def show(progress: Progress) -> None:
        bar.start()  # not before: until then a question may be asked
        total = progress.total_characters or None
        bar.update(
            task,
            description=progress.phase.value,
            total=total if progress.fraction is None else 1.0,
            completed=progress.characters if progress.fraction is None else progress.fraction,
            detail=_detail(progress),
        )

    try:
        yield show
    finally:
        bar.stop()


@contextmanager
def counting(what: str, *, in_lines: bool = False) -> Iterator[Callable[[int], None]]:
    """A callback that is told how many are done: a count on a terminal, a line now and then otherwise.

    in_lines: on a terminal too, where something may be asked meanwhile.
    """
    if in_lines or not sys.stderr.isatty():
        last = time.monotonic()

        def line(done: int) -> None:
            nonlocal last
            if time.monotonic() - last >= _PLAIN_SECONDS:
                last = time.monotonic()
                echo(f"{done:,} {what}")

        yield line
        return
    from rich.console import Console

    with Console(stderr=True).status(what) as status:
        yield lambda done: status.update(f"{done:,} {what}")


class _Lines:
    """Plain lines: each new phase, and within one not more often than every ten seconds."""

    def __init__(self) -> None:
        self._phase: object = None
        self._said = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.phase is self._phase and now - self._said < _PLAIN_SECONDS:
            return
        self._phase, self._said = progress.phase, now
        detail = _detail(progress)
        echo(progress.phase.value + (f": {detail}" if detail else ""))


def _detail(progress: Progress) -> str:
    if progress.fraction is not None:
        return f"{progress.fraction:.0%}"
    if not progress.total:
        return ""
    parts = [f"{progress.done:,} of {progress.total:,} texts"]
    if progress.skipped:
        parts.append(f"{progress.skipped:,} skipped")
    if progress.done:
        parts.append(f"{progress.texts_per_second:,.0f}/s")
    left = progress.remaining_seconds
    if left is not None:
        parts.append(f"{_duration(left)} left")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
    )
