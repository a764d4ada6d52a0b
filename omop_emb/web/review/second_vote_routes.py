"""Second vote routes: samples are drawn, voted on blind, settled by third decisions, and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import psycopg
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request

from omop_emb.errors import InputError
from omop_emb.service.review.decision_records import DecisionResult
from omop_emb.service.review.precision_audit import LEAST_WIDTH, suggested_size
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.second_votes import (
    NewVote,
    StoredVote,
    next_cards,
    require_sight,
    vote,
    vote_cards,
    vote_progress,
)
from omop_emb.service.review.vote_differences import differences
from omop_emb.service.review.vote_results import adjudicate, sample_result
from omop_emb.service.review.vote_samples import (
    Sample,
    SampleKind,
    draw_sample,
    find_sample,
    list_samples,
    population_size,
)
from omop_emb.vocabulary import reader
from omop_emb.web.rest.parameters import Limit, State, next_page, require_json
from omop_emb.web.review.review_models import MAX_POSITION, DecisionResultModel, target_models
from omop_emb.web.review.review_parameters import REVIEW_PROBLEMS, Position, ProjectId, ask_review
from omop_emb.web.review.reviewer_identity import Reviewer
from omop_emb.web.review.second_vote_models import (
    AdjudicationRequest,
    CardsAnswer,
    DifferenceModel,
    DifferencesAnswer,
    SampleModel,
    SampleRequest,
    SamplesAnswer,
    VoteModel,
    VoteRequest,
)
from omop_emb.web.review.vote_result_models import ResultAnswer, SizeAnswer

router = APIRouter(prefix="/api/v1/reviews/{project_id}/samples", tags=["review"], responses=REVIEW_PROBLEMS)
_JSON = [Depends(require_json)]
SampleId = Annotated[int, Path(ge=1, le=MAX_POSITION, description="Id of the sample.")]
_Result = TypeVar("_Result")
_Asked = Callable[[psycopg.Connection[Any], Project], _Result]


@router.get("", summary="List the samples for second votes")
async def get_samples(state: State, project_id: ProjectId) -> SamplesAnswer:
    """The samples of a review with their progress; what the votes say is not in it."""

    def read(connection: psycopg.Connection[Any], project: Project) -> list[Sample]:
        return list_samples(connection, project.project_id)

    samples = await ask_review(state, project_id, read)
    return SamplesAnswer(samples=[SampleModel.of(one) for one in samples])


@router.post("", summary="Draw terms for second votes", dependencies=_JSON)
async def create_sample(
    state: State, project_id: ProjectId, reviewer: Reviewer, request: SampleRequest
) -> SampleModel:
    """Draw decided terms that a second person decides again without sight of the first decision."""

    def draw(connection: psycopg.Connection[Any], project: Project) -> Sample:
        return draw_sample(
            connection,
            project.project_id,
            reviewer,
            kind=request.kind,
            reviewer=request.reviewer,
            size=request.size,
            seed=request.seed,
            domain=request.domain,
        )

    return SampleModel.of(await ask_review(state, project_id, draw))


@router.get("/size", summary="Suggest the size of an audit")
async def suggest_size(
    state: State,
    project_id: ProjectId,
    precision: Annotated[float, Query(ge=0.5, le=1, description="That is expected.")] = 0.95,
    width: Annotated[
        float, Query(ge=LEAST_WIDTH, le=1, description="Of the interval, from the lower to the upper bound.")
    ] = 0.06,
) -> SizeAnswer:
    """How many approved rows to draw for an interval of a width."""

    def count(connection: psycopg.Connection[Any], project: Project) -> int:
        return population_size(connection, project.project_id, SampleKind.AUDIT)

    population = await ask_review(state, project_id, count)
    size = await state.run(suggested_size, population, precision=precision, width=width)
    return SizeAnswer(population=population, size=size, precision=precision, width=width)


@router.get("/{sample_id}/cards", summary="Show the next terms to vote on")
async def get_cards(
    state: State,
    project_id: ProjectId,
    sample_id: SampleId,
    reviewer: Reviewer,
    after: Annotated[int, Query(ge=0, le=MAX_POSITION, description="A term's position.")] = 0,
    limit: Annotated[int, Query(ge=1, le=20, description="The most to answer.")] = 3,
) -> CardsAnswer:
    """The next terms on which the asker may vote and nobody has, after a position and then around."""

    def read(connection: psycopg.Connection[Any], project: Project) -> CardsAnswer:
        _sample(connection, project, sample_id)
        cards = next_cards(connection, project.project_id, sample_id, reviewer, after=after, limit=limit)
        progress = vote_progress(connection, project.project_id, sample_id, reviewer)
        return CardsAnswer.of(cards, progress)

    return await ask_review(state, project_id, read)


@router.get("/{sample_id}/cards/{position}", summary="Show a term to vote on again")
async def get_vote_card(
    state: State, project_id: ProjectId, sample_id: SampleId, position: Position, reviewer: Reviewer
) -> CardsAnswer:
    """A term of the sample with the asker's own vote."""

    def read(connection: psycopg.Connection[Any], project: Project) -> CardsAnswer:
        sample = _sample(connection, project, sample_id)
        cards = vote_cards(connection, sample, reviewer, [position])
        if not cards:
            raise HTTPException(404, f"sample {sample_id} has no term at position {position}")
        return CardsAnswer.of(cards, vote_progress(connection, project.project_id, sample_id, reviewer))

    return await ask_review(state, project_id, read)


