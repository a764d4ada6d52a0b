"""The rate limiter, on a clock that the test turns."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from omop_emb.errors import RateLimitError
from omop_emb.providers.rate_limiter import Rate, RateLimiter


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def passed(rate: Rate, requests: list[tuple[int, int]]) -> list[float]:
    """When each request of (texts, tokens) may pass, in seconds since the first was asked."""
    clock = Clock()
    limiter = RateLimiter(rate, clock=clock, sleep=clock.sleep)
    times = []
    for texts, tokens in requests:
        limiter.acquire(texts=texts, tokens=tokens)
        times.append(clock.now - 1000)
    return times


def test_without_limits_nothing_waits() -> None:
    assert passed(Rate(), [(100, 10_000)] * 1000) == [0.0] * 1000


@pytest.mark.parametrize(
    ("rate", "requests"),
    [
        (Rate(requests_per_minute=2), [(1, 1)] * 5),
        (Rate(texts_per_minute=20), [(10, 1)] * 5),
        (Rate(tokens_per_minute=200), [(1, 100)] * 5),
        (Rate(requests_per_minute=9, texts_per_minute=20, tokens_per_minute=999), [(10, 100)] * 5),
    ],
)
def test_no_sixty_seconds_exceed_the_rate_whatever_is_counted(
    rate: Rate, requests: list[tuple[int, int]]
) -> None:
    assert passed(rate, requests) == [0, 0, 60, 60, 120]


def test_the_window_slides() -> None:
    clock = Clock()
    limiter = RateLimiter(Rate(requests_per_minute=2), clock=clock, sleep=clock.sleep)
    for wait in (0, 40, 0, 0):
        clock.now += wait
        limiter.acquire(texts=1, tokens=1)
    # At 0 and 40; the third as soon as the first is a minute old, the fourth as the second is.
    assert clock.now == 1000 + 100


def test_a_request_larger_than_the_rate_passes_alone() -> None:
    assert passed(Rate(texts_per_minute=10), [(5, 1), (50, 1), (5, 1)]) == [0, 60, 120]


def test_a_wait_that_is_too_long_is_an_error_that_gives_its_length() -> None:
    clock = Clock()
    limiter = RateLimiter(Rate(requests_per_minute=1), clock=clock, sleep=clock.sleep)
    limiter.acquire(texts=1, tokens=1)
    clock.now += 20
    with pytest.raises(RateLimitError, match="allow the next request only in 40 s") as caught:
        limiter.acquire(texts=1, tokens=1, max_wait_seconds=39)
    assert caught.value.retry_after_seconds == 40
    limiter.acquire(texts=1, tokens=1, max_wait_seconds=41)
    assert clock.now == 1060


def test_a_pause_applies_to_all_threads() -> None:
    clock = Clock()
    limiter = RateLimiter(Rate(), clock=clock, sleep=clock.sleep)
    limiter.pause(7)
    limiter.pause(3)  # does not shorten it
    limiter.acquire(texts=1, tokens=1)
    assert clock.now == 1007


def test_after_a_refusal_half_as_many_requests_are_in_flight_and_slowly_more_again() -> None:
    limiter = RateLimiter(Rate())
    most, in_flight, lock, all_in_flight = [0], [0], threading.Lock(), threading.Barrier(8)

    def send(refused: bool) -> None:
        limiter.acquire(texts=1, tokens=1)
        with limiter.sending():
            with lock:
                in_flight[0] += 1
                most[0] = max(most[0], in_flight[0])
            if refused:
                all_in_flight.wait(60)
            time.sleep(0.02)
            with lock:
                in_flight[0] -= 1
            if refused:
                raise RateLimitError("slow", retry_after_seconds=0.01)

    def send_many(count: int, refused: int = 0) -> int:
        most[0] = 0
        with ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(send, number < refused) for number in range(count)]
        assert sum(future.exception() is not None for future in futures) == refused
        return most[0]

    assert send_many(8, refused=8) == 8
    assert send_many(9) == 1
    assert send_many(12) <= 2
    assert send_many(60) >= 2


def test_a_wait_that_is_refused_leaves_room_for_the_next_request() -> None:
    limiter = RateLimiter(Rate(requests_per_minute=1))
    with limiter.sending():
        limiter.acquire(texts=1, tokens=1)
    for _ in range(3):
        with pytest.raises(RateLimitError):
            limiter.acquire(texts=1, tokens=1, max_wait_seconds=0.1)
    assert limiter._in_flight == 0
