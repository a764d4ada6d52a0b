"""Usagi's own file with the decisions of a review: what nobody changed keeps its text, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO

from omop_emb.mapping.files.encoding import open_text
from omop_emb.mapping.files.table_file import TableFile
from omop_emb.mapping.files.usagi_dialect import UsagiDialect, join_line, join_rfc4180, split_line
from omop_emb.mapping.files.usagi_file import UsagiFile, UsagiMapping
from omop_emb.records import counted
from omop_emb.service.review.decision_records import Action, Equivalence, ReviewState, Target, Verdict
from omop_emb.service.review.exports.exported_terms import ExportedTerm
from omop_emb.service.review.exports.left_out import LeftOutCounts
from omop_emb.service.review.exports.target_concepts import TargetConcepts
from omop_emb.service.review.exports.usagi_verdict import (
    NO_TARGET,
    OLD_NAMES,
    USAGI_STATES,
    row_target,
    usagi_verdict,
)

_LONGEST_HEADER = 1 << 20
_OPTIONAL = ("equivalence", "statusSetBy", "statusSetOn", "comment", "createdBy", "createdOn")


class UsagiOriginal:
    """Writes the file that a review came from; terms come in its order.

    Attributes:
        rows: written, without the header.
        notes: for people.
    """

    def __init__(
        self,
        original: UsagiFile,
        table: TableFile,
        out: BinaryIO,
        concepts: TargetConcepts,
        left_out: LeftOutCounts,
    ) -> None:
        self.rows = 0
        self.notes: list[str] = [*original.notes]
        self._original, self._out = original, out
        self._concepts, self._left_out = concepts, left_out
        self._join = join_line if original.dialect is UsagiDialect.USAGI else join_rfc4180
        self._rest: Iterator[UsagiMapping] = original.mappings()
        self._unchanged = 0
        if missing := [name for name in _OPTIONAL if name not in original.headers]:
            self.notes.append(f"the file has no column {', '.join(missing)}, which Usagi fills by itself")
        self._write_text(self._header(table))

    def write(self, term: ExportedTerm) -> None:
        """Add a term, and before it what the file has above it.

        Raises:
            ValueError: it is not from the file, or not in its order.
        """
        for mapping in self._rest:
            if mapping.line == term.line:
                self._write_mapping(mapping, term)
                return
            self._copy(mapping)
        raise ValueError("the terms of the review are not those of its file, or not in its order")

    def finish(self) -> None:
        """Copy the rest of the file."""
        for mapping in self._rest:
            self._copy(mapping)
        self.notes.append(f"{self._unchanged:,} of {counted(self.rows, 'row')} are as they were in the file")

    def _copy(self, mapping: UsagiMapping) -> None:
        self._write_text(mapping.raw)
        if mapping.rows[0]:  # else a blank line
            self.rows += len(mapping.rows)
            self._unchanged += len(mapping.rows)

    def _write_mapping(self, mapping: UsagiMapping, term: ExportedTerm) -> None:
        if mapping.problem:
            self._left_out.add(f"its row cannot be used: {mapping.problem}", term.example)
            self._copy(mapping)
            return
        rows: list[Mapping[str, str]] = list(mapping.rows)
        verdict = changed_verdict(usagi_verdict(mapping), term, self._original)
        if verdict is not None and not self._can_say(verdict):
            reason = "it has a value, unit … beside its target, and the file no column mappingType"
            self._left_out.add(reason, term.example)
        elif verdict is not None:
            rows = list(self._decided_rows(mapping, verdict, term))
        if term.assigned_to:
            rows = [{**row, "assignedReviewer": self._cell(term.assigned_to)} for row in rows]
        headers = self._original.headers
        written = [[row.get(header, "") for header in headers] for row in rows]
        if written == [[row.get(header, "") for header in headers] for row in mapping.rows]:
            self._copy(mapping)
            return
        for cells in written:
            self._write_text(self._join(cells) + self._original.line_end)
        self.rows += len(written)

    def _can_say(self, verdict: Verdict) -> bool:
        has_types = "mappingType" in self._original.headers
        return has_types or all(target.is_mapping for target in verdict.targets)

    def _decided_rows(
        self, mapping: UsagiMapping, verdict: Verdict, term: ExportedTerm
    ) -> Iterator[dict[str, str]]:
        first, before = mapping.rows[0], usagi_verdict(mapping)
        is_open = verdict.state is ReviewState.UNREVIEWED
        common: dict[str, str] = {}
        if verdict.comment != before.comment:
            common["comment"] = self._cell(verdict.comment)
        if not (is_open and before.state is ReviewState.UNREVIEWED):
            common |= {
                "mappingStatus": USAGI_STATES[verdict.state],
                "equivalence": (Equivalence.UNREVIEWED if is_open else verdict.equivalence).value,
                "statusSetBy": "" if is_open else self._cell(term.reviewer or ""),
                "statusSetOn": "0" if is_open else str(term.decided_ms),
            }
        by_target = {row_target(row): row for row in reversed(mapping.rows)}
        for target in verdict.targets:
            row = by_target.get(target)
            yield {**(row if row is not None else {**first, **self._new_target(target, term)}), **common}
        if not verdict.targets:
            has_target = row_target(first) is not None
            yield {**first, **common, **(self._typed(NO_TARGET) if has_target else {})}

    def _new_target(self, target: Target, term: ExportedTerm) -> dict[str, str]:
        name, domain = self._concepts.name_and_domain(term, target.concept_id)
        return self._typed(
            {
                "conceptId": str(target.concept_id),
                "conceptName": self._cell(name),
                "domainId": self._cell(domain),
                "mappingType": target.mapping_type,
                "createdBy": self._cell(term.reviewer or ""),
                "createdOn": str(term.decided_ms),
            }
        )

    def _typed(self, cells: Mapping[str, str]) -> dict[str, str]:
        """Cells with the names that the file has for mapping types."""
        written = cells["mappingType"]
        return {
            **cells,
            "mappingType": OLD_NAMES.get(written, written) if self._original.old_mapping_types else written,
        }

    def _cell(self, text: str) -> str:
        """A new text; where quotes are doubled, values are read as written, with Usagi's other escapes."""
        if self._original.dialect is UsagiDialect.USAGI:
            return text
        return text.replace("\\", "\\\\").replace("\r", "").replace("\n", "\\n")

    def _header(self, table: TableFile) -> str:
        """The header as it was written, if Usagi's rules give the file's headers for it."""
        original = self._original
        if table.is_usagi_csv and table.encoding is not None:
            with open_text(table.source, table.encoding) as text:
                line = text.readline(_LONGEST_HEADER)
            if split_line(line.rstrip("\r\n")) == list(original.headers) and line.endswith(original.line_end):
                return line
        return self._join(list(original.headers)) + original.line_end

    def _write_text(self, text: str) -> None:
        self._out.write(text.encode())


