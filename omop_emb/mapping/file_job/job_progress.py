"""Job progress: how many of a file's terms are done, how fast it goes, and how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

_Item = TypeVar("_Item")


class JobPhase(Enum):
    """What a file job is doing; without a judge, mapping and writing are one."""

    MAP = "mapping"
    WRITE = "writing"


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a file job is.

    Attributes:
        done: terms, those that an interrupted run mapped included.
        total: terms of the file.
        resumed: terms among those done that an interrupted run mapped; the rate leaves them out.
        seconds: since this run began with its own terms.
    """

    phase: JobPhase
    done: int
    total: int
    resumed: int = 0
    seconds: float = 0.0

    @property
    def terms_per_second(self) -> float | None:
        """The rate of this run; None before its first term."""
        if self.done <= self.resumed or self.seconds <= 0:
            return None
        return (self.done - self.resumed) / self.seconds

    @property
    def remaining_seconds(self) -> float | None:
        """How long the rest takes at that rate; None before the first term, and at the end."""
        if self.terms_per_second is None or self.done >= self.total:
            return None
        return (self.total - self.done) / self.terms_per_second


OnProgress = Callable[[JobProgress], None]


def with_progress(
    items: Iterable[_Item], phase: JobPhase, total: int, on_progress: OnProgress, *, resumed: int = 0
) -> Iterator[_Item]:
    """The same items; after each, `on_progress` is called. The first `resumed` cost no time of their own."""
    begun = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if done <= resumed:
            begun = time.monotonic()
        on_progress(JobProgress(phase, done, max(done, total), resumed, time.monotonic() - begun))
