"""Second votes: blind, by another person, each once; what differs is settled by a third decision."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from uuid import uuid4

import psycopg
import pytest

from omop_emb.errors import InputError
from omop_emb.mapping.records import (
    Candidate,
    Decision,
    MappedTerm,
    Provenance,
    Retriever,
    Variant,
)
from omop_emb.service.review.decision_records import (
    Action,
    NewDecision,
    ReviewState,
    Target,
    Verdict,
)
from omop_emb.service.review.decision_store import decide, undo
from omop_emb.service.review.project_store import read_terms
from omop_emb.service.review.review_assignment import (
    AssignmentFilter,
    assign,
    assigned_counts,
    unassign,
)
from omop_emb.service.review.review_conflicts import find_conflicts
from omop_emb.service.review.second_votes import (
    NewVote,
    next_cards,
    require_sight,
    vote,
    vote_progress,
)
from omop_emb.service.review.suggestion_store import current_terms, store_suggestions
from omop_emb.service.review.vote_differences import differences
from omop_emb.service.review.vote_results import adjudicate, sample_result
from omop_emb.service.review.vote_samples import SampleKind, draw_sample, list_samples
from tests.postgres.service.review.test_review_conflicts import deciding, review

PROVENANCE = Provenance(
    space_id=None,
    model="",
    fingerprint="",
    vocabulary="",
    ranker="shipped-3",
    calibrated=False,
    accept_precision=None,
    accept_untrained=False,
    version="1",
)


@pytest.fixture
def project(connection: psycopg.Connection) -> int:
    """Ten terms, of which Ada has approved eight; two have no match."""
    terms = [
        (f"C{number}", f"term {chr(96 + number)}", (100 + number,) if number <= 8 else ())
        for number in range(1, 11)
    ]
    made = review(connection, terms)
    store_suggestions(
        connection,
        made,
        [(one.position, mapped(one.term, one.position)) for one in read_terms(connection, made)],
    )
    return made


def mapped(term: object, position: int) -> MappedTerm:
    candidates = tuple(
        Candidate(
            rank=rank,
            concept_id=100 + position if rank == 1 else 1000 + rank,
            concept_name=f"concept {rank}",
            domain_id="Condition",
            vocabulary_id="SNOMED",
            concept_class_id="Disorder",
            standard_concept="S",
            concept_code=str(rank),
            score=0.123456 / rank,
            probability=0.987654 if rank == 1 else None,
            variant=Variant("variant"),
            matched_text="approved before",
            matched_kind="alias",
            retrievers={Retriever.DENSE: 0.5, Retriever.MEMORY: 0.9},
        )
        for rank in range(1, 11)
    )
    return MappedTerm(
        term=term,  # type: ignore[arg-type] # a source term
        candidates=candidates,
        decision=Decision.ACCEPT,
        reason="r",
        probability=0.987654,
        priority=1.0,
        provenance=PROVENANCE,
        previous=(100 + position,),
    )


def voting(position: int, *targets: int, state: ReviewState | None = None) -> NewVote:
    verdict = Verdict(
        state=state or (ReviewState.APPROVED if targets else ReviewState.NO_MATCH),
        targets=tuple(map(Target, targets)),
    )
    return NewVote(position=position, verdict=verdict)


def test_a_sample_is_drawn_by_its_seed_and_in_proportion(
    connection: psycopg.Connection, project: int
) -> None:
    one = draw_sample(connection, project, "Ada", kind=SampleKind.SECOND_VOTE, size=5, seed=7)
    two = draw_sample(connection, project, "Ada", kind=SampleKind.SECOND_VOTE, size=5, seed=7)
    other = draw_sample(connection, project, "Ada", kind=SampleKind.SECOND_VOTE, size=5, seed=8)
    drawn = {
        sample.sample_id: [
            card.position for card in next_cards(connection, project, sample.sample_id, "Bob", limit=9)
        ]
        for sample in (one, two, other)
    }
    assert drawn[one.sample_id] == drawn[two.sample_id] != drawn[other.sample_id]
    assert (one.population, one.terms, one.voted) == (10, 5, 0)
    assert [sample.sample_id for sample in list_samples(connection, project)] == [
        other.sample_id,
        two.sample_id,
        one.sample_id,
    ]


def test_an_audit_draws_approved_terms_and_nothing_the_auditor_decided(
    connection: psycopg.Connection, project: int
) -> None:
    decide(connection, project, "Bob", [deciding(1, (101,), version=1)])
    sample = draw_sample(connection, project, "Ada", kind=SampleKind.AUDIT, reviewer="Bob")
    assert (sample.population, sample.terms) == (7, 7)
    with pytest.raises(InputError, match="1 to 7 terms, as many as there are; found 8"):
        draw_sample(connection, project, "Ada", kind=SampleKind.AUDIT, reviewer="Bob", size=8)
    with pytest.raises(InputError, match="that Ada has not decided, and there are none"):
        draw_sample(connection, project, "Ada", kind=SampleKind.SECOND_VOTE, reviewer="Ada")


def test_a_blind_card_tells_nothing_of_the_first_decision(
    connection: psycopg.Connection, project: int
) -> None:
    sample = draw_sample(connection, project, "Ada", kind=SampleKind.SECOND_VOTE, seed=3)
    cards = next_cards(connection, project, sample.sample_id, "Bob", limit=10)
    told = json.dumps([asdict(card) for card in cards], default=str)
    for secret in ("Ada", "0.98", "0.12", "approved", "alias", "rank", "score", "accept", "version"):
        assert secret not in told
    ranks = [int(one.concept_name.split()[1]) for card in cards for one in card.candidates]
    assert len(ranks) == 90
    assert [card.own for card in cards] == [None] * 10
    firsts = [card.candidates[0].concept_name for card in cards]
    assert len(set(firsts)) > 3  # the best is not always the first
    again = next_cards(connection, project, sample.sample_id, "Eve", limit=10)
    assert again == cards


def test_each_term_has_one_vote_of_another_person(connection: psycopg.Connection, project: int) -> None:
    sample = draw_sample(connection, project, "Ada", kind=SampleKind.SECOND_VOTE).sample_id
    with pytest.raises(InputError, match="decided this term yourself"):
        vote(connection, project, sample, "Ada", voting(1, 101))
    assert next_cards(connection, project, sample, "Ada") == []
    stored = vote(connection, project, sample, "Bob", new := voting(1, 101))
    assert vote(connection, project, sample, "Bob", new) == stored
    with pytest.raises(InputError, match="somebody else has voted"):
        vote(connection, project, sample, "Eve", voting(1, 101))
    with pytest.raises(InputError, match="used for another term"):
        vote(connection, project, sample, "Bob", replace(new, position=2))
    changed = vote(connection, project, sample, "Bob", voting(1, 1002))
    assert changed.vote_id > stored.vote_id
    assert [card.position for card in next_cards(connection, project, sample, "Bob", after=9)] == [10, 2, 3]
    progress = vote_progress(connection, project, sample, "Bob")
    assert (progress.open, progress.voted, progress.terms) == (9, 1, 10)
    with pytest.raises(InputError, match="no term at position 11"):
        vote(connection, project, sample, "Bob", voting(11, 1))
    with pytest.raises(InputError, match="9 second votes to give"):
        require_sight(connection, project, sample, "Bob")
    require_sight(connection, project, sample, "Ada")


def test_a_sample_for_one_person_takes_nobody_elses_votes(
    connection: psycopg.Connection, project: int
) -> None:
    sample = draw_sample(connection, project, "Ada", kind=SampleKind.SECOND_VOTE, reviewer="Bob").sample_id
    with pytest.raises(InputError, match="for another person"):
        vote(connection, project, sample, "Eve", voting(1, 101))
    assert next_cards(connection, project, sample, "Eve") == []
    with pytest.raises(InputError, match="to give"):
        require_sight(connection, project, sample, "Bob")


def test_what_differs_is_settled_by_a_third_decision(connection: psycopg.Connection, project: int) -> None:
    sample = draw_sample(connection, project, "Ada", kind=SampleKind.AUDIT, reviewer="Bob").sample_id
    for position in range(1, 7):
        vote(connection, project, sample, "Bob", voting(position, 100 + position))
    vote(connection, project, sample, "Bob", voting(7, 1002))
    vote(connection, project, sample, "Bob", voting(8, 1003))
    result = sample_result(connection, project, sample)
    assert (result.overall.n, result.overall.agreed, result.open_differences) == (8, 6, 2)
    assert result.audit is not None
    assert (result.audit.right, result.audit.unsettled, result.audit.is_final) == (6, 2, False)
    assert [one.aspect for one in find_conflicts(connection, project) if one.kind.value == "reviewers"] == [
        "second vote"
    ] * 2

    adjudicate(connection, project, sample, "Eve", deciding(7, (107,), version=1))
    stale = adjudicate(connection, project, sample, "Eve", deciding(7, (1002,), version=1))
    assert stale.is_conflict
    adjudicate(connection, project, sample, "Bob", deciding(8, (1003,), version=1))
    audit = sample_result(connection, project, sample).audit
    assert audit is not None
    assert (audit.right, audit.wrong, audit.unsettled, audit.is_final) == (7, 1, 0, True)
    assert audit.settled_by_one_of_two == 1
    assert audit.interval is not None
    assert (audit.interval.low, audit.interval.high) == (7 / 8, 7 / 8)
    term = current_terms(connection, project, [8])[0]
    assert (term.action, term.verdict.targets) == (Action.ADJUDICATE, (Target(1003),))
    with pytest.raises(InputError, match="settled in the meantime"):
        vote(connection, project, sample, "Bob", voting(7, 107))
    with pytest.raises(InputError, match="no second vote on a term at position 9"):
        adjudicate(connection, project, sample, "Eve", deciding(9, (1,), version=1))
    undo(connection, project, "Bob")
    assert [one.is_settled for one in differences(connection, project, sample)] == [True, False]


def test_votes_stay_once_both_sides_may_be_seen(connection: psycopg.Connection, project: int) -> None:
    sample = draw_sample(connection, project, "Ada", kind=SampleKind.SECOND_VOTE, size=2, seed=1).sample_id
    first, second = (card.position for card in next_cards(connection, project, sample, "Bob"))
    vote(connection, project, sample, "Bob", voting(first, 1002))
    vote(connection, project, sample, "Bob", voting(first, 1003))
    vote(connection, project, sample, "Bob", last := voting(second, 1002))
    require_sight(connection, project, sample, "Bob")
    with pytest.raises(InputError, match="your votes stay"):
        vote(connection, project, sample, "Bob", voting(first, 100 + first))
    assert vote(connection, project, sample, "Bob", last).position == second  # the same request again


def test_a_difference_is_settled_when_the_decision_is_changed_to_the_vote(
    connection: psycopg.Connection, project: int
) -> None:
    sample = draw_sample(connection, project, "Ada", kind=SampleKind.SECOND_VOTE).sample_id
    vote(connection, project, sample, "Bob", voting(1, 1002))
    decide(connection, project, "Ada", [deciding(1, (1003,), version=1)])
    assert [one.is_settled for one in differences(connection, project, sample)] == [False]
    decide(connection, project, "Ada", [deciding(1, (1002,), version=2)])
    assert [one.is_settled for one in differences(connection, project, sample)] == [True]
    assert sample_result(connection, project, sample).overall.agreed == 0  # then they did not agree


def test_a_flag_is_no_answer_and_waits_for_a_third_person(
    connection: psycopg.Connection, project: int
) -> None:
    sample = draw_sample(connection, project, "Ada", kind=SampleKind.SECOND_VOTE).sample_id
    vote(connection, project, sample, "Bob", voting(1, state=ReviewState.FLAGGED))
    vote(connection, project, sample, "Bob", voting(9))
    result = sample_result(connection, project, sample)
    assert (result.overall.n, result.overall.agreed, result.flagged) == (1, 1, 1)
    assert result.open_differences == 1
    assert result.audit is None
    assert list(result.by_domain) == ["Condition"]


def test_terms_are_divided_equally_and_the_latest_assignment_counts(
    connection: psycopg.Connection, project: int
) -> None:
    every = AssignmentFilter(states=())
    assert assign(connection, project, "Ada", ["Bob, Eve", "Bob", "Max"], every) == {
        "Bob": 3,
        "Eve": 3,
        "Max": 4,
    }
    assert [one.assigned_to for one in current_terms(connection, project)] == [
        *["Bob"] * 3,
        *["Eve"] * 3,
        *["Max"] * 4,
    ]
    assert assign(connection, project, "Ada", ["Zoe"], every) == {"Zoe": 0}
    assert assign(
        connection, project, "Ada", ["Zoe"], AssignmentFilter(positions=(1, 9), states=(), unassigned=False)
    ) == {"Zoe": 2}
    assert assigned_counts(connection, project) == {
        "Bob": (2, 0),
        "Eve": (3, 0),
        "Max": (3, 0),
        "Zoe": (2, 0),
    }
    only = AssignmentFilter(states=(ReviewState.NO_MATCH,), unassigned=False)
    assert unassign(connection, project, "Ada", only) == 2
    assert unassign(connection, project, "Ada", only) == 0
    assert assigned_counts(connection, project)["Max"] == (2, 0)
    named = AssignmentFilter(states=(), text="TERM J", domain="Condition")
    assert assign(connection, project, "Ada", ["Bob"], named) == {"Bob": 1}
    with pytest.raises(InputError, match="found 0"):
        assign(connection, project, "Ada", [" , "])


def test_a_repeated_adjudication_is_stored_once(connection: psycopg.Connection, project: int) -> None:
    sample = draw_sample(connection, project, "Ada", kind=SampleKind.SECOND_VOTE).sample_id
    vote(connection, project, sample, "Bob", voting(1, 1002))
    new = NewDecision(
        position=1,
        version=1,
        verdict=Verdict(state=ReviewState.APPROVED, targets=(Target(5),)),
        request_id=uuid4(),
    )
    first = adjudicate(connection, project, sample, "Eve", new)
    assert adjudicate(connection, project, sample, "Eve", new).stored == first.stored