def changed_verdict(before: Verdict, term: ExportedTerm, original: UsagiFile) -> Verdict | None:
    """What the rows of a term must say; None if they say it already, or nobody has decided here."""
    said = term.verdict
    is_open = said.state is ReviewState.UNREVIEWED
    if not term.version or (is_open and term.action is Action.UNDO and not term.was_imported):
        return None
    now = usagi_says(before, said)
    if is_open and before.state is ReviewState.UNREVIEWED:
        return None if now.comment == before.comment else now
    is_same = (
        (now.state, now.comment, set(now.targets)) == (before.state, before.comment, set(before.targets))
    ) and (now.equivalence is before.equivalence or "equivalence" not in original.headers)
    return None if is_same else now


def usagi_says(before: Verdict, said: Verdict) -> Verdict:
    """What rows say once a decision is written over them: what it leaves open stays as it was."""
    # To flag, ignore or open a term again leaves the targets that Usagi has for it.
    leaves_targets = said.state not in (ReviewState.APPROVED, ReviewState.NO_MATCH) and not said.targets
    targets = before.targets if leaves_targets else said.targets
    is_compared = said.equivalence is not Equivalence.UNREVIEWED or set(targets) != set(before.targets)
    return Verdict(
        state=said.state,
        targets=targets,
        equivalence=said.equivalence if is_compared else before.equivalence,
        comment=said.comment.strip() or before.comment,
    )
