"""One call, tried again after outages: full jitter, a cap, a deadline, and what the provider asks for."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import tenacity

from omop_emb.errors import ProviderUnavailableError, RateLimitError

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a call may take.

    Attributes:
        timeout_seconds: for one attempt.
        tries: attempts at most.
        deadline_seconds: for all attempts and the waits between them; time spent waiting for the limiter
            is not counted.
        first_wait_seconds: the wait before the second attempt is drawn from 0 to this, and its upper end
            doubles with each attempt.
        longest_wait_seconds: the upper end stops here.
        longest_limit_seconds: how long the limiter may hold a request back.
    """

    timeout_seconds: float
    tries: int
    deadline_seconds: float
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 60.0
    longest_limit_seconds: float = math.inf

    def with_tries(self, tries: int) -> Patience:
        """The same, but for the number of attempts."""
        return replace(self, tries=tries)


def with_retries(
    call: Callable[[float], _T],
    patience: Patience,
    *,
    before_attempt: Callable[[], None] = lambda: None,
    after_failure: Callable[[ProviderUnavailableError, float], None] = lambda _error, _wait: None,
    sleep: Callable[[float], None] = time.sleep,
) -> _T:
    """The result of `call(timeout_seconds)`, tried again while it raises ProviderUnavailableError.

    A wait that the provider asks for (Retry-After, RetryInfo) is kept, and lengthened by up to a fifth so
    that many workers do not come back at once; one that would end after the deadline is not begun.

    Args:
        call: makes one attempt within the given seconds.
        patience: tries, timeouts and deadline.
        before_attempt: blocks until an attempt may be made; its time is not counted.
        after_failure: told of each failed attempt that is followed by another, and of the wait.
        sleep: waits.

    Raises:
        ProviderUnavailableError: the last one, its message telling how often it was tried.
    """
    spent = 0.0

    def attempt() -> _T:
        nonlocal spent
        before_attempt()
        started = time.monotonic()
        try:
            return call(min(patience.timeout_seconds, max(patience.deadline_seconds - spent, 0.05)))
        finally:
            spent += time.monotonic() - started

    def wait(state: tenacity.RetryCallState) -> float:
        widest = min(
            patience.longest_wait_seconds, patience.first_wait_seconds * 2 ** (state.attempt_number - 1)
        )
        asked = _failure(state).retry_after_seconds
        draw = random.random()  # noqa: S311 - spreads the load, guards nothing
        return widest * draw if asked is None else asked * (1 + draw / 5)

    def stop(state: tenacity.RetryCallState) -> bool:
        return (
            state.attempt_number >= patience.tries
            or spent + state.upcoming_sleep >= patience.deadline_seconds
        )

    def before_sleep(state: tenacity.RetryCallState) -> None:
        nonlocal spent
        spent += state.upcoming_sleep
        after_failure(_failure(state), state.upcoming_sleep)

    def give_up(state: tenacity.RetryCallState) -> _T:
        error = _failure(state)
        kind = RateLimitError if isinstance(error, RateLimitError) else ProviderUnavailableError
        times = "once" if state.attempt_number == 1 else f"{state.attempt_number} times"
        raise kind(
            f"{error} (tried {times} in {spent:.1f} s)", retry_after_seconds=error.retry_after_seconds
        ) from None

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(ProviderUnavailableError),
        wait=wait,
        stop=stop,
        sleep=sleep,
        before_sleep=before_sleep,
        retry_error_callback=give_up,
    )(attempt)


def _failure(state: tenacity.RetryCallState) -> ProviderUnavailableError:
    error = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(error, ProviderUnavailableError)  # noqa: S101 - the retry condition lets no other by
    return error
