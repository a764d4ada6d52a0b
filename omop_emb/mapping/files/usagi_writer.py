"""Mapped terms as a file that Usagi opens: a new one, or the one they came from with only them changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

from omop_emb.atomic_file import atomic_write
from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.result_rows import other_candidates, provenance_text, target_candidates
from omop_emb.mapping.files.usagi_dialect import UsagiDialect, join_line, join_rfc4180
from omop_emb.mapping.files.usagi_file import ADD_INFO, OLD_MAPPING_TYPES, UsagiFile, UsagiMapping
from omop_emb.mapping.records import Candidate, Decision, MappedTerm, SourceTerm
from omop_emb.records import Concept

AUTHOR = "omop-emb"
# Usagi reads a frequency as a 32-bit integer, and writes -1 where there is none.
_LARGEST_FREQUENCY = 2**31 - 1
_BEFORE = ("sourceCode", "sourceName", "sourceFrequency", "sourceAutoAssignedConceptIds")
_AFTER = (
    "matchScore", "mappingStatus", "equivalence", "statusSetBy", "statusSetOn", "conceptId", "conceptName",
    "domainId", "mappingType", "comment", "createdBy", "createdOn", "assignedReviewer",
)  # fmt: skip
_DETAILS = ("decision", "reason", "probability", "matched text", "others", "flags", "judge", "made with")
_NEW_MAPPING_TYPES = {new: old for old, new in OLD_MAPPING_TYPES.items()}


class PreviousTargets(Protocol):
    """What an earlier mapping says of its targets."""

    def concept(self, concept_id: int) -> Concept | None:
        """A target or its replacement as the vocabulary has it."""

    def mapping_type(self, key: tuple[str, str], concept_id: int) -> str | None:
        """How a source code and name were mapped to a target, such as MAPS_TO_VALUE."""


class UsagiWriter:
    """Writes mapped terms to a file for Usagi, which appears whole when the block ends.

    With an original, every source code that was not mapped keeps its text to the byte, in its place;
    mapped terms must come in the original's order. Without one, further columns become ADD_INFO ones,
    and so do decision, reason and the other candidates.

    Attributes:
        problems: terms that Usagi could not tell apart, and were left out.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        original: UsagiFile | None = None,
        extra_headers: Sequence[str] = (),
        previous: PreviousTargets | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Open nothing yet.

        Args:
            path: of the file to write; it may be the original's.
            original: the file that the terms came from, if Usagi wrote that.
            extra_headers: further columns of the terms' file, carried through.
            previous: earlier mappings, for the names and mapping types of targets that were kept.
            now: seconds since 1970, for the time of acceptance.
        """
        self.problems: list[Problem] = []
        self._path, self._original, self._previous, self._now = path, original, previous, now
        self._extras = tuple(extra_headers)
        self._stack = ExitStack()
        self._last_key: tuple[str, str] | None = None
        if original is not None:
            self._headers: Sequence[str] = original.headers
            self._rest: Iterator[UsagiMapping] = original.mappings()
            self._end = original.line_end
            self._join = join_line if original.dialect is UsagiDialect.USAGI else join_rfc4180
        else:
            carried = [f"{ADD_INFO}{header}" for header in (*self._extras, *self._detail_names())]
            self._headers = (*_BEFORE, *carried, *_AFTER)
            self._rest, self._end, self._join = iter(()), "\n", join_line

    def __enter__(self) -> UsagiWriter:
        self._out: BinaryIO = self._stack.enter_context(atomic_write(self._path))
        self._put(self._join(self._headers) + self._end)
        return self

    def write(self, mapped: MappedTerm) -> None:
        """Add a mapped term: a row for each of its targets."""
        if self._original is None:
            self._write_new(mapped)
            return
        for mapping in self._rest:
            if mapping.line == mapped.term.line:
                self._write_changed(mapping, mapped)
                return
            self._put(mapping.raw)
        raise ValueError("mapped terms must come from the original, in its order")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            try:
                for mapping in self._rest:
                    self._put(mapping.raw)
            except BaseException as failure:
                self._stack.__exit__(type(failure), failure, failure.__traceback__)
                raise
        self._stack.__exit__(kind, error, trace)

    def _put(self, text: str) -> None:
        self._out.write(text.encode())

    def _put_row(self, cells: Mapping[str, str]) -> None:
        self._put(self._join([cells.get(header, "") for header in self._headers]) + self._end)

    def _write_new(self, mapped: MappedTerm) -> None:
        term = mapped.term
        if term.key == self._last_key:
            self.problems.append(
                Problem(
                    term.line or 0, "the same code and name as the row before: Usagi would make them one term"
                )
            )
            return
        self._last_key = term.key
        frequency = -1 if term.frequency is None else min(term.frequency, _LARGEST_FREQUENCY)
        details = dict(zip(self._detail_names(), _details(mapped), strict=True))
        carried = {f"{ADD_INFO}{name}": value for name, value in {**term.extra, **details}.items()}
        base = {
            "sourceCode": term.code,
            "sourceName": term.name,
            "sourceFrequency": str(frequency),
            "sourceAutoAssignedConceptIds": "",
            "equivalence": "UNREVIEWED",
            "assignedReviewer": "",
            "comment": "",
            **carried,
        }
        for cells in self._rows(base, mapped):
            self._put_row(cells)

    def _write_changed(self, mapping: UsagiMapping, mapped: MappedTerm) -> None:
        rows = list(self._rows(mapping.rows[0], mapped))
        if [dict(row) for row in mapping.rows] == [
            {header: row.get(header, "") for header in self._headers} for row in rows
        ]:
            self._put(mapping.raw)
            return
        for cells in rows:
            self._put_row(cells)

    def _rows(self, base: Mapping[str, str], mapped: MappedTerm) -> Iterator[dict[str, str]]:
        # Concept 0 of an earlier mapping: a person has approved that there is no match.
        accepted = mapped.decision is Decision.ACCEPT or mapped.previous == (0,)
        now = str(int(self._now() * 1000))
        old = self._original is not None and self._original.old_mapping_types
        common = {
            **base,
            "matchScore": f"{_match_score(mapped):.2f}",
            "mappingStatus": "APPROVED" if accepted else "UNCHECKED",
            "statusSetBy": AUTHOR if accepted else "",
            "statusSetOn": now if accepted else "0",
            "comment": base.get("comment") or _comment(mapped),
        }
        for concept_id, candidate in target_candidates(mapped) or [(0, None)]:
            name, domain = self._describe(concept_id, candidate)
            kind = self._mapping_type(mapped.term, concept_id, candidate)
            yield {
                **common,
                "conceptId": str(concept_id),
                "conceptName": name,
                "domainId": domain,
                "mappingType": _NEW_MAPPING_TYPES[kind] if old else kind,
                "createdBy": AUTHOR if concept_id else "",
                "createdOn": now if concept_id else "0",
            }

    def _describe(self, concept_id: int, candidate: Candidate | None) -> tuple[str, str]:
        if concept_id == 0:
            return "Unmapped", ""
        if candidate is not None:
            return candidate.concept_name, candidate.domain_id
        concept = self._previous.concept(concept_id) if self._previous is not None else None
        return (concept.concept_name, concept.domain_id or "") if concept is not None else ("", "")

    def _mapping_type(self, term: SourceTerm, concept_id: int, candidate: Candidate | None) -> str:
        kept = self._previous.mapping_type(term.key, concept_id) if self._previous is not None else None
        if kept is not None:
            return kept
        through_value = candidate is not None and any(
            step.relationship_id == "Maps to value" for step in candidate.path
        )
        return "MAPS_TO_VALUE" if through_value else "MAPS_TO"

    def _detail_names(self) -> list[str]:
        return [name if name not in self._extras else f"{name} (omop-emb)" for name in _DETAILS]


def _details(mapped: MappedTerm) -> list[str]:
    best = mapped.best
    return [
        mapped.decision.value,
        mapped.reason,
        "" if mapped.probability is None else f"{mapped.probability:.3f}",
        "" if best is None else best.matched_text,
        other_candidates(mapped),
        "" if best is None else "; ".join(best.flags),
        mapped.judge,
        provenance_text(mapped),
    ]


def _match_score(mapped: MappedTerm) -> float:
    """0 to 1: the probability, or where there is none the best of the retrievers' scores."""
    if mapped.probability is not None:
        return mapped.probability
    scores = mapped.best.retrievers.values() if mapped.best is not None else ()
    return min(1.0, max(0.0, *scores, 0.0))


def _comment(mapped: MappedTerm) -> str:
    forced = mapped.decision is Decision.ACCEPT and mapped.provenance.accept_untrained
    return f"{mapped.reason} (--accept-untrained)" if forced else mapped.reason
