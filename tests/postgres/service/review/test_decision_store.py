"""Decisions of a review: only ever added, each once, none on a term that has changed unseen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from omop_emb.errors import InputError
from omop_emb.service.review.decision_records import (
    Action,
    Equivalence,
    NewDecision,
    ReviewState,
    Target,
    Verdict,
)
from omop_emb.service.review.decision_store import decide, decisions_since, history, undo
from omop_emb.service.review.project_store import file_content, find_project, list_projects, read_terms
from omop_emb.service.review.suggestion_store import current_terms

Approve = Callable[..., NewDecision]


def approving(concept_id: int, position: int = 1, version: int = 0) -> NewDecision:
    verdict = Verdict(
        state=ReviewState.APPROVED, targets=(Target(concept_id),), equivalence=Equivalence.EQUIVALENT
    )
    return NewDecision(position=position, version=version, verdict=verdict)


def states(connection: psycopg.Connection, project_id: int) -> list[tuple[int, str, list[int]]]:
    return [
        (one.version, one.verdict.state.value, [target.concept_id for target in one.verdict.targets])
        for one in current_terms(connection, project_id)
    ]


def test_a_project_keeps_its_file_and_terms(connection: psycopg.Connection, project_id: int) -> None:
    assert b"".join(file_content(connection, project_id)) == b"name\nHTN\nAsthma\nasthmas\n"
    assert [one.term.name for one in read_terms(connection, project_id)] == ["HTN", "Asthma", "asthmas"]
    assert [one.position for one in read_terms(connection, project_id, [3, 1])] == [1, 3]
    assert [one.terms for one in list_projects(connection)] == [3]
    assert find_project(connection, "laboratory") == find_project(connection, project_id)
    with pytest.raises(InputError, match="no review 'x': omop-emb review --list"):
        find_project(connection, "x")
    one, two, three = read_terms(connection, project_id)
    assert two.group_key == three.group_key != one.group_key


def test_a_decision_on_a_term_that_changed_meanwhile_is_shown_and_not_stored(
    connection: psycopg.Connection, project_id: int
) -> None:
    (first,) = decide(connection, project_id, "Ada", [approving(316866)])
    assert not first.is_conflict
    (second,) = decide(connection, project_id, "Bob", [approving(201826)])
    assert (second.stored, second.current) == (None, first.stored)
    (third,) = decide(connection, project_id, "Bob", [approving(201826, version=1)])
    assert third.stored is not None
    assert (third.stored.version, third.stored.reviewer) == (2, "Bob")
    assert history(connection, project_id, 1) == [first.stored, third.stored]
    assert decisions_since(connection, project_id, third.stored.decision_id) == []
    assert states(connection, project_id)[0] == (2, "approved", [201826])


def test_a_request_that_comes_again_is_stored_once(connection: psycopg.Connection, project_id: int) -> None:
    new = approving(316866)
    (first,) = decide(connection, project_id, "Ada", [new])
    decide(connection, project_id, "Bob", [approving(201826, version=1)])
    (again,) = decide(connection, project_id, "Ada", [new])
    assert again.stored == first.stored
    assert len(history(connection, project_id, 1)) == 2
    with pytest.raises(InputError, match="used for another term"):
        decide(connection, project_id, "Ada", [replace(new, position=2)])


def test_one_stale_decision_costs_no_other(connection: psycopg.Connection, project_id: int) -> None:
    decide(connection, project_id, "Ada", [approving(1)])
    results = decide(connection, project_id, "Bob", [approving(2), approving(2, position=2)])
    assert [one.is_conflict for one in results] == [True, False]
    with pytest.raises(InputError, match="no term at position 9"):
        decide(connection, project_id, "Bob", [approving(2, position=9)])


def test_undo_takes_decisions_back_one_by_one_and_never_another_persons(
    connection: psycopg.Connection, project_id: int
) -> None:
    decide(connection, project_id, "Ada", [approving(1)])
    decide(connection, project_id, "Ada", [approving(2, version=1)])
    decide(connection, project_id, "Bob", [approving(3, position=2)])
    (undone,) = undo(connection, project_id, "Ada")
    assert undone.stored is not None
    assert (undone.stored.action, undone.stored.version) == (Action.UNDO, 3)
    assert states(connection, project_id)[0] == (3, "approved", [1])
    undo(connection, project_id, "Ada")
    assert states(connection, project_id)[0] == (4, "unreviewed", [])
    assert undo(connection, project_id, "Ada") == []
    assert states(connection, project_id)[1] == (1, "approved", [3])
    assert len(history(connection, project_id, 1)) == 4


def test_undo_of_what_somebody_else_decided_since_is_left(
    connection: psycopg.Connection, project_id: int
) -> None:
    batch = uuid4()
    connection.execute(
        "insert into omop_emb.review_batch (batch_id, project_id, kind, reviewer, details) "
        "values (%s, %s, 'group', 'Ada', '{}')",
        (batch, project_id),
    )
    both = [approving(1), approving(1, position=2)]
    decide(connection, project_id, "Ada", both, action=Action.GROUP, batch_id=batch)
    decide(connection, project_id, "Bob", [approving(5, version=1)])
    request = uuid4()
    results = undo(connection, project_id, "Ada", request_id=request)
    assert [(one.new.position, one.is_conflict) for one in results] == [(1, True), (2, False)]
    assert states(connection, project_id)[:2] == [(2, "approved", [5]), (2, "unreviewed", [])]
    undo(connection, project_id, "Ada", request_id=request)
    assert states(connection, project_id)[1] == (2, "unreviewed", [])
    assert undo(connection, project_id, "Ada") == []


@pytest.mark.parametrize(
    ("verdict", "message"),
    [
        ({"state": ReviewState.APPROVED}, "needs a target"),
        ({"state": ReviewState.NO_MATCH, "targets": (Target(1),)}, "has no target"),
        ({"state": ReviewState.FLAGGED, "targets": (Target(1), Target(1))}, "twice"),
        ({"state": ReviewState.FLAGGED, "comment": "\0"}, "NUL"),
    ],
)
def test_a_verdict_that_says_nothing_sensible_is_refused(verdict: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Verdict(**verdict)
