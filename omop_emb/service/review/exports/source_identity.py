"""Source identity: what the terms of a review are called in formats that want a URI for each code."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC
from uuid import NAMESPACE_URL, UUID, uuid5

from omop_emb.errors import InputError
from omop_emb.mapping.records import SourceTerm
from omop_emb.service.review.project_records import Project

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+")  # RFC 3986: none of these stand in a URI
_LONGEST = 2_000


def review_uuid(project: Project) -> UUID:
    """The same for each export of a review, and another for any other review."""
    made = project.created_at.astimezone(UTC).isoformat()
    return uuid5(NAMESPACE_URL, f"omop-emb review {project.file_digest} {project.name} {made}")


def checked_uri(option: str, text: str) -> str:
    """A URI that a person gave.

    Raises:
        InputError: it is none, or a relative one.
    """
    if len(text) > _LONGEST or _URI.fullmatch(text) is None:
        raise InputError(f"{option} takes a URI such as https://example.org/codes; found {text[:60]!r}")
    return text


def code_vocabulary(term: SourceTerm) -> str | None:
    """The OMOP vocabulary that a term's code is from; None for a code of the site's own, or no code."""
    vocabulary = (term.source_vocabulary or "").strip()
    return vocabulary if term.code.strip() and vocabulary and "|" not in vocabulary else None


def name_hash(name: str) -> str:
    """16 hexadecimal digits that stand for a name."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
