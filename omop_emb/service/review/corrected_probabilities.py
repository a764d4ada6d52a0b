"""Corrected probabilities: what a review's own decisions say about those of its other terms.

Suggestions and decisions keep what the ranker said: bulk approval's thresholds are about that, and the
correction is learned from it. What people see is corrected when it is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

import psycopg
from psycopg.rows import tuple_row

from omop_emb.mapping.ranking.prior_shift import PriorShift, fit_prior_shift
from omop_emb.mapping.records import MappedTerm
from omop_emb.service.review.project_records import CurrentTerm
from omop_emb.service.review.review_queue import QueueFilter
from omop_emb.service.review.term_groups import GroupSummary
from omop_emb.sql import read

_Row = TypeVar("_Row", CurrentTerm, GroupSummary)


def review_shift(connection: psycopg.Connection[Any], project_id: int) -> PriorShift:
    """How the decisions of a review so far correct its probabilities."""
    rows = connection.cursor(row_factory=tuple_row).execute(
        read("review_said_and_approved"), {"project": project_id}
    )
    return fit_prior_shift(rows.fetchall())


def corrected_rows(connection: psycopg.Connection[Any], project_id: int, rows: Iterable[_Row]) -> list[_Row]:
    """The same rows with corrected probabilities."""
    shift = review_shift(connection, project_id)
    return [replace(row, probability=shift.correct(row.probability)) for row in rows]


def filter_as_said(connection: psycopg.Connection[Any], project_id: int, wanted: QueueFilter) -> QueueFilter:
    """A filter of probabilities as the ranker said them, from one of corrected probabilities."""
    if wanted.min_probability is None and wanted.max_probability is None:
        return wanted
    shift = review_shift(connection, project_id)
    least, most = shift.undo(wanted.min_probability), shift.undo(wanted.max_probability)
    return replace(wanted, min_probability=least, max_probability=most)


def corrected_result(mapped: MappedTerm, shift: PriorShift) -> MappedTerm:
    """A result with corrected probabilities of the term and its candidates."""
    candidates = tuple(replace(one, probability=shift.correct(one.probability)) for one in mapped.candidates)
    return replace(mapped, candidates=candidates, probability=shift.correct(mapped.probability))
