"""Second votes: decisions on terms that somebody else has decided, made without sight of the first."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import dict_row, tuple_row

from omop_emb.errors import InputError
from omop_emb.service.review.blind_cards import BlindCard, blind_cards
from omop_emb.service.review.decision_records import ReviewState, Verdict, reviewer_name
from omop_emb.service.review.decision_store import verdict_of
from omop_emb.service.review.vote_samples import Sample, find_sample
from omop_emb.sql import read

_REFUSALS = {
    "missing": "the sample has no term at position {position}",
    "own": (
        "you have decided this term yourself, and a second vote must come from another person; continue "
        "with the next"
    ),
    "asked": "this sample is for another person: only that person votes on it",
    "voted": "somebody else has voted on this term in the meantime: continue with the next",
    "finished": "you have finished this sample and may have seen where it differs: your votes stay",
    "settled": "this term has been settled in the meantime: continue with the next",
}


@dataclass(frozen=True, kw_only=True)
class VoteProgress:
    """How far a person is with a sample.

    Attributes:
        open: terms on which the person may vote and nobody has.
        voted: terms on which the person has voted.
        terms: of the sample.
    """

    open: int
    voted: int
    terms: int


@dataclass(frozen=True, kw_only=True)
class NewVote:
    """A vote to be stored.

    Attributes:
        request_id: made once where the person decides; the same again is the same vote, stored once.
    """

    position: int
    verdict: Verdict
    request_id: UUID = field(default_factory=uuid4)


@dataclass(frozen=True, kw_only=True)
class StoredVote:
    """A vote as it was stored; it never changes, and the person's latest on a term counts."""

    vote_id: int
    sample_id: int
    position: int
    request_id: UUID
    reviewer: str
    voted_at: datetime
    verdict: Verdict


def vote(
    connection: psycopg.Connection[Any], project_id: int, sample_id: int, reviewer: str, new: NewVote
) -> StoredVote:
    """Store a second vote; the caller commits.

    A request that comes again gives the vote that it made the first time. A person may vote again on
    a term until it is settled, or all votes are given and both sides are open to see.

    Raises:
        InputError: the person has decided the term, or was not asked, or somebody else has voted on it.
    """
    name = reviewer_name(reviewer)
    sample = find_sample(connection, project_id, sample_id)
    if new.verdict.state is ReviewState.UNREVIEWED:
        raise InputError("a vote must approve targets, find no match, flag or ignore; found unreviewed")
    repeated = _by_request(connection, new.request_id)
    if repeated is None:
        refusal = _refusal(connection, sample_id, new.position, name)
        if refusal:
            raise InputError(_REFUSALS[refusal].format(position=new.position))
        if _has_voted(connection, sample_id, new.position, name) and not _open_positions(
            connection, sample, name
        ):
            raise InputError(_REFUSALS["finished"])
        _insert(connection, sample_id, name, new)
        repeated = _by_request(connection, new.request_id)
    if repeated is None or (repeated.sample_id, repeated.position) != (sample_id, new.position):
        raise InputError("the request id was used for another term: make a new one for each vote")
    return repeated


def _refusal(connection: psycopg.Connection[Any], sample_id: int, position: int, reviewer: str) -> str:
    """Why a person may not vote on a term of a sample, "" if nothing forbids it; the term stays locked."""
    row = (
        connection.cursor(row_factory=tuple_row)
        .execute(read("review_may_vote"), {"sample": sample_id, "position": position, "reviewer": reviewer})
        .fetchone()
    )
    return "missing" if row is None else str(row[0])


def _has_voted(connection: psycopg.Connection[Any], sample_id: int, position: int, reviewer: str) -> bool:
    found = connection.execute(
        "select from omop_emb.review_vote where sample_id = %s and position = %s and reviewer = %s",
        (sample_id, position, reviewer),
    )
    return found.fetchone() is not None


