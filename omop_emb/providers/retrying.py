"""Retries: one call, repeated after outages with full jitter, a cap and a deadline."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from omop_emb.errors import ProviderUnavailableError, RateLimitError

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often a call is tried, and how long it may take."""

    timeout_seconds: float  # for one attempt
    max_attempts: int  # the first one included
    # for all attempts and the waits between them; waits for the rate limiter are extra
    deadline_seconds: float
    first_wait_seconds: float = 0.5  # upper end of the first random wait; it doubles with each attempt
    max_wait_seconds: float = 60.0  # the upper end stops here
    max_limiter_wait_seconds: float = math.inf  # how long the rate limiter may hold a request back
    # Waits for a provider's rate limit, up to this sum, count neither as attempts nor for the deadline: a
    # limit per minute slows a long job down, but does not end it.
    rate_limit_patience_seconds: float = 0.0

    @classmethod
    def for_queries(cls, timeout_seconds: float) -> RetryPolicy:
        """For a person who waits: three attempts, within twice the timeout of one."""
        return cls(
            timeout_seconds=timeout_seconds,
            max_attempts=3,
            deadline_seconds=2 * timeout_seconds,
            first_wait_seconds=0.25,
            max_limiter_wait_seconds=2 * timeout_seconds,
        )

    @classmethod
    def for_bulk(cls, timeout_seconds: float) -> RetryPolicy:
        """For a long job: eight attempts, within ten minutes or twice the timeout of one.

        Ten more minutes may be spent waiting for a limit per minute.
        """
        return cls(
            timeout_seconds=timeout_seconds,
            max_attempts=8,
            deadline_seconds=max(600.0, 2 * timeout_seconds),
            rate_limit_patience_seconds=600.0,
        )


def call_with_retries(
    call: Callable[[float], _T],
    policy: RetryPolicy,
    *,
    before_attempt: Callable[[], None] = lambda: None,
    after_failure: Callable[[ProviderUnavailableError, float], None] = lambda _error, _wait: None,
    sleep: Callable[[float], None] = time.sleep,
) -> _T:
    """The result of `call(timeout_seconds)`, repeated while it raises ProviderUnavailableError.

    A wait that the provider asks for (Retry-After, RetryInfo) is kept, and lengthened by up to a fifth so
    that many workers do not come back at once; one that would end after the deadline is not started.
    `before_attempt` blocks until an attempt may be made, and its time is not counted; `after_failure`
    receives each failure that will be retried, and the seconds until then.
    """
    spent_seconds, limited_seconds, limited_attempts = 0.0, 0.0, 0

    def attempt() -> _T:
        nonlocal spent_seconds
        before_attempt()
        started = time.monotonic()
        try:
            return call(min(policy.timeout_seconds, max(policy.deadline_seconds - spent_seconds, 0.05)))
        finally:
            spent_seconds += time.monotonic() - started

    jitter = tenacity.wait_random_exponential(policy.first_wait_seconds, policy.max_wait_seconds)

    def wait(state: tenacity.RetryCallState) -> float:
        requested = _failure(state).retry_after_seconds
        return jitter(state) if requested is None else requested * random.uniform(1, 1.2)  # noqa: S311 - spreads the load, protects nothing

    def is_patient(state: tenacity.RetryCallState) -> bool:
        is_limited = isinstance(_failure(state), RateLimitError)
        return is_limited and limited_seconds + state.upcoming_sleep <= policy.rate_limit_patience_seconds

    def stop(state: tenacity.RetryCallState) -> bool:
        if is_patient(state):
            return False
        ends_too_late = spent_seconds + state.upcoming_sleep >= policy.deadline_seconds
        return ends_too_late or state.attempt_number - limited_attempts >= policy.max_attempts

    def before_sleep(state: tenacity.RetryCallState) -> None:
        nonlocal spent_seconds, limited_seconds, limited_attempts
        if is_patient(state):
            limited_seconds += state.upcoming_sleep
            limited_attempts += 1
        else:
            spent_seconds += state.upcoming_sleep
        after_failure(_failure(state), state.upcoming_sleep)

    def give_up(state: tenacity.RetryCallState) -> _T:
        error = _failure(state)
        kind = RateLimitError if isinstance(error, RateLimitError) else ProviderUnavailableError
        times = "once" if state.attempt_number == 1 else f"{state.attempt_number} times"
        raise kind(
            f"{error} (tried {times} in {spent_seconds + limited_seconds:.1f} s)",
            retry_after_seconds=error.retry_after_seconds,
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
    assert isinstance(error, ProviderUnavailableError)  # noqa: S101 - only these are retried
    return error
