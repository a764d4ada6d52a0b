"""Answered file: a file that a review was written as, filled by people, read back as decisions."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.mapping.files.input_file import InputFile
from omop_emb.mapping.files.read_options import ReadOptions
from omop_emb.mapping.files.table_file import TableFile
from omop_emb.service.review.answers.answer_records import ReadBackReport, Tally
from omop_emb.service.review.answers.answer_store import AnswerStore
from omop_emb.service.review.answers.table_answers import table_answers
from omop_emb.service.review.answers.usagi_answers import usagi_answers
from omop_emb.service.review.decision_records import reviewer_name
from omop_emb.service.review.exports.stored_file import as_usagi
from omop_emb.service.review.project_store import find_project

if TYPE_CHECKING:
    from sqlalchemy import Engine


def read_back(
    engine: Engine,
    project: int | str,
    path: str | Path,
    reviewer: str,
    *,
    is_checked: bool = False,
    content: IO[bytes] | None = None,
) -> ReadBackReport:
    """Read a filled Excel, CSV, TSV, Parquet or Usagi file of a review; what was changed becomes decisions.

    A row is found by position, code and name, in whatever order the rows are. Only rows that say something
    else than when the file was written are decisions, each on the version that the file was written from: if
    somebody has decided the term since, the row is a conflict, and what stands is kept. Reading a file again
    decides nothing twice. Every few hundred rows are committed; a row that cannot be used costs no other.

    Args:
        engine: of the database.
        project: id or name of the review.
        path: the file, or the name of `content`.
        reviewer: who filled it; in Usagi's files decisions bear the name that Usagi wrote.
        is_checked: whether the reviewer has signed in: then all decisions bear that name, and no other.
        content: the bytes, in an open file.

    Raises:
        InputError: it cannot be read, or is no file that this review was written as.
    """
    name, tally = reviewer_name(reviewer), Tally()
    with InputFile(path, content=content) as source:
        table = TableFile(source, ReadOptions())
        usagi = as_usagi(table)
        tally.notes += table.notes
        with session_scope(engine) as session:
            reading = driver_connection(session)
            found = find_project(reading, project)
            store = AnswerStore(found.project_id, source.digest(), name, tally, is_checked=is_checked)
            answers = (
                usagi_answers(reading, found, usagi, tally)
                if usagi is not None
                else table_answers(reading, found.project_id, table, tally)
            )
            for batch in answers:
                with session_scope(engine) as writing:
                    store.store(driver_connection(writing), batch)
        with session_scope(engine) as session:
            store.finish(driver_connection(session))
    return tally.as_report()
