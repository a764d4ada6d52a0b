"""Statistics of a review: counted by hand, on decisions of two people."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from omop_emb.mapping.ranking.prior_shift import NO_SHIFT
from omop_emb.service.review.corrected_probabilities import corrected_rows, filter_as_said, review_shift
from omop_emb.service.review.decision_records import (
    Action,
    Equivalence,
    NewDecision,
    ReviewState,
    Target,
    Verdict,
)
from omop_emb.service.review.decision_store import decide, undo
from omop_emb.service.review.project_store import find_project
from omop_emb.service.review.review_card import review_card
from omop_emb.service.review.review_queue import QueueFilter, queue_positions
from omop_emb.service.review.review_statistics import review_statistics
from omop_emb.service.review.statistics_records import Share
from omop_emb.service.review.suggestion_store import current_terms, read_suggestions
from tests.large_reviews import decide_all, store_review

NINE = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@pytest.fixture
def review(connection: psycopg.Connection) -> int:
    """A project of forty mapped terms."""
    return store_review(connection, 40)


def say(position: int, state: str = "approved", rank: int | None = 1, version: int = 0) -> NewDecision:
    targets = (Target(316866),) if state == "approved" else ()
    verdict = Verdict(state=ReviewState(state), targets=targets, equivalence=Equivalence.EQUAL)
    chosen = rank if state == "approved" else None
    return NewDecision(position=position, version=version, verdict=verdict, revision=1, rank=chosen)


def decide_at(
    connection: psycopg.Connection,
    project_id: int,
    reviewer: str,
    seconds: float,
    *new: NewDecision,
    **how: Any,
) -> None:
    for one in decide(connection, project_id, reviewer, new, **how):
        assert one.stored is not None
        connection.execute(
            "update omop_emb.review_decision set decided_at = %s where decision_id = %s",
            (NINE + timedelta(seconds=seconds), one.stored.decision_id),
        )


def said(connection: psycopg.Connection, project_id: int, position: int, probability: float) -> None:
    connection.execute(
        "update omop_emb.review_suggestion set probability = %s where project_id = %s and position = %s",
        (probability, project_id, position),
    )


def batch(connection: psycopg.Connection, project_id: int, kind: str) -> Any:
    made = uuid4()
    connection.execute(
        "insert into omop_emb.review_batch values (%s, %s, %s, 'Ada', '{}')", (made, project_id, kind)
    )
    return made


def test_a_review_that_nobody_has_begun_has_states_only(connection: psycopg.Connection, review: int) -> None:
    found = review_statistics(connection, review)
    assert (found.terms, found.states["unreviewed"].terms) == (40, 40)
    assert sum(one.terms for one in found.domains) == 40
    assert not any(found.ways.values())
    assert (found.reviewers, found.hours, found.reliability, found.coverage, found.quarters) == ((),) * 5


def test_every_decision_counts_as_what_it_was(connection: psycopg.Connection, review: int) -> None:
    decide_at(connection, review, "Ada", 0, say(1))
    decide_at(connection, review, "Ada", 10, say(2, rank=4))
    decide_at(connection, review, "Ada", 30, say(3, rank=None))
    decide_at(connection, review, "Ada", 1_000, say(4, "no match"), say(5, "flagged"))
    decide_at(connection, review, "Bob", 5_000, say(6, "ignored"))
    bulk = batch(connection, review, "bulk")
    decide_at(connection, review, "Ada", 1_020, say(7), say(8), say(9), action=Action.BULK, batch_id=bulk)
    decide_at(connection, review, "Bob", 5_004, say(10), action=Action.IMPORT)
    found = review_statistics(connection, review)
    assert found.ways == {
        "first suggestion": 1,
        "other candidate": 1,
        "searched": 1,
        "no match": 1,
        "bulk": 3,
        "import": 1,
        "flagged": 1,
        "ignored": 1,
    }
    states = {name: one.terms for name, one in found.states.items()}
    assert states == {"approved": 7, "no match": 1, "flagged": 1, "ignored": 1, "unreviewed": 30}
    ada, bob = found.reviewers
    assert (ada.reviewer, ada.decisions, ada.terms) == ("Ada", 6, 8)
    assert ada.states == {"approved": 6, "no match": 1, "flagged": 1}
    # 10, 20, 0 and 20 seconds; the break of 970 is left out.
    assert ada.seconds == 15
    assert (bob.decisions, bob.terms, bob.seconds, bob.ways["import"]) == (1, 1, None, 1)
    assert [(one.hour.hour, one.decisions, one.terms, one.reviewers) for one in found.hours] == [
        (9, 6, 8, 1),
        (10, 1, 1, 1),
    ]


def test_what_is_undone_counts_no_more(connection: psycopg.Connection, review: int) -> None:
    decide(connection, review, "Ada", [say(1)])
    undo(connection, review, "Ada")
    found = review_statistics(connection, review)
    assert not any(found.ways.values())
    assert found.states["unreviewed"].terms == 40
    assert [(one.reviewer, one.decisions, one.states) for one in found.reviewers] == [("Ada", 2, {})]


def test_frequency_is_counted_with_the_states(connection: psycopg.Connection, review: int) -> None:
    connection.execute(
        "update omop_emb.review_term set frequency = case position when 1 then 70 when 2 then null else 1 end"
    )
    decide(connection, review, "Ada", [say(1), say(2)])
    found = review_statistics(connection, review)
    assert found.states["approved"].frequency == 70
    assert found.states["unreviewed"].frequency == 38


def test_reliability_and_coverage_compare_what_was_said_with_what_was_chosen(
    connection: psycopg.Connection, review: int
) -> None:
    # Ten at 0.95, of which nine are right; ten at 0.55, of which four are.
    for position in range(1, 21):
        said(connection, review, position, 0.95 if position <= 10 else 0.55)
    decide(connection, review, "Ada", [say(one, rank=2 if one == 3 else 1) for one in range(1, 11)])
    decide(connection, review, "Ada", [say(one) for one in range(11, 15)])
    decide(connection, review, "Ada", [say(one, "no match") for one in range(15, 21)])
    # Nobody looked at these by themselves, or said anything about a match.
    said(connection, review, 21, 0.95)
    said(connection, review, 22, 0.95)
    decide(connection, review, "Ada", [say(21)], action=Action.BULK)
    decide(connection, review, "Ada", [say(22, "ignored")])
    found = review_statistics(connection, review)
    bins = [(one.low, one.high, round(one.mean, 3), one.first) for one in found.reliability]
    assert bins == [(0.5, 0.6, 0.55, Share(4, 10)), (0.9, 1.0, 0.95, Share(9, 10))]
    points = [(one.threshold, one.coverage, one.first) for one in found.coverage]
    assert points == [(0.95, 0.5, Share(9, 10)), (0.55, 1.0, Share(13, 20))]
    # What is ranked again later does not change what was said then.
    said(connection, review, 1, 0.05)
    assert review_statistics(connection, review).reliability == found.reliability


def test_a_suggestion_that_was_not_the_one_shown_says_nothing(
    connection: psycopg.Connection, review: int
) -> None:
    connection.execute("update omop_emb.review_suggestion set revision = 2 where position = 1")
    decide(connection, review, "Ada", [say(1), say(2)])
    assert review_statistics(connection, review).looked_at == 1


def test_decisions_correct_the_probabilities_that_people_see(
    connection: psycopg.Connection, review: int
) -> None:
    for position in range(1, 41):
        said(connection, review, position, 0.8)
    decide(connection, review, "Ada", [say(one, rank=1 if one <= 4 else 2) for one in range(1, 10)])
    assert review_statistics(connection, review).shift == NO_SHIFT
    decide(connection, review, "Ada", [say(10, "no match"), say(11, "flagged")])
    # What nobody looked at by itself, and what another ranker said, corrects nothing.
    decide(connection, review, "Ada", [say(12)], action=Action.BULK)
    connection.execute(
        "update omop_emb.review_decision set ranker = 'another' where position = 1 and project_id = %s",
        (review,),
    )
    assert review_shift(connection, review) == NO_SHIFT
    decide(connection, review, "Ada", [say(13, rank=2), say(14, rank=2)])
    shift = review_shift(connection, review)
    assert shift.rows == 11
    assert [shift.said, shift.approved] == pytest.approx([0.8, 3 / 11])
    (row,) = corrected_rows(connection, review, current_terms(connection, review, [20]))
    assert row.probability == pytest.approx(shift.correct(0.8))
    assert row.probability is not None
    assert 0.3 < row.probability < 0.7
    stored = read_suggestions(connection, review, [20])[20].mapped.probability
    card = review_card(connection, find_project(connection, review), 20)
    assert card.suggestion is not None
    assert card.suggestion.mapped.probability == shift.correct(stored) != stored
    assert card.candidates[0].candidate.probability == card.suggestion.mapped.probability
    # A filter is of what people see; what is stored stays, as bulk approval is tested on it.
    seen = QueueFilter(min_probability=row.probability - 0.01, max_probability=row.probability + 0.01)
    found = queue_positions(connection, review, queue_filter=filter_as_said(connection, review, seen))
    assert len(found) == 40
    assert current_terms(connection, review, [20])[0].probability == pytest.approx(0.8)


def test_quarters_show_how_often_the_first_suggestion_was_taken(
    connection: psycopg.Connection, review: int
) -> None:
    for position in range(1, 9):
        decide(connection, review, "Ada", [say(position, rank=1 if position in (2, 5, 7, 8) else 2)])
    found = review_statistics(connection, review)
    assert found.quarters == (Share(1, 2), Share(0, 2), Share(1, 2), Share(2, 2))


def test_the_interval_is_wilsons() -> None:
    # Newcombe 1998, table I: 81 of 263, and 0 of 20.
    assert [round(end, 4) for end in Share(81, 263).interval] == [0.2553, 0.3662]
    assert [round(end, 4) for end in Share(0, 20).interval] == [0.0, 0.1611]
    assert Share(0, 0).interval == (0.0, 1.0)


def processor_seconds(connection: psycopg.Connection) -> float:
    """What the database's process has used: the clock would count what else the machine does."""
    stat = Path(f"/proc/{connection.info.backend_pid}/stat").read_text()
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@pytest.mark.long
def test_statistics_of_a_hundred_thousand_terms_take_less_than_a_second(
    connection: psycopg.Connection,
) -> None:
    project_id = store_review(connection, 100_000)
    decide_all(connection, project_id)
    seconds = []
    for _ in range(3):
        begun = processor_seconds(connection)
        found = review_statistics(connection, project_id)
        seconds.append(processor_seconds(connection) - begun)
    assert min(seconds) < 1
    assert (found.terms, found.states["unreviewed"].terms) == (100_000, 0)
    assert sum(one.decisions for one in found.hours) == 100_000
