"""Progress on stderr: a bar on a terminal, otherwise a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from omop_emb.records import counted

from .render import echo

if TYPE_CHECKING:
    from omop_emb.indexing import Progress
    from omop_emb.mapping.file_job import JobProgress
    from omop_emb.vocabulary import LoadProgress

_LINE_SECONDS = 10.0
_SHOWN_SECONDS = 0.1  # between two changes of a bar


@contextmanager
def build_progress() -> Iterator[Callable[[Progress], None]]:
    """A callback for the progress of a build, export or import; its display ends with the block."""
    if not sys.stderr.isatty():
        yield _BuildLines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress as Bar, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[detail]}"))
    bar = Bar(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=None, detail="")

    def show(progress: Progress) -> None:
        bar.start()  # not earlier, because a question may be asked first
        has_fraction = progress.fraction is not None
        bar.update(
            task,
            description=progress.phase.value,
            total=1.0 if has_fraction else progress.total_characters or None,
            completed=progress.fraction if has_fraction else progress.characters,
            detail=_detail(progress),
        )

    try:
        yield show
    finally:
        bar.stop()


@contextmanager
def map_progress(*, in_lines: bool) -> Iterator[Callable[[JobProgress], None]]:
    """A callback for the progress of a mapped file; `in_lines` on a terminal too, so that it can ask."""
    if in_lines or not sys.stderr.isatty():
        yield _MapLines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress as Bar, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[detail]}"))
    bar = Bar(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=None, detail="")
    shown = 0.0

    def show(progress: JobProgress) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown < _SHOWN_SECONDS and progress.done < progress.total:
            return
        shown = now
        bar.start()  # not earlier, because notes are printed first
        bar.update(
            task,
            description=progress.phase.value,
            total=progress.total,
            completed=progress.done,
            detail=_map_detail(progress),
        )

    try:
        yield show
    finally:
        bar.stop()


@contextmanager
def byte_progress() -> Iterator[Callable[[int, int, str], None]]:
    """A callback for bytes that are done, all bytes, and what is read next."""
    if not sys.stderr.isatty():
        printed = time.monotonic()

        def print_line(done: int, total: int, name: str) -> None:
            nonlocal printed
            if time.monotonic() - printed >= _LINE_SECONDS:
                printed = time.monotonic()
                echo(f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB, {name}")

        yield print_line
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress as Bar, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:<30}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")
        yield lambda done, total, name: bar.update(task, description=name, completed=done, total=total)


@contextmanager
def load_progress() -> Iterator[Callable[[LoadProgress], None]]:
    """A callback for the progress of loading a vocabulary."""
    if not sys.stderr.isatty():
        printed: set[tuple[str, str]] = set()

        def print_step(progress: LoadProgress) -> None:
            if (progress.step, progress.table) not in printed:
                printed.add((progress.step, progress.table))
                echo(f"{progress.step} {progress.table}")

        yield print_step
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress as Bar, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<30}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")
        yield lambda progress: bar.update(
            task,
            description=f"{progress.step} {progress.table}",
            completed=progress.done_bytes,
            total=progress.total_bytes,
        )


class _BuildLines:
    """Plain lines: each new phase, and within one not more often than every ten seconds."""

    def __init__(self) -> None:
        self._phase: object = None
        self._printed = 0.0
        self._is_last = True

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        is_last = progress.done == progress.total and not self._is_last
        if progress.phase is self._phase and now - self._printed < _LINE_SECONDS and not is_last:
            return
        self._phase, self._printed, self._is_last = progress.phase, now, progress.done == progress.total
        detail = _detail(progress)
        echo(progress.phase.value + (f": {detail}" if detail else ""))


class _MapLines:
    """Plain lines every ten seconds; a file that takes no longer needs none."""

    def __init__(self) -> None:
        self._printed = time.monotonic()
        self._has_printed = False

    def __call__(self, progress: JobProgress) -> None:
        is_last = progress.done == progress.total and self._has_printed
        if time.monotonic() - self._printed < _LINE_SECONDS and not is_last:
            return
        self._printed, self._has_printed = time.monotonic(), not is_last
        echo(f"{progress.phase.value}: {_map_detail(progress)}")


def _map_detail(progress: JobProgress) -> str:
    parts = [f"{progress.done:,} of {counted(progress.total, 'term')}"]
    if progress.resumed:
        parts.append(f"{progress.resumed:,} of them before")
    if progress.terms_per_second is not None and progress.remaining_seconds is not None:
        parts.append(f"{_rate(progress.terms_per_second)}, {_duration(progress.remaining_seconds)} left")
    return ", ".join(parts)


def _detail(progress: Progress) -> str:
    if progress.fraction is not None:
        return f"{progress.fraction:.0%}"
    if not progress.total:
        return ""
    parts = [f"{progress.done:,} of {counted(progress.total, 'text')}"]
    if progress.skipped:
        parts.append(f"{progress.skipped:,} skipped")
    if progress.texts_per_second is not None and progress.remaining_seconds is not None:
        parts.append(f"{_rate(progress.texts_per_second)}, {_duration(progress.remaining_seconds)} left")
    return ", ".join(parts)


def _rate(per_second: float) -> str:
    if per_second >= 10:
        return f"{per_second:,.0f} a second"
    return f"{per_second:.1f} a second" if per_second >= 0.1 else f"{per_second * 3600:,.0f} an hour"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
