"""What an HTTP answer or a broken connection means for an embedding call, told without quoting anything.

A server's own message may repeat the text it was sent, or the key. It is searched for known causes and never
passed on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from omop_emb.errors import (
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
_NO_CUT = re.compile(r"matryoshka|dimensions? .{0,30}not support|not support .{0,60}dimensions", re.I)
_NO_EMBEDDINGS = re.compile(r"does not support embed|not an embedding model|not support.{0,30}embedd", re.I)
_SPENT = re.compile(r"insufficient_quota|billing|PerDay|per day", re.I)


def http_fault(
    source: str,
    status: int,
    message: str,
    *,
    headers: Mapping[str, str] | None = None,
    retry_after_seconds: float | None = None,
    not_found: str = "is the model's name right?",
    key: str = "the provider's key",
) -> ProviderError:
    """The error that an HTTP status stands for.

    Args:
        source: the model as provider:model, for the message.
        status: HTTP status.
        message: the server's words; searched for causes, never passed on.
        headers: the answer's, for Retry-After.
        retry_after_seconds: how long the server asks to wait, where its body says so.
        not_found: what to do about a 404.
        key: where the key comes from.
    """
    at = f"(HTTP {status})"
    if _BAD_KEY.search(message) or status == 401:
        return ProviderRefusedError(f"{source} does not accept the key {at}: check {key}")
    if status == 403:
        return ProviderRefusedError(f"{source} is not allowed to this key {at}: check {key} and its rights")
    if status == 404:
        return ProviderRefusedError(f"{source} is not there {at}: {not_found}")
    if status == 402 or (status == 429 and _SPENT.search(message)):
        return QuotaExhaustedError(
            f"the quota of {source} is used up {at}: run again when it is renewed; what was done stays done"
        )
    asked = retry_after_seconds if retry_after_seconds is not None else retry_after(headers or {})
    if status == 429:
        return RateLimitError(
            f"{source} asks for fewer requests {at}: set OMOP_EMB_REQUESTS_PER_MINUTE or "
            "OMOP_EMB_TEXTS_PER_MINUTE to what your account grants",
            retry_after_seconds=asked,
        )
    # Some servers report with 500 what one text does to them each time: no retry helps then.
    if _NOT_A_NUMBER.search(message):
        return TextRejectedError(f"{source} makes NaN of it {at}")
    if 400 <= status < 500 and status not in (408, 425):
        return _client_fault(source, status, message)
    if status >= 500 or status in (408, 425):
        return ProviderUnavailableError(f"{source} is not available {at}", retry_after_seconds=asked)
    return ProviderRefusedError(f"{source} does not answer as an embedding service {at}: check its address")


def _client_fault(source: str, status: int, message: str) -> ProviderError:
    at = f"(HTTP {status})"
    if _NO_EMBEDDINGS.search(message):
        return ProviderRefusedError(
            f"{source} is no embedding model {at}: choose one with omop-emb models list"
        )
    if _NO_CUT.search(message):
        return ProviderRefusedError(f"{source} cannot cut its vectors {at}: unset OMOP_EMB_DIMENSIONS")
    if status == 413 or _TOO_MANY.search(message):
        return BatchTooLargeError(f"{source} finds it too large {at}")
    if _TOO_LONG.search(message):
        return TextRejectedError(f"it is longer than {source} takes {at}")
    if status in (400, 422):
        return TextRejectedError(f"{source} refuses it {at}")
    return ProviderRefusedError(
        f"{source} refuses the request {at}: check the provider's address and settings"
    )


def transport_fault(source: str, where: str, error: Exception) -> ProviderUnavailableError:
    """The error that a failed connection stands for; told by the class, of httpx as of httpx2."""
    kinds = {entry.__name__ for entry in type(error).__mro__}
    if "ConnectTimeout" in kinds or "PoolTimeout" in kinds:
        what = f"{where} does not take the connection in time"
    elif "TimeoutException" in kinds:
        what = f"{where} does not answer in time"
    elif kinds & {"ConnectError", "ConnectionError"}:
        what = f"{where} cannot be reached"
    else:
        what = f"the connection to {where} broke ({type(error).__name__})"
    return ProviderUnavailableError(f"{source}: {what}")


def garbled(source: str, where: str) -> ProviderUnavailableError:
    """The error for an answer that is no JSON of embeddings, such as a proxy's page."""
    return ProviderUnavailableError(
        f"{source}: {where} answered with something else than embeddings; is there a proxy in between, or "
        "another service at this address?"
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date; None where there is none."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())