def _insert(connection: psycopg.Connection[Any], sample_id: int, reviewer: str, new: NewVote) -> None:
    verdict = new.verdict
    connection.execute(
        "insert into omop_emb.review_vote (sample_id, position, request_id, reviewer, state, targets, "
        "mapping_types, equivalence, comment) "
        "values (%s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
        (
            sample_id,
            new.position,
            new.request_id,
            reviewer,
            verdict.state.value,
            [target.concept_id for target in verdict.targets],
            [target.mapping_type for target in verdict.targets],
            verdict.equivalence.value,
            verdict.comment,
        ),
    )


def vote_progress(
    connection: psycopg.Connection[Any], project_id: int, sample_id: int, reviewer: str
) -> VoteProgress:
    """How far a person is with a sample."""
    sample = find_sample(connection, project_id, sample_id)
    positions = _open_positions(connection, sample, reviewer)
    row = (
        connection.cursor(row_factory=tuple_row)
        .execute(
            "select count(distinct position) from omop_emb.review_vote "
            "where sample_id = %s and reviewer = %s",
            (sample_id, reviewer),
        )
        .fetchone()
    )
    return VoteProgress(open=len(positions), voted=row[0] if row else 0, terms=sample.terms)


def next_cards(
    connection: psycopg.Connection[Any],
    project_id: int,
    sample_id: int,
    reviewer: str,
    *,
    after: int = 0,
    limit: int = 3,
) -> list[BlindCard]:
    """The next terms of a sample on which a person may vote and nobody has: after a position, then around."""
    sample = find_sample(connection, project_id, sample_id)
    positions = _open_positions(connection, sample, reviewer)
    later = [position for position in positions if position > after]
    chosen = [*later, *(position for position in positions if position <= after)][:limit]
    return blind_cards(connection, sample, reviewer, chosen)


def vote_cards(
    connection: psycopg.Connection[Any], sample: Sample, reviewer: str, positions: list[int]
) -> list[BlindCard]:
    """Cards of those of these terms on which a person may vote, or has voted."""
    allowed = [
        position
        for position in positions
        if _refusal(connection, sample.sample_id, position, reviewer) in ("", "settled")
    ]
    return blind_cards(connection, sample, reviewer, allowed)


def require_sight(
    connection: psycopg.Connection[Any], project_id: int, sample_id: int, reviewer: str
) -> None:
    """Refuse to show both sides of a sample to a person who has begun to vote on it and is not done.

    Raises:
        InputError: the person is the one who is asked, or has voted, and terms are open.
    """
    sample = find_sample(connection, project_id, sample_id)
    progress = vote_progress(connection, project_id, sample_id, reviewer)
    if progress.open and (progress.voted or sample.reviewer == reviewer):
        raise InputError(
            f"you still have {progress.open} second votes to give on this sample: "
            "both sides are shown when you have finished"
        )


def _open_positions(connection: psycopg.Connection[Any], sample: Sample, reviewer: str) -> list[int]:
    """Terms of a sample on which a person may vote and nobody has, in the order of the file."""
    if sample.reviewer not in ("", reviewer):
        return []
    rows = connection.cursor(row_factory=tuple_row).execute(
        read("review_open_votes"), {"sample": sample.sample_id, "reviewer": reviewer}
    )
    return [position for (position,) in rows]


def _by_request(connection: psycopg.Connection[Any], request_id: UUID) -> StoredVote | None:
    row = (
        connection.cursor(row_factory=dict_row)
        .execute(
            "select vote_id, sample_id, position, request_id, reviewer, voted_at, state, targets, "
            "mapping_types, equivalence, comment from omop_emb.review_vote where request_id = %s",
            (request_id,),
        )
        .fetchone()
    )
    if row is None:
        return None
    plain = ("vote_id", "sample_id", "position", "request_id", "reviewer", "voted_at")
    return StoredVote(**{name: row[name] for name in plain}, verdict=verdict_of(row))
