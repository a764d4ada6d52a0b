"""The memory of a site follows the decisions of its reviews, and nothing else of it is touched."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from omop_emb.mapping.approvals.approval_store import Approval, remember_approvals, stored_approvals
from omop_emb.mapping.files.usagi_file import MAPS_TO
from omop_emb.mapping.records import SourceTerm
from omop_emb.service.review.decision_records import NewDecision, ReviewState, Target, Verdict
from omop_emb.service.review.decision_store import decide, undo
from omop_emb.service.review.live_memory import sync_memory
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.project_store import delete_project, find_project
from omop_emb.service.review.review_changes import review_changes
from tests.postgres.service.review.made_reviews import make_review

TERMS: list[SourceTerm | str] = [
    SourceTerm(name="HTN", code="1", source_vocabulary="local"),
    SourceTerm(name="Asthma"),
    "Asthma",
    "dm",
]


@pytest.fixture
def project(connection: psycopg.Connection) -> Project:
    return find_project(connection, make_review(connection, TERMS))


def approve(
    connection: psycopg.Connection, project: Project, position: int, *concepts: int, version: int = 0
) -> None:
    verdict = Verdict(state=ReviewState.APPROVED, targets=tuple(map(Target, concepts)))
    new = NewDecision(position=position, version=version, verdict=verdict)
    (result,) = decide(connection, project.project_id, "Ada", [new])
    assert result.stored is not None


def memory(connection: psycopg.Connection, site: str = "north") -> list[tuple[str, int, str]]:
    stored = stored_approvals(connection, site)
    return sorted((one.source_name, one.concept_id, one.approved_from) for one in stored)


def test_an_approval_is_remembered_and_forgotten_when_it_is_taken_back(
    connection: psycopg.Connection, project: Project
) -> None:
    approve(connection, project, 1, 316866)
    changes = sync_memory(connection, project)
    assert memory(connection) == [("HTN", 316866, "review made")]
    (stored,) = stored_approvals(connection, "north")
    assert (stored.source_code, stored.source_vocabulary) == ("1", "local")
    assert (changes.names, changes.settled > 0) == (["HTN"], True)
    again = sync_memory(connection, project)
    assert (again.remembered, again.withdrawn) == ([], [])
    undo(connection, project.project_id, "Ada")
    assert [one.source_name for one in sync_memory(connection, project).withdrawn] == ["HTN"]
    assert memory(connection) == []
    approve(connection, project, 1, 316866, version=2)
    sync_memory(connection, project)
    assert memory(connection) == [("HTN", 316866, "review made")]


def test_another_concept_replaces_the_first_and_only_mappings_are_remembered(
    connection: psycopg.Connection, project: Project
) -> None:
    approve(connection, project, 1, 1)
    sync_memory(connection, project)
    verdict = Verdict(
        state=ReviewState.APPROVED,
        targets=(Target(2, MAPS_TO), Target(3, "MAPS_TO_VALUE"), Target(4, MAPS_TO)),
    )
    decide(connection, project.project_id, "Ada", [NewDecision(position=1, version=1, verdict=verdict)])
    sync_memory(connection, project)
    assert [concept for _, concept, _ in memory(connection)] == [2, 4]


@pytest.mark.parametrize("state", [ReviewState.FLAGGED, ReviewState.IGNORED, ReviewState.NO_MATCH])
def test_what_is_not_approved_is_not_remembered(
    connection: psycopg.Connection, project: Project, state: ReviewState
) -> None:
    approve(connection, project, 1, 1)
    sync_memory(connection, project)
    targets = (Target(1),) if state is ReviewState.FLAGGED else ()
    verdict = Verdict(state=state, targets=targets)
    decide(connection, project.project_id, "Ada", [NewDecision(position=1, version=1, verdict=verdict)])
    sync_memory(connection, project)
    assert memory(connection) == []


def test_a_name_stays_while_any_term_or_review_of_the_site_has_it_approved(
    connection: psycopg.Connection, project: Project
) -> None:
    other = find_project(connection, make_review(connection, TERMS, name="other"))
    elsewhere = find_project(connection, make_review(connection, TERMS, name="elsewhere", site="south"))
    for position in (2, 3):
        approve(connection, project, position, 1)
    approve(connection, other, 2, 1)
    approve(connection, elsewhere, 2, 9)
    for one in (project, other, elsewhere):
        sync_memory(connection, one)
    assert memory(connection) == [("Asthma", 1, "review made")]
    assert memory(connection, "south") == [("Asthma", 9, "review elsewhere")]
    for _ in range(2):
        undo(connection, project.project_id, "Ada")
        sync_memory(connection, project)
        assert [name for name, _, _ in memory(connection)] == ["Asthma"]
    undo(connection, other.project_id, "Ada")
    sync_memory(connection, other)
    assert memory(connection) == []
    assert memory(connection, "south") == [("Asthma", 9, "review elsewhere")]


def test_what_came_with_a_file_or_a_deleted_review_is_left_alone(
    connection: psycopg.Connection, project: Project
) -> None:
    remember_approvals(connection, "north", [Approval(source_name="dm", concept_id=7)], "approved.csv")
    approve(connection, project, 4, 8)
    sync_memory(connection, project)
    assert memory(connection) == [("dm", 7, "approved.csv"), ("dm", 8, "review made")]
    approve(connection, project, 4, 7, version=1)
    sync_memory(connection, project)
    undo(connection, project.project_id, "Ada")
    undo(connection, project.project_id, "Ada")
    sync_memory(connection, project)
    assert memory(connection) == [("dm", 7, "approved.csv")]
    approve(connection, project, 1, 1)
    sync_memory(connection, project)
    delete_project(connection, project.project_id)
    other = find_project(connection, make_review(connection, TERMS, name="other"))
    approve(connection, other, 1, 2)
    sync_memory(connection, other)
    assert ("HTN", 1, "review made") in memory(connection)


def test_only_later_decisions_are_looked_at(connection: psycopg.Connection, project: Project) -> None:
    approve(connection, project, 1, 1)
    settled = sync_memory(connection, project).settled
    connection.execute("update omop_emb.mapping_memory set withdrawn_at = now()")
    assert sync_memory(connection, project, after=settled).remembered == []
    assert len(sync_memory(connection, project).remembered) == 1


@pytest.fixture
def slow(connection: psycopg.Connection, project: Project, database_url: str) -> Iterator[psycopg.Connection]:
    """Another connection, whose transaction takes an hour."""
    connection.commit()  # the project
    with psycopg.connect(database_url) as other:
        yield other
        other.rollback()


def approve_slowly(slow: psycopg.Connection, project: Project, position: int) -> None:
    approve(slow, project, position, 1)
    slow.execute("update omop_emb.review_decision set decided_at = now() - interval '1 hour'")


def test_a_decision_that_is_committed_after_later_ones_is_remembered(
    connection: psycopg.Connection, slow: psycopg.Connection, project: Project
) -> None:
    approve(connection, project, 4, 9)
    connection.commit()
    before = sync_memory(connection, project).settled
    approve_slowly(slow, project, 1)
    approve(connection, project, 2, 1)
    connection.commit()
    first = sync_memory(connection, project, after=before)
    assert (first.names, first.settled) == (["Asthma"], before)
    connection.commit()
    slow.commit()
    second = sync_memory(connection, project, after=first.settled)
    assert second.names == ["HTN"]
    assert second.settled > before
    assert sync_memory(connection, project, after=second.settled).names == []


def test_a_page_is_told_of_a_decision_that_is_committed_after_later_ones(
    connection: psycopg.Connection, slow: psycopg.Connection, project: Project
) -> None:
    approve_slowly(slow, project, 1)
    approve(connection, project, 2, 1)
    connection.commit()
    first = review_changes(connection, project.project_id)
    assert [one.position for one in first.decisions] == [2]
    connection.commit()
    slow.commit()
    second = review_changes(connection, project.project_id, after=first.after, since=first.since)
    assert {one.position for one in second.decisions} == {1, 2}
    third = review_changes(connection, project.project_id, after=second.after, since=second.since)
    assert (third.decisions, third.progress) == ((), None)


def test_many_decisions_come_in_parts_and_not_at_once_again_while_somebody_writes(
    connection: psycopg.Connection,
    slow: psycopg.Connection,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("omop_emb.service.review.review_changes._MOST", 2)
    for position in (1, 2, 3):
        approve(connection, project, position, 1)
    connection.commit()
    first = review_changes(connection, project.project_id)
    assert ([one.position for one in first.decisions], first.has_more) == ([1, 2], True)
    rest = review_changes(connection, project.project_id, after=first.after)
    assert ([one.position for one in rest.decisions], rest.has_more) == ([3], False)
    approve_slowly(slow, project, 4)
    for version in (1, 2):
        approve(connection, project, 1, 2, version=version)
    connection.commit()
    held = review_changes(connection, project.project_id, after=rest.after)
    assert (len(held.decisions), held.after, held.has_more) == (2, rest.after, False)
