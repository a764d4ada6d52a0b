"""Retries: jitter, cap, deadline, requested waits, and errors that are not retried."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from omop_emb.errors import (
    ConfigurationError,
    OmopEmbError,
    ProviderRefusedError,
    ProviderUnavailableError,
    QuotaExhaustedError,
    RateLimitError,
)
from omop_emb.providers.http_errors import http_error, retry_after
from omop_emb.providers.retrying import RetryPolicy, call_with_retries

RETRIES = RetryPolicy(timeout_seconds=10, max_attempts=9, deadline_seconds=1e6, first_wait_seconds=1)


def failing(error: OmopEmbError, times: float = 1e9) -> tuple[Callable[[float], str], list[float]]:
    """A call that fails so often, and the timeouts that it was given."""
    timeouts: list[float] = []

    def call(seconds: float) -> str:
        timeouts.append(seconds)
        if len(timeouts) <= times:
            raise error
        return "answer"

    return call, timeouts


def waits_of(error: ProviderUnavailableError, policy: RetryPolicy = RETRIES) -> list[float]:
    waits: list[float] = []
    with pytest.raises(type(error)):
        call_with_retries(failing(error)[0], policy, sleep=waits.append)
    return waits


@pytest.mark.parametrize("draw", [0.0, 0.5, 1.0])
def test_waits_have_full_jitter_with_a_doubling_upper_end_and_a_cap(
    monkeypatch: pytest.MonkeyPatch, draw: float
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: low + draw * (high - low))
    ends = [1, 2, 4, 8, 16, 32, 60, 60]
    assert waits_of(ProviderUnavailableError("away")) == [draw * end for end in ends]


def test_each_wait_is_a_new_draw() -> None:
    waits = waits_of(ProviderUnavailableError("away"), replace(RETRIES, max_wait_seconds=1))
    assert len(set(waits)) == len(waits) == 8


@pytest.mark.parametrize("draw", [0.0, 0.999])
def test_a_requested_wait_is_kept_and_lengthened_by_up_to_a_fifth(
    monkeypatch: pytest.MonkeyPatch, draw: float
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: low + draw * (high - low))
    waits = waits_of(RateLimitError("slow", retry_after_seconds=90), replace(RETRIES, max_attempts=3))
    assert waits == [pytest.approx(90 * (1 + draw / 5))] * 2  # beyond the cap, which is for our own guesses


def test_a_wait_that_would_end_after_the_deadline_is_not_started() -> None:
    policy = replace(RETRIES, deadline_seconds=100)
    assert waits_of(RateLimitError("slow", retry_after_seconds=101), policy) == []
    assert len(waits_of(RateLimitError("slow", retry_after_seconds=40), policy)) == 2


def test_an_attempt_gets_no_more_time_than_the_deadline_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, _high: low)
    call, timeouts = failing(RateLimitError("slow", retry_after_seconds=6), times=2)
    policy = replace(RETRIES, timeout_seconds=5, deadline_seconds=15)
    assert call_with_retries(call, policy, sleep=lambda _seconds: None) == "answer"
    assert timeouts == [5, 5, pytest.approx(3, abs=0.1)]


def test_time_spent_waiting_for_the_limiter_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def wait_an_hour() -> None:
        now[0] += 3600

    monkeypatch.setattr("omop_emb.providers.retrying.time.monotonic", lambda: now[0])
    call, timeouts = failing(ProviderUnavailableError("away"), times=3)
    policy = replace(RETRIES, deadline_seconds=500)
    answer = call_with_retries(call, policy, before_attempt=wait_an_hour, sleep=lambda _seconds: None)
    assert (answer, len(timeouts)) == ("answer", 4)


def test_the_last_error_keeps_its_class_and_counts_the_attempts() -> None:
    with pytest.raises(RateLimitError, match=r"^slow \(tried 9 times in") as caught:
        call_with_retries(
            failing(RateLimitError("slow", retry_after_seconds=1))[0], RETRIES, sleep=lambda _seconds: None
        )
    assert caught.value.retry_after_seconds == 1


@pytest.mark.parametrize("error", [QuotaExhaustedError("spent"), ConfigurationError("no key")])
def test_errors_that_no_wait_helps_are_raised_at_once(error: OmopEmbError) -> None:
    call, timeouts = failing(error)
    with pytest.raises(type(error)):
        call_with_retries(call, RETRIES)
    assert len(timeouts) == 1


RETRIED = {408, 425, 429, 500, 502, 503, 504}


@pytest.mark.parametrize(
    "status", [400, 401, 402, 403, 404, 405, 408, 409, 413, 422, 425, 429, 500, 503, 504]
)
def test_only_passing_http_statuses_are_retried(status: int) -> None:
    error = http_error("openai:m", status, "no reason given", headers={}, not_found="", key="")
    assert isinstance(error, ProviderUnavailableError) is (status in RETRIED)
    assert f"HTTP {status}" in str(error)


def gemini_429(quota_id: str, limit: int, wait: str = "34s") -> str:
    """A 429 as the Gemini API words it; for every kind of limit it speaks of plan and billing."""
    metric = "generativelanguage.googleapis.com/embed_content_free_tier_requests"
    return json.dumps(
        {
            "error": {
                "code": 429,
                "message": "You exceeded your current quota, please check your plan and billing details. For "
                "more information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. To "  # noqa: E501 - as the provider words it
                "monitor your current usage, head to: https://ai.dev/usage?tab=rate-limit. \n* Quota exceeded for "  # noqa: E501 - as the provider words it
                "metric: "
                f"{metric}, limit: {limit}, model: gemini-embedding-1.0\nPlease retry in 34.074824224s.",
                "status": "RESOURCE_EXHAUSTED",
                "details": [
                    {
                        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                        "violations": [
                            {
                                "quotaMetric": metric,
                                "quotaId": quota_id,
                                "quotaDimensions": {"model": "gemini-embedding-1.0", "location": "global"},
                                "quotaValue": str(limit),
                            }
                        ],
                    },
                    {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": wait},
                ],
            }
        }
    )


def openai_429(message: str, code: str, kind: str) -> str:
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


MINUTE = "EmbedContentRequestsPerMinutePerUserPerProjectPerModel-FreeTier"
DAY = "EmbedContentRequestsPerDayPerUserPerProjectPerModel-FreeTier"
OPENAI_MINUTE = openai_429(
    "Rate limit reached for text-embedding-3-small in organization org-x on tokens per min (TPM): Limit "
    "1000000, Used 990041, Requested 20480. Please try again in 631ms. Visit "
    "https://platform.openai.com/account/rate-limits to learn more. You can increase your rate limit by adding a payment method to your account at "  # noqa: E501 - as the provider words it
    "https://platform.openai.com/account/billing.",
    "rate_limit_exceeded",
    "tokens",
)
OPENAI_DAY = openai_429(
    "Rate limit reached for text-embedding-3-small in organization org-x on requests per day (RPD): Limit "
    "200, Used 200, Requested 1. Please try again in 7m12s.",
    "rate_limit_exceeded",
    "requests",
)
OPENAI_SPENT = openai_429(
    "You exceeded your current quota, please check your plan and billing details. For more information on "
    "this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
    "insufficient_quota",
    "insufficient_quota",
)


@pytest.mark.parametrize(
    ("message", "kind", "seconds"),
    [
        (gemini_429(MINUTE, 100), RateLimitError, 34.0),
        (gemini_429("GenerateContentInputTokensPerModelPerMinute-PaidTier", 1_000_000), RateLimitError, 34.0),
        (gemini_429(DAY, 1000), QuotaExhaustedError, None),
        (gemini_429("BatchEnqueuedTokensPerDayPerProject", 3_000_000), QuotaExhaustedError, None),
        (gemini_429(MINUTE, 0), ProviderRefusedError, None),
        (gemini_429(DAY, 0), ProviderRefusedError, None),
        (str(json.loads(gemini_429(MINUTE, 100))), RateLimitError, 34.0),  # as the SDK hands the details on
        (str(json.loads(gemini_429(DAY, 1000))), QuotaExhaustedError, None),
        (str(json.loads(gemini_429(MINUTE, 0))), ProviderRefusedError, None),
        (OPENAI_MINUTE, RateLimitError, 0.6),
        (OPENAI_DAY, RateLimitError, 432.0),
        (OPENAI_SPENT, QuotaExhaustedError, None),
        (
            "Resource exhausted. Please try again later. Please refer to cloud.google.com/billing.",
            RateLimitError,
            None,
        ),
        (
            '{"message": "Trial key: 100 API calls / minute, 1000 per day. Upgrade at .../billing"}',
            RateLimitError,
            None,
        ),
        (
            '{"detail": "Rate limit exceeded: 0 requests left of 300, try again in 1m0.5s"}',
            RateLimitError,
            60.5,
        ),
        ("", RateLimitError, None),
    ],
)
def test_only_a_spent_quota_ends_a_job_whatever_a_429_says_of_billing(
    message: str, kind: type[Exception], seconds: float | None
) -> None:
    error = http_error("gemini:m", 429, message, headers={}, not_found="", key="")
    assert type(error) is kind
    assert getattr(error, "retry_after_seconds", None) == (
        None if seconds is None else pytest.approx(seconds, abs=0.1)
    )


def test_a_limit_per_minute_slows_a_long_job_down_without_ending_it() -> None:
    policy = replace(RetryPolicy.for_bulk(60), max_attempts=2)
    call, timeouts = failing(RateLimitError("slow", retry_after_seconds=34), times=12)
    assert call_with_retries(call, policy, sleep=lambda _seconds: None) == "answer"
    assert len(timeouts) == 13
    with pytest.raises(RateLimitError):  # ten minutes of such waits, then two attempts as for any failure
        call_with_retries(
            failing(RateLimitError("slow", retry_after_seconds=34))[0], policy, sleep=lambda _: None
        )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00", 0.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}) == seconds


def test_the_wait_in_milliseconds_is_the_more_exact_one() -> None:
    assert retry_after({"retry-after": "1", "retry-after-ms": "631"}) == 0.631


def test_retry_after_with_a_future_date_is_the_time_until_then() -> None:
    from datetime import UTC, datetime, timedelta
    from email.utils import format_datetime

    seconds = retry_after(
        {"retry-after": format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)}
    )
    assert seconds is not None
    assert 3590 < seconds <= 3600
