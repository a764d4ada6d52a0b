"""Rate limiter: requests, texts and tokens a minute, shared by all threads of a client."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from omop_emb import config
from omop_emb.errors import ProviderUnavailableError, RateLimitError

_WINDOW_SECONDS = 60.0
_SUCCESSES_PER_THREAD = 10
"""So many requests must pass before one more may be sent at the same time again."""


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

    A limit that nobody has set shows itself by an answer 429. From then on fewer requests are sent at once:
    half as many after each 429, one more after every ten that pass. Otherwise all threads would come back
    together after each pause, one would pass, and the others would be refused until they give up.
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
        self._in_flight, self._successes = 0, 0
        self._most_in_flight: float = math.inf
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._clock, self._sleep = clock, sleep

    def acquire(self, *, texts: int, tokens: int, max_wait_seconds: float = math.inf) -> None:
        """Wait until a request of this size may be sent, and count it; RateLimitError if that is too long.

        The request is then sent within sending().
        """
        with self._room:
            self._room.wait_for(lambda: self._in_flight < self._most_in_flight)
            self._in_flight += 1
        try:
            self._wait_for_window((1, texts, tokens), max_wait_seconds)
        except BaseException:
            self._leave()
            raise

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Around one acquired request: learns from its outcome, and lets the next one start."""
        try:
            yield
        except RateLimitError as error:
            self.pause(error.retry_after_seconds or 0.0)
            with self._lock:
                self._most_in_flight = max(1, min(self._in_flight, self._most_in_flight) // 2)
                self._successes = 0
            raise
        else:
            with self._lock:
                self._successes += 1
                if self._successes % _SUCCESSES_PER_THREAD == 0:
                    self._most_in_flight += 1
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._room:
            self._in_flight -= 1
            self._room.notify_all()

    def _wait_for_window(self, amounts: tuple[int, int, int], max_wait_seconds: float) -> None:
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
                    f"the limits per minute allow the next request only in {wait:.0f} s",
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
