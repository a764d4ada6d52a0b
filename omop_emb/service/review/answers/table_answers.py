"""Table answers: rows of a table that a review was written as, found again by position, code and name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import psycopg

from omop_emb.errors import InputError
from omop_emb.mapping.files.delimited import TextRow
from omop_emb.mapping.files.table_file import TableFile
from omop_emb.mapping.records import SourceTerm
from omop_emb.service.review.answers.answer_records import Answer, Tally
from omop_emb.service.review.answers.cell_answers import candidates_of, read_answer
from omop_emb.service.review.decision_records import ReviewState, Verdict
from omop_emb.service.review.decision_store import histories
from omop_emb.service.review.exports.review_columns import CODE, DECISION, NAME, POSITION, VERSION
from omop_emb.service.review.project_store import read_terms

_REQUIRED = (POSITION, VERSION, NAME, DECISION)
_ROWS = 500  # that are compared at once
_WHOLE = re.compile(r"\d{1,9}(?:\.0+)?")
_CONTROL = re.compile(r"[\x00-\x1f\s]+")
_UNREVIEWED = Verdict(state=ReviewState.UNREVIEWED)


def table_answers(
    connection: psycopg.Connection[Any], project_id: int, table: TableFile, tally: Tally
) -> Iterator[list[Answer]]:
    """What was changed in the rows of a table, some hundred rows at a time.

    Raises:
        InputError: it is no table that a review was written as.
    """
    by_name = {header.strip().casefold(): header for header in table.headers}
    if missing := [name for name in _REQUIRED if name not in by_name]:
        raise InputError(
            f"{table.source.name} has no column {', '.join(missing)}: export the review as Excel or CSV, "
            "fill the columns decision, choice and comment of that file, and read it back"
        )
    headers = [header.strip().casefold() for header in table.headers]
    rows = table.rows(tally.report)
    seen = set[int]()
    while batch := list(islice(rows, _ROWS)):
        tally.rows += len(batch)
        yield _answers(connection, project_id, headers, batch, seen, tally)


def _answers(
    connection: psycopg.Connection[Any],
    project_id: int,
    headers: Sequence[str],
    rows: Sequence[TextRow],
    seen: set[int],
    tally: Tally,
) -> list[Answer]:
    placed = []
    for row in rows:
        cells = dict(zip(headers, row.values, strict=True))
        position, version = _number(cells[POSITION]), _number(cells[VERSION])
        if position is None or version is None:
            tally.problem(row.line, f"{POSITION!r} or {VERSION!r} is no number: take the row of a new export")
        elif position in seen:
            tally.problem(row.line, "its term is in the file twice: only the first row is used")
        else:
            seen.add(position)
            placed.append((row.line, position, version, cells))
    positions = [position for _, position, _, _ in placed]
    terms = {one.position: one.term for one in read_terms(connection, project_id, positions)}
    decided = histories(connection, project_id, positions)
    answers = []
    for line, position, version, cells in placed:
        term, past = terms.get(position), decided.get(position, ())
        if term is None or not _is_of(term, cells):
            tally.problem(line, f"position {position} of the review is another term: code or name differ")
        elif version > len(past):
            tally.problem(line, f"{VERSION!r} is {version}, and its term has been decided {len(past)} times")
        else:
            before = past[version - 1].verdict if version else _UNREVIEWED
            try:
                verdict = read_answer(cells, before)
            except InputError as error:
                tally.problem(line, str(error))
                continue
            if verdict is None:
                tally.unchanged += 1
                continue
            rank = _rank(verdict, candidates_of(cells))
            answers.append(Answer(line=line, position=position, version=version, verdict=verdict, rank=rank))
    return answers


def _rank(verdict: Verdict, candidates: Sequence[int]) -> int | None:
    chosen = [target.concept_id for target in verdict.targets if target.is_mapping]
    return candidates.index(chosen[0]) + 1 if len(chosen) == 1 and chosen[0] in candidates else None


def _number(text: str) -> int | None:
    """A whole number; spreadsheets and pandas may write 3.0 for 3."""
    found = text.strip()
    return int(found.partition(".")[0]) if found.isascii() and _WHOLE.fullmatch(found) else None


def _is_of(term: SourceTerm, cells: dict[str, str]) -> bool:
    """Whether a row is a term's; a spreadsheet may have taken the zeros from its code."""
    if _text(term.name) != _text(cells[NAME]):
        return False
    code, written = _text(term.code), _text(cells.get(CODE, term.code))
    return code == written or _digits(code) == _digits(written)


def _digits(code: str) -> str:
    return code.removesuffix(".0").lstrip("0") if code.isascii() and _WHOLE.fullmatch(code) else code


def _text(text: str) -> str:
    return _CONTROL.sub(" ", text).strip()
