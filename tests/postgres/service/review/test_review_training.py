"""Training on what a site's reviews approved: which terms count, and what it says when it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import psycopg
import pytest

from omop_emb.errors import InputError
from omop_emb.mapping.approvals.approval_store import Approval, remember_approvals
from omop_emb.mapping.records import SourceTerm
from omop_emb.service.review.decision_records import Action, NewDecision, ReviewState, Target, Verdict
from omop_emb.service.review.decision_store import decide
from omop_emb.service.review.live_memory import sync_memory
from omop_emb.service.review.project_store import find_project
from omop_emb.service.review.review_training import approved_terms
from omop_emb.service.review.term_groups import begin_batch
from tests.postgres.service.review.made_reviews import make_review

Deciding = Callable[..., None]


@pytest.fixture
def project_id(connection: psycopg.Connection) -> int:
    names = ["HTN", "dm", "x", "unit", "later", "bulk", "twice"]
    return make_review(connection, [SourceTerm(name=name, domain="Condition") for name in names])


@pytest.fixture
def deciding(connection: psycopg.Connection, project_id: int) -> Deciding:
    def store(position: int, state: ReviewState, *targets: Target, action: Action = Action.DECIDE) -> None:
        verdict = Verdict(state=state, targets=targets)
        batch = uuid4() if action is Action.BULK else None
        if batch is not None:
            begin_batch(connection, project_id, "Ada", batch, "bulk", {})
        new = NewDecision(position=position, version=0, verdict=verdict)
        decide(connection, project_id, "Ada", [new], action=action, batch_id=batch)

    return store


def test_what_people_decided_one_by_one_is_learned_from(
    connection: psycopg.Connection, project_id: int, deciding: Deciding
) -> None:
    deciding(1, ReviewState.APPROVED, Target(316866))
    deciding(2, ReviewState.APPROVED, Target(1), Target(2), Target(3, "MAPS_TO_VALUE"))
    deciding(3, ReviewState.NO_MATCH)
    deciding(4, ReviewState.APPROVED, Target(5, "MAPS_TO_UNIT"))
    deciding(5, ReviewState.FLAGGED)
    deciding(6, ReviewState.APPROVED, Target(6), action=Action.BULK)
    sync_memory(connection, find_project(connection, project_id))
    remember_approvals(
        connection,
        "north",
        [Approval(source_name="old", concept_id=7), Approval(source_name="old", concept_id=8)],
        "old.csv",
    )
    gold = approved_terms(connection, "north")
    assert {one.term.name: (set(one.targets), one.source) for one in gold.terms} == {
        "HTN": ({316866}, "review made"),
        "dm": ({1, 2}, "review made"),
        "x": (set(), "review made"),
        "old": ({7, 8}, "old.csv"),
    }
    assert next(one.term.domain for one in gold.terms if one.term.name == "HTN") == "Condition"
    assert set(gold.digests) == {"review made", "old.csv"}


def test_a_site_that_approved_nothing_is_told_so(connection: psycopg.Connection, project_id: int) -> None:
    assert project_id
    with pytest.raises(InputError, match="'north' has approved nothing yet"):
        approved_terms(connection, "north")
