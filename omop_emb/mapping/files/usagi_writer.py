"""Usagi writer: mapped terms as a file for Usagi, a new one or the original with only them changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.problem_list import ProblemList
from omop_emb.mapping.files.result_rows import (
    ordered_by,
    other_candidates,
    provenance_text,
    target_candidates,
)
from omop_emb.mapping.files.table_writer import OpenFile
from omop_emb.mapping.files.usagi_dialect import UsagiDialect, join_line, join_rfc4180
from omop_emb.mapping.files.usagi_file import ADD_INFO, MAPS_TO, OLD_MAPPING_TYPES, UsagiFile, UsagiMapping
from omop_emb.mapping.records import Candidate, CheckedTargets, Decision, MappedTerm
from omop_emb.records import Concept
from omop_emb.safe_files.atomic_file import atomic_write

AUTHOR = "omop-emb"
# Usagi reads a frequency as a 32-bit integer, and writes -1 for none.
_MAX_FREQUENCY = 2**31 - 1
_BEFORE = ("sourceCode", "sourceName", "sourceFrequency", "sourceAutoAssignedConceptIds")
_AFTER = (
    "matchScore", "mappingStatus", "equivalence", "statusSetBy", "statusSetOn", "conceptId", "conceptName",
    "domainId", "mappingType", "comment", "createdBy", "createdOn", "assignedReviewer",
)  # fmt: skip
_DETAILS = (
    "decision", "reason", "probability", "matched text", "translation", "others", "flags", "judge",
    "ordered by",
    "made with",
)  # fmt: skip
_NEW_MAPPING_TYPES = {new: old for old, new in OLD_MAPPING_TYPES.items()}


class PreviousTargets(Protocol):
    """The targets of an earlier mapping."""

    def concept(self, concept_id: int) -> Concept | None:
        """A target, or its replacement, as in the vocabulary."""

    def approved_by(self, key: tuple[str, str]) -> str:
        """Who approved the mapping of a source code and name; "" if nobody is named."""


@contextmanager
def write_usagi(
    path: str | Path,
    *,
    original: UsagiFile | None = None,
    extra_headers: Sequence[str] = (),
    previous: PreviousTargets | None = None,
    check: Callable[[Sequence[int]], CheckedTargets] = CheckedTargets.trusted,
    now: Callable[[], float] = time.time,
    open_file: OpenFile = atomic_write,
) -> Iterator[UsagiWriter]:
    """A writer of a file for Usagi, which appears, complete, when the block ends.

    With an original, every source code that is not mapped keeps its place and its text, byte for byte;
    mapped terms must come in the original's order. Without one, further columns become ADD_INFO columns,
    and so do decision, reason and the other candidates.

    Args:
        path: the file to write; it may be the original's.
        original: the file that the terms are from, if Usagi wrote it.
        extra_headers: further columns of the terms' file.
        previous: earlier mappings, for the names and mapping types of reused targets.
        check: asked about the approved targets of the original; those that are not valid are flagged.
        now: seconds since 1970, for the times of acceptance and creation.
        open_file: how the file is opened.
    """
    with open_file(path) as handle:
        writer = UsagiWriter(handle, original, extra_headers, previous, check, now)
        yield writer
        writer.finish()


class UsagiWriter:
    """Writes mapped terms, see write_usagi().

    Attributes:
        problems: terms that were left out because Usagi could not tell them apart.
    """

    def __init__(
        self,
        handle: BinaryIO,
        original: UsagiFile | None,
        extra_headers: Sequence[str],
        previous: PreviousTargets | None,
        check: Callable[[Sequence[int]], CheckedTargets],
        now: Callable[[], float],
    ) -> None:
        self.problems = ProblemList()
        self._handle, self._original, self._previous, self._now = handle, original, previous, now
        self._check = check
        self._last_key: tuple[str, str] | None = None
        self._detail_headers = [
            f"{ADD_INFO}{name} (omop-emb)" if name in extra_headers else f"{ADD_INFO}{name}"
            for name in _DETAILS
        ]
        if original is not None:
            self._headers: Sequence[str] = original.headers
            self._rest: Iterator[UsagiMapping] = original.mappings()
            self._line_end = original.line_end
            self._join = join_line if original.dialect is UsagiDialect.USAGI else join_rfc4180
        else:
            extras = (f"{ADD_INFO}{header}" for header in extra_headers)
            self._headers = (*_BEFORE, *extras, *self._detail_headers, *_AFTER)
            self._rest, self._line_end, self._join = iter(()), "\n", join_line
        self._write_text(self._join(self._headers) + self._line_end)

    def write(self, mapped: MappedTerm) -> None:
        """Add a mapped term, one row per target.

        Raises:
            ValueError: it is not from the original, or not in its order.
        """
        if self._original is None:
            self._write_new(mapped)
            return
        for mapping in self._rest:
            if mapping.line == mapped.term.line:
                self._write_changed(mapping, mapped)
                return
            self._copy(mapping)
        raise ValueError("mapped terms must come from the original, in its order")

    def finish(self) -> None:
        """Copy the rest of the original."""
        for mapping in self._rest:
            self._copy(mapping)

    def _copy(self, mapping: UsagiMapping) -> None:
        """A source code that was not mapped, byte for byte unless an approved target is not valid now."""
        is_approved = not mapping.problem and mapping.status == "APPROVED"
        outdated = self._check([t.concept_id for t in mapping.targets]).outdated if is_approved else ""
        if not outdated:
            self._write_text(mapping.raw)
            return
        for row in mapping.rows:
            comment = "; ".join(filter(None, [row.get("comment", ""), f"approved before, but {outdated}"]))
            self._write_row({**row, "mappingStatus": "FLAGGED", "comment": comment})

    def _write_text(self, text: str) -> None:
        self._handle.write(text.encode())

    def _write_row(self, cells: Mapping[str, str]) -> None:
        self._write_text(self._join([cells.get(header, "") for header in self._headers]) + self._line_end)

    def _write_new(self, mapped: MappedTerm) -> None:
        term = mapped.term
        if term.key == self._last_key:
            reason = "the same code and name as the row before: Usagi would merge them into one term"
            self.problems.append(Problem(term.line or 0, reason))
            return
        self._last_key = term.key
        frequency = -1 if term.frequency is None else min(term.frequency, _MAX_FREQUENCY)
        base = {
            "sourceCode": term.code,
            "sourceName": term.name,
            "sourceFrequency": str(frequency),
            "equivalence": "UNREVIEWED",
            **{f"{ADD_INFO}{name}": value for name, value in term.extra.items()},
            **dict(zip(self._detail_headers, _details(mapped), strict=True)),
        }
        for cells in self._rows(base, mapped):
            self._write_row(cells)

    def _write_changed(self, mapping: UsagiMapping, mapped: MappedTerm) -> None:
        rows = list(self._rows(mapping.rows[0], mapped))
        if [dict(row) for row in mapping.rows] == [
            {header: row.get(header, "") for header in self._headers} for row in rows
        ]:
            self._write_text(mapping.raw)
            return
        for cells in rows:
            self._write_row(cells)

    def _rows(self, base: Mapping[str, str], mapped: MappedTerm) -> Iterator[dict[str, str]]:
        # Concept 0 of an earlier mapping: a person has approved that there is no match.
        accepted = mapped.decision is Decision.ACCEPT or mapped.previous == (0,)
        now = str(int(self._now() * 1000))
        has_old_types = self._original is not None and self._original.old_mapping_types
        common = {
            **base,
            "matchScore": f"{_match_score(mapped):.2f}",
            "mappingStatus": "APPROVED" if accepted else "UNCHECKED",
            "statusSetBy": self._approved_by(mapped) if accepted else "",
            "statusSetOn": now if accepted else "0",
            "comment": base.get("comment") or _comment(mapped),
        }
        targets = [
            (concept_id, MAPS_TO, *self._name_and_domain(concept_id, candidate))
            for concept_id, candidate in target_candidates(mapped)
        ]
        # Usagi has a row for each of them, told apart by its mapping type, such as MAPS_TO_VALUE.
        targets += [
            (value.concept_id, value.relationship_id.upper().replace(" ", "_"), value.concept_name, "")
            for value in mapped.mapped_values
        ]
        for concept_id, mapping_type, name, domain in targets or [(0, MAPS_TO, "Unmapped", "")]:
            written_type = _NEW_MAPPING_TYPES.get(mapping_type, mapping_type)
            yield {
                **common,
                "conceptId": str(concept_id),
                "conceptName": name,
                "domainId": domain,
                "mappingType": written_type if has_old_types else mapping_type,
                "createdBy": AUTHOR if concept_id else "",
                "createdOn": now if concept_id else "0",
            }

    def _approved_by(self, mapped: MappedTerm) -> str:
        """Who approved it; only what omop-emb decides by itself bears its own name."""
        if not mapped.is_reused:
            return AUTHOR
        named = self._previous.approved_by(mapped.term.key) if self._previous is not None else ""
        return named or "approved before"

    def _name_and_domain(self, concept_id: int, candidate: Candidate | None) -> tuple[str, str]:
        if concept_id == 0:  # approved as no match
            return "Unmapped", ""
        if candidate is not None:
            return candidate.concept_name, candidate.domain_id
        concept = self._previous.concept(concept_id) if self._previous is not None else None
        return (concept.concept_name, concept.domain_id or "") if concept is not None else ("", "")


def _details(mapped: MappedTerm) -> list[str]:
    best = mapped.best
    return [
        mapped.decision.value,
        mapped.reason,
        "" if mapped.probability is None else f"{mapped.probability:.3f}",
        "" if best is None else best.matched_text,
        mapped.term.translation,
        other_candidates(mapped),
        "" if best is None else "; ".join(best.flags),
        mapped.judge,
        ordered_by(mapped),
        provenance_text(mapped),
    ]


def _match_score(mapped: MappedTerm) -> float:
    """0 to 1: the probability, or if there is none the best of the retrievers' scores."""
    if mapped.probability is not None:
        return mapped.probability
    scores = mapped.best.retrievers.values() if mapped.best is not None else ()
    return min(1.0, max(0.0, *scores, 0.0))


def _comment(mapped: MappedTerm) -> str:
    forced = mapped.decision is Decision.ACCEPT and mapped.provenance.accept_untrained
    return f"{mapped.reason} (--accept-untrained)" if forced else mapped.reason
