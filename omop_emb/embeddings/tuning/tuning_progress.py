"""Tuning progress: what a run reports, apart from the loop that needs torch to be imported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands.

    Attributes:
        step: how many of `steps` are done.
        loss: the mean since the last report; NaN before the first step.
        seconds_left: at the present speed, evaluations aside.
        score: mean reciprocal rank of the pairs held out, where it was just measured.
    """

    step: int
    steps: int
    loss: float
    seconds_left: float
    score: float | None = None
