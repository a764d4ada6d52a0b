"""Groups of a review: decided together, undone together, and near ones only shown."""

from __future__ import annotations

from uuid import UUID, uuid4

import psycopg
import pytest

from omop_emb.errors import InputError
from omop_emb.mapping.records import SourceTerm
from omop_emb.service.review.decision_records import (
    Action,
    Equivalence,
    NewDecision,
    ReviewState,
    Target,
    Verdict,
)
from omop_emb.service.review.decision_store import decide, history, undo
from omop_emb.service.review.near_groups import Likeness, near_groups
from omop_emb.service.review.suggestion_store import current_terms
from omop_emb.service.review.term_groups import decide_group, group_of, largest_groups
from tests.postgres.service.review.made_reviews import make_review, suggest

ASTHMA = Verdict(state=ReviewState.APPROVED, targets=(Target(317009),), equivalence=Equivalence.EQUIVALENT)
NO_MATCH = Verdict(state=ReviewState.NO_MATCH, equivalence=Equivalence.UNMATCHED)


@pytest.fixture
def project_id(connection: psycopg.Connection) -> int:
    """Four spellings of asthma, of which one is in another domain; two feet, one of them left."""
    return make_review(
        connection,
        [
            "Asthma",
            "asthmas",
            SourceTerm(name="ASTHMA.", frequency=7),
            SourceTerm(name="Asthma", domain="Observation"),
            "left foot",
            "right foot",
            "Feet, left",
        ],
    )


def states(connection: psycopg.Connection, project_id: int) -> list[str]:
    return [one.verdict.state.value for one in current_terms(connection, project_id)]


def test_a_group_has_the_spellings_of_a_name_in_the_same_domain(
    connection: psycopg.Connection, project_id: int
) -> None:
    assert [one.position for one in group_of(connection, project_id, 2).members] == [1, 2, 3]
    assert [one.position for one in group_of(connection, project_id, 4).members] == [4]
    assert [one.position for one in group_of(connection, project_id, 5).members] == [5]
    with pytest.raises(InputError, match="no term at position 99"):
        group_of(connection, project_id, 99)


def test_a_group_is_one_batch_that_one_undo_takes_back(
    connection: psycopg.Connection, project_id: int
) -> None:
    suggest(connection, project_id, 1, (1, "other"), (317009, "Asthma"))
    suggest(connection, project_id, 2, (317009, "Asthma"))
    request = uuid4()
    results = decide_group(connection, project_id, "Ada", [(2, 0), (1, 0)], ASTHMA, request)
    stored = [one.stored for one in results if one.stored is not None]
    assert [(one.position, one.action, one.rank, one.revision) for one in stored] == [
        (1, Action.GROUP, 2, 1),
        (2, Action.GROUP, 1, 1),
    ]
    assert {one.batch_id for one in stored} == {request}
    assert states(connection, project_id)[:3] == ["approved", "approved", "unreviewed"]
    assert group_of(connection, project_id, 1).open_members[0].position == 3
    assert len(undo(connection, project_id, "Ada")) == 2
    assert states(connection, project_id)[:3] == ["unreviewed"] * 3


def test_a_member_that_somebody_decided_since_is_a_conflict_and_costs_no_other(
    connection: psycopg.Connection, project_id: int
) -> None:
    decide(connection, project_id, "Bob", [NewDecision(position=2, version=0, verdict=NO_MATCH)])
    results = decide_group(connection, project_id, "Ada", [(1, 0), (2, 0), (3, 0)], ASTHMA, uuid4())
    assert [one.is_conflict for one in results] == [False, True, False]
    assert results[1].current is not None
    assert results[1].current.reviewer == "Bob"
    assert states(connection, project_id)[:3] == ["approved", "no match", "approved"]


