"""New file for Usagi: every term of a review that came from another program's file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

from omop_emb.mapping.files.usagi_dialect import join_line
from omop_emb.mapping.files.usagi_file import ADD_INFO, MAPS_TO
from omop_emb.mapping.files.usagi_writer import AUTHOR
from omop_emb.records import MAX_CONCEPT_ID
from omop_emb.service.review.decision_records import Equivalence, ReviewState
from omop_emb.service.review.exports.exported_terms import ExportedTerm
from omop_emb.service.review.exports.left_out import LeftOutCounts
from omop_emb.service.review.exports.target_concepts import TargetConcepts
from omop_emb.service.review.exports.usagi_verdict import NO_TARGET, USAGI_STATES

POSITION, VERSION = f"{ADD_INFO}review position", f"{ADD_INFO}review version"
"""Columns by which the file is read back: the term, and how often it had been decided."""
OTHERS = f"{ADD_INFO}other candidates"
_OWN = (POSITION, VERSION, OTHERS)
_BEFORE = ("sourceCode", "sourceName", "sourceFrequency", "sourceAutoAssignedConceptIds")
_AFTER = (
    "matchScore", "mappingStatus", "equivalence", "statusSetBy", "statusSetOn", "conceptId", "conceptName",
    "domainId", "mappingType", "comment", "createdBy", "createdOn", "assignedReviewer",
)  # fmt: skip
_MOST_FREQUENCY = 2**31 - 1  # Usagi reads a 32-bit integer, and writes -1 for none
_OTHERS_SHOWN = 4


class NewUsagiFile:
    """Writes a new file for Usagi; terms come in the order of the review.

    Attributes:
        rows: written, without the header.
        notes: for people.
    """

    def __init__(
        self,
        headers: Sequence[str],
        made_on: int,
        out: BinaryIO,
        concepts: TargetConcepts,
        left_out: LeftOutCounts,
    ) -> None:
        """`headers`: of the source's further columns; `made_on`: of the suggestions, in ms since 1970."""
        self.rows = 0
        self.notes: list[str] = []
        self._extras = {header: f"{ADD_INFO}{header}" for header in headers}
        taken = set(_OWN)
        for header, name in self._extras.items():
            while name in taken:
                name += " (source)"
            taken.add(name)
            self._extras[header] = name
        self._made_on, self._out, self._concepts, self._left_out = made_on, out, concepts, left_out
        self._last_key: tuple[str, str] | None = None
        self._headers = (*_BEFORE, *self._extras.values(), *_OWN, *_AFTER)
        self._write(self._headers)

    def write(self, term: ExportedTerm) -> None:
        """Add a term: one row per target, one with its first candidate if it is not decided."""
        key = (_as_read(term.term.code), _as_read(term.term.name))
        if key == self._last_key:
            reason = "the same code and name as the term before it, with which Usagi would merge it"
            self._left_out.add(reason, term.example)
            return
        self._last_key = key
        head = self._head(term)
        for target in self._targets(term):
            self._write([{**head, **target}.get(header, "") for header in self._headers])
            self.rows += 1

    def finish(self) -> None:
        """Nothing is left to write."""

    def _head(self, term: ExportedTerm) -> dict[str, str]:
        source, verdict = term.term, term.verdict
        frequency = -1 if source.frequency is None else max(-1, min(source.frequency, _MOST_FREQUENCY))
        is_open = verdict.state is ReviewState.UNREVIEWED
        suggested = [str(one) for one in dict.fromkeys(source.suggestions) if 0 < one <= MAX_CONCEPT_ID]
        others = term.candidates[1 : 1 + _OTHERS_SHOWN]
        return {
            "sourceCode": source.code,
            "sourceName": source.name,
            "sourceFrequency": str(frequency),
            "sourceAutoAssignedConceptIds": ";".join(suggested),
            **{self._extras[name]: value for name, value in source.extra.items() if name in self._extras},
            POSITION: str(term.position),
            VERSION: str(term.version),
            OTHERS: "; ".join(f"{one.concept_id} {one.concept_name}" for one in others),
            "matchScore": f"{_match_score(term):.2f}",
            "mappingStatus": USAGI_STATES[verdict.state],
            "equivalence": (Equivalence.UNREVIEWED if is_open else verdict.equivalence).value,
            "statusSetBy": "" if is_open else term.reviewer or "",
            "statusSetOn": "0" if is_open else str(term.decided_ms),
            "comment": verdict.comment,
            "assignedReviewer": term.assigned_to,
        }

    def _targets(self, term: ExportedTerm) -> Iterator[Mapping[str, str]]:
        for target in term.verdict.targets:
            name, domain = self._concepts.name_and_domain(term, target.concept_id)
            yield {
                "conceptId": str(target.concept_id),
                "conceptName": name,
                "domainId": domain,
                "mappingType": target.mapping_type,
                "createdBy": term.reviewer or "",
                "createdOn": str(term.decided_ms),
            }
        if term.verdict.targets:
            return
        if term.state is ReviewState.UNREVIEWED and term.candidates:
            best = term.candidates[0]
            yield {
                "conceptId": str(best.concept_id),
                "conceptName": best.concept_name,
                "domainId": best.domain_id,
                "mappingType": MAPS_TO,
                "createdBy": AUTHOR,
                "createdOn": str(self._made_on),
            }
            return
        yield NO_TARGET

    def _write(self, cells: Sequence[str]) -> None:
        self._out.write((join_line(cells) + "\n").encode())


def _match_score(term: ExportedTerm) -> float:
    """0 to 1: the probability, or if there is none the best of the retrievers' scores."""
    if term.probability is not None:
        return term.probability
    scores = term.candidates[0].retrievers.values() if term.candidates else ()
    return min(1.0, max(0.0, *scores, 0.0))


def _as_read(text: str) -> str:
    """A text as Usagi reads it back, by which it recognises the rows of a term."""
    return text.replace("\r", "").replace("\n", "\\n")
