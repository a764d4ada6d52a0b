"""What is left out of an export: terms counted by reason, with the first of them as examples."""

from __future__ import annotations

from omop_emb.service.review.decision_records import ReviewState
from omop_emb.service.review.exports.export_format import LeftOut

_EXAMPLES = 5
_WAITING = {
    ReviewState.UNREVIEWED: "not reviewed",
    ReviewState.FLAGGED: "flagged",
    ReviewState.IGNORED: "ignored",
}


class LeftOutCounts:
    """Counts terms by the reason for which an export does not have them."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}

    def add(self, reason: str, example: str) -> None:
        """Count a term; `example` names it to people: its code or line."""
        self._counts[reason] = self._counts.get(reason, 0) + 1
        examples = self._examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append(example)

    @property
    def as_tuple(self) -> tuple[LeftOut, ...]:
        """By reason, the most frequent first."""
        by_count = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        return tuple(
            LeftOut(reason=reason, count=count, examples=tuple(self._examples[reason]))
            for reason, count in by_count
        )


def waiting_reason(state: ReviewState) -> str:
    """Why a term has no answer that could be exported, "" if it has one."""
    return _WAITING.get(state, "")
