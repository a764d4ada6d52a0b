"""Queue routes: the terms of a review in the order of their queue, their rows, cards and changes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, Depends, HTTPException, Query

from omop_emb.errors import InputError
from omop_emb.service.review.corrected_probabilities import corrected_rows, filter_as_said
from omop_emb.service.review.decision_records import ReviewState
from omop_emb.service.review.decision_store import settled_decisions
from omop_emb.service.review.project_records import CurrentTerm, Project
from omop_emb.service.review.review_card import ReviewCard, review_card
from omop_emb.service.review.review_changes import ReviewChanges, review_changes
from omop_emb.service.review.review_queue import (
    QueueFilter,
    QueueOrder,
    queue_choices,
    queue_positions,
    review_progress,
)
from omop_emb.service.review.suggestion_store import current_terms
from omop_emb.web.rest.parameters import State
from omop_emb.web.review.card_models import CardAnswer
from omop_emb.web.review.review_models import (
    MAX_POSITION,
    ChangesAnswer,
    ChoicesAnswer,
    DecisionModel,
    ProgressModel,
    QueueAnswer,
    RevisedModel,
    RowModel,
    RowsAnswer,
)
from omop_emb.web.review.review_parameters import (
    REVIEW_PROBLEMS,
    Position,
    Positions,
    ProjectId,
    ask_review,
    parse_positions,
)

router = APIRouter(prefix="/api/v1/reviews/{project_id}", tags=["review"], responses=REVIEW_PROBLEMS)
_States = Annotated[list[ReviewState], Query(alias="state", max_length=5, description="What was decided.")]
_Domains = Annotated[list[str], Query(max_length=50, description="Of the first candidate.")]
_Flags = Annotated[list[str], Query(max_length=50, description="That the first candidate has one of.")]
_Probability = Annotated[float | None, Query(ge=0, le=1, description="Of the first candidate.")]
_Text = Annotated[str, Query(max_length=200, description="Part of name, code or first candidate.")]
_Reviewer = Annotated[str | None, Query(max_length=200, description="Who decided last.")]
_Assigned = Annotated[str | None, Query(max_length=200, description="Who is to review it.")]


def queue_filter(
    states: Annotated[
        list[ReviewState], Query(alias="state", max_length=5, description="What was decided.")
    ] = [],  # noqa: B006 - FastAPI copies it
    domain: _Domains = [],  # noqa: B006 - as above
    min_probability: _Probability = None,
    max_probability: _Probability = None,
    flag: _Flags = [],  # noqa: B006 - as above
    reviewer: _Reviewer = None,
    assigned: _Assigned = None,
    text: _Text = "",
    changed: Annotated[bool, Query(description="Only terms with another first candidate.")] = False,
    same_as: Annotated[
        int | None, Query(ge=1, le=MAX_POSITION, description="Only terms that may be decided with this one.")
    ] = None,
) -> QueueFilter:
    """The filter of a queue, from the query of an address."""
    try:
        return QueueFilter(
            states=tuple(states),
            domains=tuple(domain),
            min_probability=min_probability,
            max_probability=max_probability,
            flags=tuple(flag),
            reviewer=reviewer,
            assigned=assigned,
            text=text,
            is_changed=changed,
            same_as=same_as,
        )
    except InputError as error:
        raise HTTPException(422, str(error)) from None


Wanted = Annotated[QueueFilter, Depends(queue_filter)]


@router.get("/queue", summary="List the terms to review")
async def get_queue(
    state: State,
    project_id: ProjectId,
    wanted: Wanted,
    order: Annotated[QueueOrder, Query(description="What comes first.")] = QueueOrder.PRIORITY,
) -> QueueAnswer:
    """Positions of the terms that pass a filter, in order, and the progress of the whole project."""

    def read(connection: psycopg.Connection[Any], project: Project) -> QueueAnswer:
        settled, since = settled_decisions(
            connection, project.project_id
        )  # first: what comes now is a change
        said = filter_as_said(connection, project.project_id, wanted)
        positions = queue_positions(connection, project.project_id, order=order, queue_filter=said)
        progress = review_progress(connection, project.project_id)
        return QueueAnswer(
            positions=positions,
            progress=ProgressModel.of(progress),
            last_decision=settled,
            since=since,
        )

    return await ask_review(state, project_id, read)


@router.get("/choices", summary="List what a queue's filter may name")
async def get_choices(state: State, project_id: ProjectId) -> ChoicesAnswer:
    """Domains and flags of first candidates, and the names of those who review."""

    def read(connection: psycopg.Connection[Any], project: Project) -> dict[str, list[str]]:
        return queue_choices(connection, project.project_id)

    return ChoicesAnswer(**await ask_review(state, project_id, read))


@router.get("/rows", summary="Show rows of the queue")
async def get_rows(state: State, project_id: ProjectId, positions: Positions) -> RowsAnswer:
    """The latest state and the first candidate of some terms."""

    def read(connection: psycopg.Connection[Any], project: Project) -> list[CurrentTerm]:
        found = current_terms(connection, project.project_id, parse_positions(positions))
        return corrected_rows(connection, project.project_id, found)

    rows = await ask_review(state, project_id, read)
    return RowsAnswer(rows=[RowModel.of(row) for row in rows])


@router.get("/terms/{position}", summary="Show a term with its candidates")
async def get_card(state: State, project_id: ProjectId, position: Position) -> CardAnswer:
    """All that a person needs to decide a term: candidates with differences, terms like it, decisions."""

    def read(connection: psycopg.Connection[Any], project: Project) -> ReviewCard:
        try:
            return review_card(connection, project, position)
        except InputError as error:
            raise HTTPException(404, str(error)) from None

    return CardAnswer.of(await ask_review(state, project_id, read))


@router.get("/changes", summary="List what has changed")
async def get_changes(
    state: State,
    project_id: ProjectId,
    after: Annotated[
        int, Query(ge=0, lt=2**63, description="Id of a decision, or from the last answer.")
    ] = 0,
    since: Annotated[
        datetime | None, Query(description="From the last answer; null for no revised suggestions.")
    ] = None,
) -> ChangesAnswer:
    """Decisions after one, and terms for which another candidate has become the first."""

    def read(connection: psycopg.Connection[Any], project: Project) -> ReviewChanges:
        return review_changes(connection, project.project_id, after=after, since=since)

    changes = await ask_review(state, project_id, read)
    return ChangesAnswer(
        decisions=[DecisionModel.of(one) for one in changes.decisions],
        revised=[RevisedModel(position=one.position, revision=one.revision) for one in changes.revised],
        after=changes.after,
        since=changes.since,
        has_more=changes.has_more,
        progress=ProgressModel.of(changes.progress) if changes.progress is not None else None,
    )
