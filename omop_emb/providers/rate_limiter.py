"""Rate limiter: requests, texts and tokens a minute, shared by all threads of a client."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from omop_emb import config
from omop_emb.errors import ProviderUnavailableError, RateLimitError

_WINDOW_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What a provider allows within any 60 seconds; None is no limit."""

    requests_per_minute: int | None = None
    texts_per_minute: int | None = None
    tokens_per_minute: int | None = None

    @classmethod
    def from_environment(cls) -> Rate:
        """The limits that OMOP_EMB_REQUESTS_PER_MINUTE and its like set."""
        return cls(
            requests_per_minute=config.positive_integer("OMOP_EMB_REQUESTS_PER_MINUTE"),
            texts_per_minute=config.positive_integer("OMOP_EMB_TEXTS_PER_MINUTE"),
            tokens_per_minute=config.positive_integer("OMOP_EMB_TOKENS_PER_MINUTE"),
        )


class RateLimiter:
    """Holds requests back so that no 60 seconds exceed the rate.

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
        self._requests: deque[tuple[float, tuple[int, int, int]]] = deque()
        self._used = [0, 0, 0]
        self._closed_until = 0.0
        self._lock = threading.Lock()
        self._clock, self._sleep = clock, sleep

    def acquire(self, *, texts: int, tokens: int, max_wait_seconds: float = float("inf")) -> None:
        """Wait until a request of this size may be sent, and count it; RateLimitError if that is too long."""
        amounts = (1, texts, tokens)
        while True:
            with self._lock:
                wait = self._seconds_to_wait(amounts)
                if wait <= 0:
                    if any(cap is not None for cap in self._caps):
                        self._requests.append((self._clock(), amounts))
                        self._add(amounts, 1)
                    return
            if wait > max_wait_seconds:
                raise RateLimitError(
                    f"the limits per minute allow the next request in {wait:.0f} s only",
                    retry_after_seconds=wait,
                )
            max_wait_seconds -= wait
            self._sleep(wait)

    def pause(self, seconds: float) -> None:
        """Let no request pass for some seconds."""
        with self._lock:
            self._closed_until = max(self._closed_until, self._clock() + seconds)

    def pause_after(self, error: ProviderUnavailableError, wait_seconds: float) -> None:
        """Hold all threads back for as long as the one whose request was over the provider's limit."""
        if isinstance(error, RateLimitError):
            self.pause(wait_seconds)

    def _add(self, amounts: tuple[int, int, int], sign: int) -> None:
        self._used = [used + sign * amount for used, amount in zip(self._used, amounts, strict=True)]

    def _seconds_to_wait(self, amounts: tuple[int, int, int]) -> float:
        now = self._clock()
        while self._requests and self._requests[0][0] <= now - _WINDOW_SECONDS:
            self._add(self._requests.popleft()[1], -1)
        wait = self._closed_until - now
        for kind, cap in enumerate(self._caps):
            excess = 0 if cap is None else self._used[kind] + amounts[kind] - cap
            for sent_at, sent in self._requests:
                if excess <= 0:
                    break
                excess -= sent[kind]
                wait = max(wait, sent_at + _WINDOW_SECONDS - now)
        return wait
