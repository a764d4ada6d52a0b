"""Imported terms: a term of a file, and what the file says that a person decided about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from omop_emb.mapping.records import SourceTerm
from omop_emb.service.review.decision_records import Equivalence, Verdict

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)
LONGEST_COMMENT = 10_000

# What other programs, and people, call Usagi's; those whose direction is not certain are left out.
_OTHER_EQUIVALENCES = {
    "": Equivalence.UNREVIEWED,
    "EXACT": Equivalence.EQUAL,
    "RELATED": Equivalence.INEXACT,
    "RELATEDTO": Equivalence.INEXACT,
    "NO_MATCH": Equivalence.UNMATCHED,
    "UNCLEAR": Equivalence.UNREVIEWED,
}
_EQUIVALENCES = {one.value: one for one in Equivalence} | _OTHER_EQUIVALENCES


@dataclass(frozen=True, kw_only=True)
class ImportedTerm:
    """A term of a file.

    Attributes:
        source_state: as the file says it, such as AUTO_MAPPED_TO_1; "" for none.
        verdict: what a person decided; None if nobody did.
        reviewer: who that was; "" if the file does not say.
        decided_at: when; None if the file does not say.
        assigned_to: who is to review it; "" for nobody.
    """

    term: SourceTerm
    source_state: str = ""
    verdict: Verdict | None = None
    reviewer: str = ""
    decided_at: datetime | None = None
    assigned_to: str = ""


def parse_equivalence(text: str) -> Equivalence | None:
    """An equivalence by Usagi's name, or in the words that people see; None if it is neither."""
    name = text.strip().upper().replace(" ", "_").replace("-", "_")
    found = _EQUIVALENCES.get(name)
    return found or next((one for one in Equivalence if one.words == text.strip()), None)


def parse_milliseconds(text: str) -> datetime | None:
    """A time as Usagi writes it, in milliseconds since 1970; None for none or one that cannot be."""
    if not text.strip().isascii() or not text.strip().isdigit() or len(text.strip()) > 15:
        return None
    moment = _EPOCH + timedelta(milliseconds=int(text))
    return moment if _EPOCH < moment < _LATEST else None


def is_usable_name(text: str) -> bool:
    """Whether a text can be a reviewer's name."""
    return bool(text.strip()) and len(text.strip()) <= 200 and text.strip().isprintable()