def test_a_group_of_which_nothing_is_stored_leaves_no_batch(
    connection: psycopg.Connection, project_id: int
) -> None:
    decide(connection, project_id, "Bob", [NewDecision(position=1, version=0, verdict=NO_MATCH)])
    decide_group(connection, project_id, "Ada", [(1, 0)], ASTHMA, uuid4())
    assert connection.execute("select count(*) from omop_emb.review_batch").fetchone() == (0,)


def test_a_repeated_request_stores_nothing_again(connection: psycopg.Connection, project_id: int) -> None:
    request = uuid4()
    first = decide_group(connection, project_id, "Ada", [(1, 0), (2, 0)], ASTHMA, request)
    again = decide_group(connection, project_id, "Ada", [(1, 0), (2, 0)], ASTHMA, request)
    assert [one.stored for one in again] == [one.stored for one in first]
    assert len(history(connection, project_id, 1)) == 1
    other = make_review(connection, ["Asthma"], name="other")
    with pytest.raises(InputError, match="used for other terms"):
        decide_group(connection, other, "Ada", [(1, 0)], ASTHMA, request)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "1 to 1,000 terms"),
        ([(1, 0)] * 1_001, "1 to 1,000 terms"),
        ([(1, 0), (1, 1)], "twice"),
        ([(99, 0)], "no term at position 99"),
    ],
)
def test_members_that_cannot_be_are_refused(
    connection: psycopg.Connection, project_id: int, members: list[tuple[int, int]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        decide_group(connection, project_id, "Ada", members, ASTHMA, UUID(int=1))


def test_the_largest_open_groups_come_first(connection: psycopg.Connection, project_id: int) -> None:
    suggest(connection, project_id, 1, (317009, "Asthma"), probability=0.75)
    found = largest_groups(connection, project_id)
    assert [(one.position, one.name, one.open_terms, one.terms, one.frequency) for one in found] == [
        (1, "Asthma", 3, 3, 9)
    ]
    assert (found[0].concept_id, found[0].probability) == (317009, 0.75)
    decide_group(connection, project_id, "Ada", [(1, 0)], ASTHMA, uuid4())
    assert [(one.position, one.open_terms, one.terms) for one in largest_groups(connection, project_id)] == [
        (2, 2, 3)
    ]
    decide_group(connection, project_id, "Ada", [(2, 0)], ASTHMA, uuid4())
    assert largest_groups(connection, project_id) == []


def test_near_groups_share_a_concept_a_parent_code_or_all_words_but_one(
    connection: psycopg.Connection,
) -> None:
    falls = [SourceTerm(name=f"Fall {n}", code=f"W00.{n}") for n in (1, 2, 9)]
    project_id = make_review(
        connection,
        [*falls, "pain in left arm", "pain in right arm", "rash", "itch", SourceTerm(name="x", code="W01.1")],
    )
    for position in (6, 7, 8):
        suggest(connection, project_id, position, (140214, "Eruption"))
    found = near_groups(connection, project_id)
    assert [(one.likeness, one.label, one.positions) for one in found] == [
        (Likeness.CONCEPT, "Eruption", (6, 7, 8)),
        (Likeness.CODE, "W00", (1, 2, 3)),
        (Likeness.NAME, "pain in … arm", (4, 5)),
    ]
    assert [one.positions for one in near_groups(connection, project_id, position=4)] == [(4, 5)]
    only = near_groups(connection, project_id, likenesses=[Likeness.NAME])
    assert [one.label for one in only] == ["fall …", "pain in … arm"]
    decide_group(connection, project_id, "Ada", [(5, 0)], ASTHMA, uuid4())
    assert near_groups(connection, project_id, position=4) == []


def test_words_that_differ_in_another_domain_or_context_are_not_near(connection: psycopg.Connection) -> None:
    project_id = make_review(
        connection,
        [
            SourceTerm(name="pain in left arm", context={"ward": "A"}),
            SourceTerm(name="pain in right arm", context={"ward": "B"}),
            SourceTerm(name="pain in right arm", domain="Observation"),
            "pain left",
            "pain right",
        ],
    )
    assert near_groups(connection, project_id) == []
