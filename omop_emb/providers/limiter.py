"""Requests, texts and tokens a minute, shared by all threads of a client."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from omop_emb.errors import RateLimitError

_MINUTE = 60.0


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What a provider grants within any 60 seconds; None is no limit."""

    requests_per_minute: int | None = None
    texts_per_minute: int | None = None
    tokens_per_minute: int | None = None


class Limiter:
    """Lets requests pass so that no 60 seconds hold more than the rate.

    A sliding window, not a bucket that refills: a provider that counts by the clock's minute never sees more
    than the rate either. A request larger than the rate passes alone.
    """

    def __init__(
        self,
        rate: Rate,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._caps = (rate.requests_per_minute, rate.texts_per_minute, rate.tokens_per_minute)
        self._passed: deque[tuple[float, tuple[int, int, int]]] = deque()
        self._used = [0, 0, 0]
        self._closed_until = 0.0
        self._lock = threading.Lock()
        self._clock, self._sleep = clock, sleep

    def acquire(self, *, texts: int, tokens: int, longest_wait_seconds: float = float("inf")) -> None:
        """Wait until a request of this size may be sent, and count it.

        Raises:
            RateLimitError: it would take longer than longest_wait_seconds.
        """
        amounts = (1, texts, tokens)
        while True:
            with self._lock:
                wait = self._seconds_to_wait(amounts)
                if wait <= 0:
                    self._count(amounts)
                    return
            if wait > longest_wait_seconds:
                raise RateLimitError(
                    f"the limits per minute leave room in {wait:.0f} s only", retry_after_seconds=wait
                )
            longest_wait_seconds -= wait
            self._sleep(wait)

    def pause(self, seconds: float) -> None:
        """Let nothing pass for some seconds: a provider has asked one of the threads to wait."""
        with self._lock:
            self._closed_until = max(self._closed_until, self._clock() + seconds)

    def _count(self, amounts: tuple[int, int, int]) -> None:
        if any(cap is not None for cap in self._caps):
            self._passed.append((self._clock(), amounts))
            self._used = [used + amount for used, amount in zip(self._used, amounts, strict=True)]

    def _seconds_to_wait(self, amounts: tuple[int, int, int]) -> float:
        now = self._clock()
        while self._passed and self._passed[0][0] <= now - _MINUTE:
            _, gone = self._passed.popleft()
            self._used = [used - amount for used, amount in zip(self._used, gone, strict=True)]
        wait = self._closed_until - now
        for kind, cap in enumerate(self._caps):
            over = 0 if cap is None else self._used[kind] + amounts[kind] - cap
            for passed_at, passed in self._passed:
                if over <= 0:
                    break
                over -= passed[kind]
                wait = max(wait, passed_at + _MINUTE - now)
        return wait