@router.post("/{sample_id}/votes", summary="Vote on a term", dependencies=_JSON)
async def store_vote(
    state: State, project_id: ProjectId, sample_id: SampleId, reviewer: Reviewer, request: VoteRequest
) -> VoteModel:
    """Store what a second person says; refused where the asker has decided the term, or another has voted."""

    def store(connection: psycopg.Connection[Any], project: Project) -> StoredVote:
        _sample(connection, project, sample_id)
        new = NewVote(position=request.position, verdict=request.verdict(), request_id=request.request_id)
        return vote(connection, project.project_id, sample_id, reviewer, new)

    stored = await ask_review(state, project_id, store)
    return VoteModel(
        vote_id=stored.vote_id,
        position=stored.position,
        request_id=stored.request_id,
        state=stored.verdict.state,
        targets=target_models(stored.verdict.targets),
        voted_at=stored.voted_at,
    )


@router.get("/{sample_id}/differences", summary="List where the two differ")
async def get_differences(
    request: Request,
    state: State,
    project_id: ProjectId,
    sample_id: SampleId,
    reviewer: Reviewer,
    names: Annotated[bool, Query(description="Say whose verdicts they are before they are settled.")] = False,
    limit: Limit = 50,
    offset: Annotated[int, Query(ge=0, le=10_000_000, description="How many to leave out before.")] = 0,
) -> DifferencesAnswer:
    """Both verdicts side by side, the open ones first; refused while the asker still votes on the sample."""

    def read(connection: psycopg.Connection[Any], project: Project) -> DifferencesAnswer:
        _sample(connection, project, sample_id)
        require_sight(connection, project.project_id, sample_id, reviewer)
        found = differences(connection, project.project_id, sample_id)
        found.sort(key=lambda one: (one.is_settled, one.position))
        shown = found[offset : offset + limit]
        verdicts = [verdict for one in shown for verdict in (one.first, one.second, one.current)]
        concepts = reader.concepts_by_id(
            connection, {target.concept_id for verdict in verdicts for target in verdict.targets}
        )
        settled = sum(one.is_settled for one in found)
        return DifferencesAnswer(
            open=len(found) - settled,
            settled=settled,
            differences=[DifferenceModel.of(one, concepts, names=names) for one in shown],
            offset=offset,
            next=next_page(request, offset + limit) if len(found) > offset + limit else None,
        )

    return await ask_review(state, project_id, read)


@router.post("/{sample_id}/adjudications", summary="Settle a difference", dependencies=_JSON)
async def store_adjudication(
    state: State,
    project_id: ProjectId,
    sample_id: SampleId,
    reviewer: Reviewer,
    request: AdjudicationRequest,
) -> DecisionResultModel:
    """Store the third decision, unless the term was decided again since it was shown."""

    def store(connection: psycopg.Connection[Any], project: Project) -> DecisionResult:
        _sample(connection, project, sample_id)
        require_sight(connection, project.project_id, sample_id, reviewer)
        return adjudicate(connection, project.project_id, sample_id, reviewer, request.to_decision())

    return DecisionResultModel.of(await ask_review(state, project_id, store))


@router.get("/{sample_id}/result", summary="Show agreement and audited precision")
async def get_result(
    state: State, project_id: ProjectId, sample_id: SampleId, reviewer: Reviewer
) -> ResultAnswer:
    """Cohen's kappa in all and by domain, and an audit's precision; refused while the asker still votes."""

    def read(connection: psycopg.Connection[Any], project: Project) -> ResultAnswer:
        _sample(connection, project, sample_id)
        require_sight(connection, project.project_id, sample_id, reviewer)
        return ResultAnswer.of(sample_result(connection, project.project_id, sample_id))

    return await ask_review(state, project_id, read)


def _sample(connection: psycopg.Connection[Any], project: Project, sample_id: int) -> Sample:
    try:
        return find_sample(connection, project.project_id, sample_id)
    except InputError as error:
        raise HTTPException(404, str(error)) from None
