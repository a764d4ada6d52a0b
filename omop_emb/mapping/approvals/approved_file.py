"""Approved files: the mappings that a person approved, as a file's own columns say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from omop_emb.errors import InputError
from omop_emb.mapping.approvals.review_words import Verdict, read_verdict
from omop_emb.mapping.approvals.reviewed_table import (
    ApprovedColumns,
    ReviewedRow,
    ReviewedTable,
    by_person,
)
from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.input_file import InputFile
from omop_emb.mapping.files.problem_list import ProblemList, merged_problems
from omop_emb.mapping.files.reading_report import reading_lines
from omop_emb.mapping.files.term_file import ReadOptions, TermFile
from omop_emb.mapping.files.usagi_file import UsagiTarget
from omop_emb.mapping.records import SourceTerm
from omop_emb.records import counted

TermKey = tuple[str, str]
"""Source code and name."""


@dataclass(frozen=True, kw_only=True)
class ApprovedMapping:
    """A source term, and the concepts that a person approved for it."""

    term: SourceTerm
    targets: tuple[UsagiTarget, ...]  # what it maps to; () if it was approved as "no match"
    source: str  # the file, or the value of its source column
    approved_by: str = ""  # as Usagi's file says; "" if nobody is named

    @property
    def key(self) -> TermKey:
        """Code and name."""
        return self.term.key

    @property
    def line(self) -> int:
        """Of its first row in its file."""
        return self.term.line or 0

    @property
    def judge(self) -> str:
        """A judge's answer and reason from before the approval; "" for none."""
        return self.term.extra.get("judge", "")


@dataclass(frozen=True, kw_only=True)
class ApprovedFile:
    """What a person approved in a file."""

    digest: str  # SHA-256 of its bytes
    approved: tuple[ApprovedMapping, ...]  # in the order of the file, one per source, code and name
    problems: ProblemList  # rows that could not be used: the first, and how many
    note: str  # what says that they are approved, and how many rows are not
    says_so: bool  # whether its own columns say what was approved

    @property
    def by_key(self) -> dict[TermKey, ApprovedMapping]:
        """The approved mappings by code and name."""
        return {mapping.key: mapping for mapping in self.approved}


def read_approved(path: str | Path, columns: ApprovedColumns | None = None) -> ApprovedFile:
    """What a person approved in a file, as its own columns say.

    In Usagi's file these are the rows with the status APPROVED that omop-emb did not accept by itself; in a
    table those whose column `reviewed` (or `columns.approved`) says so, such as omop-emb's own output after
    a person filled that column. Several ids are separated by "|" in one cell or are in several rows.

    Raises:
        InputError: it cannot be read, does not say what was approved, or nothing in it is.
    """
    columns = columns or ApprovedColumns()
    reading = ReadOptions(
        columns=columns.columns,
        encoding=columns.encoding,
        separator=columns.separator,
        sheet=columns.sheet,
        header_row=columns.header_row,
    )
    with InputFile(path) as source, TermFile(source, reading) as file:
        understood = next(reading_lines(file)).partition(": ")[2]
        name, problems, counts = Path(source.name).name, ProblemList(), Counter[Verdict]()
        if file.usagi is not None:
            rows, column = _usagi_rows(file, columns, problems), "mappingStatus"
        else:
            table = ReviewedTable(file, columns, problems)
            rows, column = table.rows(), table.approved or ""
        approved = _merge(rows, name, counts, problems)
        problems += file.problems
        digest = source.digest()
    left = counts[Verdict.UNDECIDED] + counts[Verdict.REJECTED]
    if not approved:
        raise InputError(
            f"{name} has no approved mapping: its column {column!r} approves none of "
            f"{counted(counts.total() + problems.total, 'row')}"
        )
    said_by = f"its column {column!r}" if column else "a person who vouches for every row"
    mappings = counted(len(approved), "mapping is", "mappings are")
    others = counted(left, "row is", "rows are")
    note = f"{name}: {mappings} approved, says {said_by}; {others} not (read as {understood})"
    return ApprovedFile(
        digest=digest,
        approved=approved,
        problems=merged_problems(problems),
        note=note,
        says_so=bool(column),
    )


def _usagi_rows(file: TermFile, columns: ApprovedColumns, problems: list[Problem]) -> Iterator[ReviewedRow]:
    assert file.usagi is not None  # noqa: S101 - for mypy: the caller checked it
    if columns.approved or columns.target or columns.approved_values:
        raise InputError(
            f"{Path(file.source.name).name} is Usagi's: only its columns mappingStatus and conceptId say "
            "what was approved"
        )
    for mapping in file.usagi.mappings():
        if mapping.problem:
            if mapping.rows[0]:  # else a blank line
                problems.append(Problem(mapping.line, mapping.problem))
            continue
        code, name = mapping.key
        author = mapping.rows[0].get("statusSetBy", "")
        verdict = by_person(read_verdict(mapping.status), author)
        extra = {"judge": mapping.judge} if mapping.judge else {}
        term = SourceTerm(name=name, code=code, line=mapping.line, extra=extra)
        yield ReviewedRow(term, verdict, mapping.targets, author)


def _merge(
    rows: Iterable[ReviewedRow], file_name: str, counts: Counter[Verdict], problems: list[Problem]
) -> tuple[ApprovedMapping, ...]:
    """The approved rows, one mapping per source, code and name; contradictions are reported."""
    merged: dict[tuple[str, str, str], ApprovedMapping] = {}
    contradictory = set()
    for row in rows:
        counts[row.verdict] += 1
        if row.verdict not in (Verdict.APPROVED, Verdict.NO_MATCH):
            continue
        source = row.source or file_name
        key = (source, *row.term.key)
        earlier = merged.get(key)
        if earlier is None:
            merged[key] = ApprovedMapping(
                term=row.term, targets=row.targets, source=source, approved_by=row.approved_by
            )
            continue
        if bool(earlier.targets) is not bool(row.targets):
            contradictory.add(key)
        targets = tuple(dict.fromkeys((*earlier.targets, *row.targets)))
        merged[key] = replace(earlier, targets=targets)
    reason = "approved both as no match and with a concept: neither is used"
    problems.extend(Problem(merged[key].line, reason) for key in contradictory)
    return tuple(mapping for key, mapping in merged.items() if key not in contradictory)
