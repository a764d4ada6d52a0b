"""Table import: the terms of a table, and what its columns say that a person decided about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby

from omop_emb.errors import InputError
from omop_emb.mapping.approvals.review_words import Verdict as Said
from omop_emb.mapping.approvals.reviewed_table import ApprovedColumns, ReviewedRow, ReviewedTable
from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.read_options import ReadOptions
from omop_emb.mapping.files.result_rows import candidate_columns, term_columns
from omop_emb.mapping.files.term_file import TermFile
from omop_emb.mapping.records import SourceTerm
from omop_emb.service.review.decision_records import Equivalence, ReviewState, Target, Verdict
from omop_emb.service.review.imports.imported_term import (
    LONGEST_COMMENT,
    ImportedTerm,
    is_usable_name,
    parse_equivalence,
    parse_milliseconds,
)

_WAITING = {"flag": ReviewState.FLAGGED, "flagged": ReviewState.FLAGGED}
_WORDS = _WAITING | {"ignore": ReviewState.IGNORED, "ignored": ReviewState.IGNORED}
_REVIEWER_HEADERS = ("statusSetBy", "reviewed_by", "reviewer", "approved_by")
# The columns that map writes, which the review shows in its own way; the file keeps them.
_OWN_COLUMNS = frozenset(column.name for column in (*candidate_columns(), *term_columns()))
_RENAMED = "source:"  # before a column of map's input that has the name of one of its own
Report = Callable[[Problem], None]


def table_terms(file: TermFile, options: ReadOptions, report: Report) -> Iterator[ImportedTerm]:
    """The terms in the order of the file.

    In a table that says what a person decided, adjacent rows with the same code and name are one term with
    all their targets.
    """
    table = reviewed_table(file, options)
    if table is None:
        yield from (ImportedTerm(term=term) for term in file)
        return
    for _, rows in groupby(file, lambda term: term.key):
        yield _merged([_imported(table, term, report) for term in rows], report)


def reviewed_table(file: TermFile, options: ReadOptions) -> ReviewedTable | None:
    """The table with what a person said about its rows; None if it has no such column."""
    try:
        return ReviewedTable(file, ApprovedColumns(columns=options.columns), [])
    except InputError:
        return None


def _imported(table: ReviewedTable, term: SourceTerm, report: Report) -> ImportedTerm:
    said, cells = table.said(term).strip(), term.extra
    row = table.row(term)
    if isinstance(row, Problem):
        report(row)
        row = ReviewedRow(term, Said.UNDECIDED)
    found = ImportedTerm(term=_own_term(row.term) if table.is_own else row.term, source_state=said[:100])
    state = _state(row, said)
    if state is None:
        return found
    author = next((cells[name] for name in _REVIEWER_HEADERS if cells.get(name, "").strip()), "")
    try:
        targets = tuple(dict.fromkeys(Target(one.concept_id, one.mapping_type) for one in row.targets))
        verdict = Verdict(
            state=state,
            targets=targets if state is ReviewState.APPROVED else (),
            equivalence=parse_equivalence(cells.get("equivalence", "")) or Equivalence.UNREVIEWED,
            comment=cells.get("comment", "").replace("\0", "").strip()[:LONGEST_COMMENT],
        )
    except InputError as error:
        report(Problem(term.line or 0, f"its decision is not used: {error}"))
        return found
    return replace(
        found,
        verdict=verdict,
        reviewer=author.strip() if is_usable_name(author) else "",
        decided_at=parse_milliseconds(cells.get("statusSetOn", "")),
    )


def _state(row: ReviewedRow, said: str) -> ReviewState | None:
    if row.verdict is Said.APPROVED:
        return ReviewState.APPROVED
    if row.verdict is Said.NO_MATCH:
        return ReviewState.NO_MATCH
    return _WORDS.get(said.casefold()) if row.verdict is Said.UNDECIDED else None


def _own_term(term: SourceTerm) -> SourceTerm:
    """A term of map's output with the columns of map's input alone, and its translation as such."""
    translation = term.extra.get("translation", "")
    extra = {
        name.removeprefix(_RENAMED): value for name, value in term.extra.items() if name not in _OWN_COLUMNS
    }
    further = tuple(name for name in term.further_names if name != translation)
    return replace(term, extra=extra, translation=translation, further_names=further)


def _merged(rows: list[ImportedTerm], report: Report) -> ImportedTerm:
    """One term of the rows with its code and name."""
    decided = [one for one in rows if one.verdict is not None]
    if len(decided) < 2:
        return replace(decided[0], term=rows[0].term) if decided else rows[0]
    first, verdicts = decided[0], [one.verdict for one in decided if one.verdict is not None]
    if len({verdict.state for verdict in verdicts}) > 1:
        line = rows[0].term.line or 0
        report(Problem(line, "its rows are decided differently: none of the decisions is used"))
        return ImportedTerm(term=rows[0].term, source_state=first.source_state)
    targets = dict.fromkeys(target for verdict in verdicts for target in verdict.targets)
    return replace(first, term=rows[0].term, verdict=replace(verdicts[0], targets=tuple(targets)))
