"""HTTP errors: what a status or a broken connection means for a call, without quoting the server.

A server's own message may repeat the text or the key that it was sent. It is searched for known causes and
never passed on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType

from omop_emb.errors import (
    InvalidAnswerError,
    ProviderError,
    ProviderRefusedError,
    ProviderUnavailableError,
    QuotaExhaustedError,
    RateLimitError,
    TextRejectedError,
)
from omop_emb.providers.base import BatchTooLargeError

_TOO_LONG = re.compile(
    r"context length|context window|input length|too long|(?:less|more|fewer) than \d+ tokens"
    r"|maximum .{0,20}tokens|token limit|exceeds? .{0,40}(?:tokens|context)",
    re.IGNORECASE,
)
_NOT_A_NUMBER = re.compile(r"\bNaN\b|unsupported value")
_TOO_MANY = re.compile(
    r"batch size|at most \d+ requests|too many inputs|array .{0,20}too long|payload size", re.I
)
_BAD_KEY = re.compile(r"API_KEY_INVALID|API key (?:not valid|not found|expired)|invalid.api.key", re.I)
_NOT_MATRYOSHKA = re.compile(r"matryoshka|dimensions? .{0,30}not support|not support .{0,60}dimensions", re.I)
_NO_EMBEDDINGS = re.compile(r"does not support embed|not an embedding model|not support.{0,30}embedd", re.I)
# What a 429 means is in its codes, not in its words: Gemini and OpenAI speak of plan and billing for a limit
# per minute, too. google.rpc.QuotaFailure names each limit that was exceeded, such as
# EmbedContentRequestsPerDayPerUserPerProjectPerModel-FreeTier; OpenAI has a code.
_SPENT_QUOTA = re.compile(r"quotaId\W{1,6}\w*PerDay|\binsufficient_quota\b", re.I)
_NOTHING_ALLOWED = re.compile(r"\blimit\W{1,3}0(?![\d.])|quotaValue\W{1,6}0\b", re.I)
_REQUESTED_WAIT = re.compile(
    r"(?:retryDelay\W{1,6}|(?:retry|try again) in )(?P<wait>(?:\d+(?:\.\d+)?(?:ms|h|m|s))+)"
)
_SEARCHED = 1 << 16  # characters of a message
_LONGEST_WAIT = 7 * 86_400.0
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def http_error(
    source: str,
    status: int,
    message: str,
    *,
    headers: Mapping[str, str],
    not_found: str,
    key: str,
    errors: Mapping[str, str] = MappingProxyType({}),
) -> ProviderError:
    """The error that an HTTP status stands for; the server's message is searched and never passed on.

    `not_found` says what to do after a 404, `key` where the key comes from; `errors` are the service's own
    words, as in its profile.
    """
    at, message = f"(HTTP {status})", message[:_SEARCHED]
    for reason, pattern in errors.items():
        if 400 <= status < 500 and re.search(pattern, message, re.IGNORECASE):
            return _named_error(reason, source, at)
    if _BAD_KEY.search(message) or status == 401:
        return ProviderRefusedError(f"{source} does not accept the key {at}: check {key}")
    if status == 403:
        return ProviderRefusedError(f"{source} is not allowed with this key {at}: check {key} and its rights")
    if status == 404:
        return ProviderRefusedError(f"{source} was not found {at}: {not_found}")
    if status == 429 and _NOTHING_ALLOWED.search(message):
        return ProviderRefusedError(
            f"this key's plan allows no requests to {source} {at}: choose another model, or a plan that "
            "includes it"
        )
    if status == 402 or (status == 429 and _SPENT_QUOTA.search(message)):
        return _no_quota(source, at)
    retry_after_seconds = requested_wait(message)
    if retry_after_seconds is None:
        retry_after_seconds = retry_after(headers)
    if status == 429:
        return RateLimitError(
            f"{source} asks for fewer requests {at}: set OMOP_EMB_REQUESTS_PER_MINUTE or "
            "OMOP_EMB_TEXTS_PER_MINUTE to what your account allows",
            retry_after_seconds=retry_after_seconds,
        )
    # Some servers answer 500 for a text that they turn into NaN each time: no retry helps then.
    if _NOT_A_NUMBER.search(message):
        return TextRejectedError(f"{source} turns it into NaN {at}")
    if status in (408, 425) or status >= 500:
        return ProviderUnavailableError(
            f"{source} is not available {at}", retry_after_seconds=retry_after_seconds
        )
    if status < 400:
        return ProviderRefusedError(
            f"{source} does not answer as an embedding service {at}: check its address"
        )
    if _NO_EMBEDDINGS.search(message):
        return ProviderRefusedError(
            f"{source} is not an embedding model {at}: choose one with omop-emb models list"
        )
    if _NOT_MATRYOSHKA.search(message):
        return ProviderRefusedError(f"{source} cannot cut its vectors {at}: unset OMOP_EMB_DIMENSIONS")
    if status == 413 or _TOO_MANY.search(message):
        return BatchTooLargeError(f"it is too large for {source} {at}")
    if _TOO_LONG.search(message):
        return TextRejectedError(f"it is longer than {source} accepts {at}")
    if status in (400, 422):
        return TextRejectedError(f"{source} refuses it {at}")
    return ProviderRefusedError(
        f"{source} refuses the request {at}: check the provider's address and settings"
    )


def _named_error(reason: str, source: str, at: str) -> ProviderError:
    """The error for one of the reasons that a profile names."""
    if reason == "too large":
        return BatchTooLargeError(f"it is too large for {source} {at}")
    if reason == "too long":
        return TextRejectedError(f"it is longer than {source} accepts {at}")
    return _no_quota(source, at)


def _no_quota(source: str, at: str) -> QuotaExhaustedError:
    return QuotaExhaustedError(
        f"the quota of {source} is used up {at}: run again when it is renewed; nothing that was done is lost"
    )


def connection_error(source: str, server: str, error: Exception) -> ProviderUnavailableError:
    """The error that a failed connection stands for, by its class names: httpx's and httpx2's are alike."""
    kinds = {entry.__name__ for entry in type(error).__mro__}
    if kinds & {"ConnectTimeout", "PoolTimeout"}:
        problem = f"{server} does not accept the connection in time"
    elif "TimeoutException" in kinds:
        problem = f"{server} does not answer in time"
    elif kinds & {"ConnectError", "ConnectionError"}:
        problem = f"{server} cannot be reached"
    else:
        problem = f"the connection to {server} broke ({type(error).__name__})"
    return ProviderUnavailableError(f"{source}: {problem}")


def unreadable_response(source: str, server: str) -> ProviderUnavailableError:
    """The error for a response that is not the expected JSON, such as a proxy's page."""
    return ProviderUnavailableError(
        f"{source}: {server} answered with something other than embeddings; is there a proxy in between, or "
        "another service at this address?"
    )


def oversized_response(source: str, server: str, most: str) -> InvalidAnswerError:
    """The error for a response that does not end where any answer of a model has."""
    return InvalidAnswerError(
        f"{source}: {server} answered with more than {most}, more than any model's answer; is it the "
        "right address?"
    )


def requested_wait(message: str) -> float | None:
    """Seconds that a response body asks to wait, such as "retry in 34.07s"; None where it does not."""
    match = _REQUESTED_WAIT.search(message)
    if match is None:
        return None
    pieces = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", match["wait"])
    return min(_LONGEST_WAIT, sum(float(number) * _UNIT_SECONDS[unit] for number, unit in pieces))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date; None where there is none."""
    milliseconds = headers.get("retry-after-ms", "").strip()  # OpenAI's, more exact than its whole seconds
    if re.fullmatch(r"\d+(\.\d+)?", milliseconds):
        return min(_LONGEST_WAIT, float(milliseconds) / 1000)
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return min(_LONGEST_WAIT, float(value))
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return min(_LONGEST_WAIT, max(0.0, (date - datetime.now(UTC)).total_seconds()))
