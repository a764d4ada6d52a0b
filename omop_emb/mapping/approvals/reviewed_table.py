"""Reviewed tables: terms with concept ids, and what a person said about each row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from omop_emb.errors import InputError
from omop_emb.mapping.approvals.review_words import Verdict, read_verdict
from omop_emb.mapping.files.columns import Columns
from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.problem_list import ProblemList
from omop_emb.mapping.files.result_rows import REVIEWED
from omop_emb.mapping.files.term_file import TermFile
from omop_emb.mapping.files.usagi_file import UsagiTarget
from omop_emb.mapping.files.usagi_writer import AUTHOR
from omop_emb.mapping.records import VALUE_COLUMNS, Decision, SourceTerm
from omop_emb.records import parse_concept_id

MAP_HEADERS = frozenset({"source_code", "target_concept_id"})
"""Headers by which a source_to_concept_map is recognised."""

# Recognised headers, lower case without punctuation, best first: of the chosen concepts, and of what a
# person said about them.
_TARGET_HEADERS = ("targetconceptids", "targetconceptid", "conceptids", "conceptid", "omopconceptid")
_APPROVED_HEADERS = (
    *(REVIEWED, "approved", "isapproved", "mappingstatus", "approvalstatus", "reviewstatus"),
    *("reviewdecision", "approval", "validated"),
)
_SEPARATORS = re.compile(r"[|;,\s]+")
_GROUPED_DIGITS = re.compile(r"\d{1,3}(,\d{3})+")  # 4,329,847 is one number, written by a spreadsheet
_MISSING = frozenset({"na", "nan", "null", "none", "<na>", "n/a"})


@dataclass(frozen=True, kw_only=True)
class ApprovedColumns:
    """How a file of approved mappings is read, as far as its headers do not say.

    Attributes:
        columns: of the term, by role.
        target: the column with the chosen concept ids; None looks for a usual header.
        source: the column with the hospital or system of a row; None makes each file one source.
        approved: the column that says what a person decided; None looks for a usual header.
        approved_values: the values of it that mean approved; () means the usual words.
        all_approved: whether a person vouches for every row of a table that has no such column.
        encoding, separator, sheet, header_row: as in ReadOptions.
    """

    columns: Columns = field(default_factory=Columns)
    encoding: str | None = None
    separator: str | None = None
    sheet: str | None = None
    header_row: int | None = None
    target: str | None = None
    source: str | None = None
    approved: str | None = None
    approved_values: tuple[str, ...] = ()
    all_approved: bool = False


@dataclass(frozen=True, slots=True)
class ReviewedRow:
    """A row of any file, with what a person said about it."""

    term: SourceTerm
    verdict: Verdict
    targets: tuple[UsagiTarget, ...] = ()
    approved_by: str = ""
    source: str = ""


class ReviewedTable:
    """A table of terms and concept ids, and the column that says which rows a person approved.

    Attributes:
        is_own: whether `map` wrote it.
        approved: that column; None if a person vouches for every row.
    """

    def __init__(self, file: TermFile, columns: ApprovedColumns, problems: list[Problem]) -> None:
        self._file, self._columns, self._problems = file, columns, problems
        self._name = Path(file.source.name).name
        self._headers = {_plain(header): header for header in reversed(file.headers)}
        # What `map` wrote: its column decision is a program's, and domain_id is the candidate's.
        self.is_own = {"source_name", "decision", "concept_id"} <= set(file.headers)
        for column in (columns.target, columns.source, columns.approved):
            if column is not None and column not in file.headers:
                raise InputError(f"{self._name} has no column {column!r}; found {', '.join(file.headers)}")
        own_target = "concept_id" if self.is_own else None
        target = columns.target or own_target or self._first(_TARGET_HEADERS)
        if target is None:
            raise InputError(
                f"{self._name} has no column with concept ids, such as target_concept_ids or concept_id: "
                "name it with --target-column"
            )
        self._target = target
        self.approved = columns.approved or self._first(_APPROVED_HEADERS)
        if self.approved is None and self.is_own:
            raise InputError(
                f"{self._name} was written by map and does not say what a person approved: add a column "
                f"{REVIEWED!r} with approve or no match in the rows that a person has checked"
            )
        if self.approved is None and columns.approved_values:
            raise InputError("--approved-value needs --approved-column, the column that has these values")
        if self.approved is None and not columns.all_approved:
            raise InputError(
                f"{self._name} does not say which rows a person approved: name the column that does "
                "(--approved-column), or add --all-approved if a person vouches for every row"
            )

    def rows(self) -> Iterator[ReviewedRow]:
        """The rows, with what was said about them; unusable ones are reported."""
        understood, odd = 0, ProblemList()
        for term in self._file:
            said = self.said(term)
            verdict = self._verdict(term, said)
            if verdict is None:
                odd.append(self._not_understood(term))
                continue
            understood += bool(said.strip())
            row = self._row(term, verdict)
            if isinstance(row, Problem):
                self._problems.append(row)
            else:
                yield row
        if odd and not understood:
            raise InputError(
                f"none of the words in the column {self.approved!r} of {self._name} is understood: say "
                "with --approved-value which ones mean approved"
            )
        self._problems += odd

    def row(self, term: SourceTerm) -> ReviewedRow | Problem:
        """One row, with what was said about it; or why that cannot be used."""
        verdict = self._verdict(term, self.said(term))
        return self._not_understood(term) if verdict is None else self._row(term, verdict)

    def said(self, term: SourceTerm) -> str:
        """The words about a row; "" for none, and in a table of which a person vouches for every row."""
        return term.extra.get(self.approved, "") if self.approved is not None else ""

    def _verdict(self, term: SourceTerm, said: str) -> Verdict | None:
        """What the words say; None if they are not understood."""
        cells, verdict = term.extra, Verdict.APPROVED
        if self.approved is not None:
            understood = read_verdict(said, self._columns.approved_values)
            if understood is None:
                return None
            verdict = understood
        if cells.get("invalid_reason", "").strip():
            verdict = Verdict.UNDECIDED  # withdrawn from a source_to_concept_map
        return by_person(verdict, cells.get("statusSetBy", ""))

    def _not_understood(self, term: SourceTerm) -> Problem:
        return Problem(term.line or 0, f"{self.approved!r} says neither approve nor no match")

    def _row(self, term: SourceTerm, verdict: Verdict) -> ReviewedRow | Problem:
        """A row with its targets, or why it cannot be used."""
        line, cells = term.line or 0, term.extra
        ids = read_concept_ids(cells.get(self._target, "")) if verdict is Verdict.APPROVED else ()
        if ids is None:
            return Problem(line, f"{self._target!r} holds no concept ids")
        listed = read_concept_ids(cells.get("targets", "")) or ids
        if self.is_own and verdict is Verdict.APPROVED:
            found_none = cells["decision"] == Decision.NO_MATCH.value
            if found_none and ids and cells.get("matched_text"):
                return Problem(line, "approved, though map decided no match: write no match if that is right")
            if found_none and not ids:
                verdict = Verdict.NO_MATCH
            if ids and set(ids) < set(listed):
                ids = listed  # the other targets of its code
        if verdict is Verdict.APPROVED and not ids and self.approved is not None:
            return Problem(line, f"approved, but {self._target!r} is empty: write an id, or no match")
        if verdict is Verdict.APPROVED and not any(ids):
            verdict = Verdict.NO_MATCH
        if self.is_own and self._columns.columns.domain is None:
            term = replace(term, domain=None)  # domain_id is the candidate's
        if MAP_HEADERS <= set(self._file.headers):
            term = replace(term, source_vocabulary=None)  # a name of the site's own
        source = cells.get(self._columns.source, "") if self._columns.source else ""
        targets = [UsagiTarget(concept_id) for concept_id in dict.fromkeys(ids) if concept_id]
        if self.is_own and targets and set(ids) <= set(listed):  # not changed by the reviewer
            targets += _values_beside(cells)
        return ReviewedRow(term, verdict, tuple(targets), cells.get("statusSetBy", ""), source)

    def _first(self, usual: Sequence[str]) -> str | None:
        return next((self._headers[key] for key in usual if key in self._headers), None)


def read_concept_ids(text: str) -> tuple[int, ...] | None:
    """The concept ids in a cell, separated by | ; , or spaces; None if it holds anything else.

    "317009.0" is what pandas writes of a whole number; "317,009" may be one number or two, and is neither.
    """
    if _GROUPED_DIGITS.fullmatch(text.strip()):
        return None
    ids = []
    for part in filter(None, _SEPARATORS.split(text)):
        if part.casefold() in _MISSING:
            continue
        concept_id = parse_concept_id(part)
        if concept_id is None or concept_id < 0:
            return None
        ids.append(concept_id)
    return tuple(ids)


def _values_beside(cells: Mapping[str, str]) -> Iterator[UsagiTarget]:
    """The values, units … that map wrote beside a target."""
    for column, relationship in VALUE_COLUMNS.items():
        mapping_type = relationship.upper().replace(" ", "_")
        for concept_id in read_concept_ids(cells.get(column, "")) or ():
            yield UsagiTarget(concept_id, mapping_type)


def by_person(verdict: Verdict | None, author: str) -> Verdict:
    """What a person said: what omop-emb accepted by itself was approved by nobody."""
    by_program = author.strip() == AUTHOR and verdict in (Verdict.APPROVED, Verdict.NO_MATCH)
    return Verdict.UNDECIDED if by_program or verdict is None else verdict


def _plain(header: str) -> str:
    return re.sub(r"[\W_]+", "", header).casefold()
