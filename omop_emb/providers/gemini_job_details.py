"""Gemini job details: the error and the files of a batch job, from the service's own JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

# google.rpc.Code, by its numbers.
_CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
# Causes by words of the service's message, which itself may quote a text.
_CAUSES = (
    (r"quota|rate.?limit|exhausted|billing", "a quota is used up, or billing is not set up"),
    (r"dimension", "the model does not have OMOP_EMB_DIMENSIONS"),
    (r"token|too long|context", "a text is longer than the model reads"),
    (r"too large|payload|size|bytes|too many", "the file of texts is too large"),
    (
        r"pars|malformed|json|unknown name|cannot find field|format|line \d",
        "the file of texts cannot be read",
    ),
    (r"permission|denied|forbidden|api.key|credential", "the key is not allowed to do this"),
    (r"location|region|country", "the service is not offered in this region"),
    (
        r"not found|not exist|no longer|not supported|deprecated|shut down",
        "the model or a file does not exist",
    ),
    (r"internal|unavailable|backend|deadline|timed? ?out|try again", "the service itself failed"),
)


def error_of(error: Any) -> tuple[str, str]:
    """(code, message) of an error in a response, such as ("INVALID_ARGUMENT", "…"); "" where there is none.

    The message is the service's own and may quote a text: search it, and never show it.
    """
    if not isinstance(error, Mapping):
        return "", ""
    status, number, message = error.get("status"), error.get("code"), error.get("message")
    if isinstance(status, str) and status in _CODES:
        code = status
    elif isinstance(number, int) and 0 < number < len(_CODES):
        code = _CODES[number]
    else:
        code = f"code {number}" if isinstance(number, int) and 0 <= number < 1000 else ""
    return code, message if isinstance(message, str) else ""


def cause_of(message: str) -> str:
    """What a service's message speaks of, in our words; "" if it is nothing known."""
    return next((cause for words, cause in _CAUSES if re.search(words, message, re.IGNORECASE)), "")


def file_names(job: Mapping[str, Any]) -> Iterator[str]:
    """The names of a job's file of texts and of its file of results, as far as the service says them."""
    metadata = job.get("metadata")
    for described in (metadata, job.get("response")):
        if not isinstance(described, Mapping):
            continue
        for part, names in (
            ("inputConfig", ("fileName", "file_name")),
            ("output", ("responsesFile", "responses_file")),
        ):
            section = described.get(part)
            values = [section.get(name) for name in names] if isinstance(section, Mapping) else []
            yield from (value for value in values if isinstance(value, str) and value.startswith("files/"))
