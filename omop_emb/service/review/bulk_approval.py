"""Bulk approval: many suggestions approved at once, where a precision that a person names holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

import psycopg

from omop_emb.errors import InputError
from omop_emb.service.review.bulk_check import qualifying_rows, usable_ranker
from omop_emb.service.review.bulk_records import MAX_ROWS, BulkPreview, BulkResult, BulkRow, BulkTerms
from omop_emb.service.review.decision_records import (
    Action,
    DecisionResult,
    NewDecision,
    ReviewState,
    StoredDecision,
    Target,
    Verdict,
    reviewer_name,
)
from omop_emb.service.review.decision_store import decide, decisions_of_batch
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.term_groups import begin_batch

CHANGED = "it was decided after the preview"
OTHER_CONCEPT = "another concept has come first since the preview"


def preview_bulk(
    connection: psycopg.Connection[Any],
    project: Project,
    terms: BulkTerms,
    *,
    positions: Collection[int] | None = None,
) -> BulkPreview:
    """The undecided terms of a project, or of some positions, that a bulk approval would approve.

    Never those whose suggestion has a flag or anything else that speaks against it.
    """
    ranker, refusal = usable_ranker(connection, project.site, terms)
    if ranker is None or refusal:
        return BulkPreview(terms=terms, refusal=refusal, left_out={})
    rows, left_out, has_more = qualifying_rows(connection, project.project_id, terms, ranker, positions)
    if not rows and not left_out:
        refusal = _nothing_above(terms)
    counts = dict(Counter(left_out.values()))
    return BulkPreview(
        terms=terms, refusal=refusal, ranker=ranker.name, rows=rows, left_out=counts, has_more=has_more
    )


def approve_bulk(
    connection: psycopg.Connection[Any],
    project: Project,
    reviewer: str,
    terms: BulkTerms,
    previewed: Iterable[tuple[int, int, int]],
    request_id: UUID,
) -> BulkResult:
    """Approve what a preview showed, as one batch that one undoing takes back; the caller commits.

    A term that has changed since, or no longer qualifies, is left out. A request that comes again gives what
    it did the first time. The preview is position, version and concept of each row.

    Raises:
        InputError: the preview is empty or too long, or nothing can be approved, with the reason.
    """
    shown = {position: (version, concept) for position, version, concept in previewed}
    if not 1 <= len(shown) <= MAX_ROWS:
        raise InputError(f"a bulk approval has 1 to {MAX_ROWS:,} terms; found {len(shown):,}")
    name = reviewer_name(reviewer)
    if repeated := decisions_of_batch(connection, project.project_id, request_id):
        done = {one.position for one in repeated}
        return BulkResult(stored=repeated, left_out={one: CHANGED for one in shown if one not in done})
    ranker, refusal = usable_ranker(connection, project.site, terms)
    if ranker is None or refusal:
        raise InputError(refusal)
    rows, objections, _ = qualifying_rows(connection, project.project_id, terms, ranker, shown)
    same = [row for row in rows if shown[row.position] == (row.version, row.concept_id)]
    details = {
        "precision": terms.precision,
        "accept_untrained": terms.accept_untrained,
        "ranker": ranker.name,
        "terms": len(same),
        "expected errors": round(sum(1 - row.probability for row in same), 2),
    }
    results: list[DecisionResult] = []
    if same:
        begin_batch(connection, project.project_id, name, request_id, "bulk", details)
        new = [_approval(row, request_id) for row in sorted(same, key=lambda one: one.position)]
        results = decide(connection, project.project_id, name, new, action=Action.BULK, batch_id=request_id)
    stored = [one.stored for one in results if one.stored is not None]
    if same and not stored:
        connection.execute("delete from omop_emb.review_batch where batch_id = %s", (request_id,))
    return BulkResult(stored=stored, left_out=_left_out(shown, rows, objections, stored))


def _left_out(
    shown: Mapping[int, tuple[int, int]],
    rows: Sequence[BulkRow],
    objections: Mapping[int, str],
    stored: Sequence[StoredDecision],
) -> dict[int, str]:
    """Why each previewed term was not approved that was not."""
    done, now = {one.position for one in stored}, {row.position: row for row in rows}
    reasons = {}
    for position, (_, concept_id) in sorted(shown.items()):
        if position in done:
            continue
        if position in now:
            changed = now[position].concept_id != concept_id
            reasons[position] = OTHER_CONCEPT if changed else CHANGED
        else:
            reasons[position] = objections.get(position, CHANGED)
    return reasons


def _approval(row: BulkRow, request_id: UUID) -> NewDecision:
    return NewDecision(
        position=row.position,
        version=row.version,
        verdict=Verdict(state=ReviewState.APPROVED, targets=(Target(row.concept_id),)),
        request_id=uuid5(request_id, str(row.position)),
        revision=row.revision,
        rank=1,
    )


def _nothing_above(terms: BulkTerms) -> str:
    return (
        f"no undecided term is above the bound of {terms.precision:g}: a lower one, or training on more "
        "approvals, may find some"
    )
