"""The JSON of reviews: queue, rows, cards, decisions, undo and changes, and what is refused."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import psycopg
import pytest
from starlette.testclient import TestClient

from omop_emb.mapping.records import MappedTerm
from omop_emb.service.review.suggestion_store import store_suggestions
from tests.postgres.web.conftest import ReviewApi
from tests.review_projects import TERMS, make_project

HYPERTENSION = 316866


@pytest.fixture
def project_id(database: psycopg.Connection[Any], mapped: list[MappedTerm]) -> int:
    return make_project(database, mapped, name=f"review {uuid4()}")


def approval(position: int = 1, version: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "position": position,
        "version": version,
        "request_id": str(uuid4()),
        "state": "approved",
        "targets": [{"concept_id": HYPERTENSION}],
        "equivalence": "EQUIVALENT",
        "rank": 1,
        **changes,
    }


def test_the_queue_has_what_is_frequent_and_uncertain_first(api: ReviewApi, mapped: list[MappedTerm]) -> None:
    by_priority = sorted(range(1, len(mapped) + 1), key=lambda number: -mapped[number - 1].priority)
    answer = api("queue")
    assert answer["positions"] == by_priority
    assert api("queue", order="file")["positions"] == list(range(1, len(TERMS) + 1))
    grouped = api("queue", order="group")["positions"]
    assert abs(grouped.index(4) - grouped.index(5)) == 1  # Asthma, asthmas
    assert answer["progress"] == {
        "counts": {"unreviewed": 10, "approved": 0, "no match": 0, "flagged": 0, "ignored": 0},
        "total": 10,
        "decided": 0,
    }


def test_each_filter_leaves_what_it_says(api: ReviewApi, mapped: list[MappedTerm]) -> None:
    api("decisions", {"decisions": [approval(1), approval(2, state="flagged", targets=[])]}, by="Bob")

    def queue(**query: Any) -> list[int]:
        return list(api("queue", order="file", **query)["positions"])

    assert queue(state="approved") == queue(text="htn") == [1]
    assert queue(state=["unreviewed", "flagged"]) == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert queue(reviewer="Bob") == [1, 2]
    assert queue(text="A10") == [10]
    assert queue(text="%") == queue(changed=True) == queue(assigned="Ada") == []
    assert len(queue(assigned="")) == 10
    numbered = list(enumerate(mapped, start=1))
    assert (
        queue(domain="Drug") == [n for n, one in numbered if one.best and one.best.domain_id == "Drug"] != []
    )
    sure = [n for n, one in numbered if one.probability is not None and one.probability >= 0.8]
    assert queue(min_probability=0.8) == sure
    flagged = [n for n, one in numbered if one.best and any("negation" in flag for flag in one.best.flags)]
    assert queue(flag="negation") == flagged
    assert queue(same_as=4) == [4, 5]
    choices = api("choices")
    assert "Drug" in choices["domains"]
    assert choices["reviewers"] == ["Bob"]


def test_a_card_has_all_that_decides(api: ReviewApi) -> None:
    card = api("terms/1")
    first = card["candidates"][0]
    assert card["row"]["name"] == "HTN"
    assert card["context"] == {"ward": "cardiology"}
    assert first["concept_id"] == HYPERTENSION
    assert first["found_through"].startswith("abbreviation: HTN = hypertension")
    assert first["term_spans"] == [["HTN", "like", ""]]
    assert "".join(span[0] for span in first["name_spans"]) == first["concept_name"]
    assert first["contributions"]
    assert first["synonyms"]
    assert first["is_standard"]
    assert first["invalid_reason"] is None
    assert card["suggested_targets"] == first["targets"]
    assert card["concepts"][str(HYPERTENSION)]["concept_name"] == first["concept_name"]
    asthma = api("terms/4")
    assert [(one["position"], one["name"]) for one in asthma["same_text"]] == [(5, "asthmas")]
    assert (asthma["same_text_total"], asthma["group_size"]) == (1, 2)
    assert asthma["candidates"][0]["equivalence"] == "EQUAL"
    api("decisions", {"decisions": [approval(7)]})
    again = api("terms/1")
    assert [one["position"] for one in again["same_target"]] == [7]
    assert api("terms/7")["decisions"][0]["reviewer"] == "Ada"


def test_decisions_are_stored_and_a_conflict_is_an_answer(api: ReviewApi) -> None:
    (mine,) = api("decisions", {"decisions": [approval()]})["results"]
    assert mine["stored"] == mine["current"]
    assert (mine["stored"]["version"], mine["stored"]["reviewer"]) == (1, "Ada")
    both = {"decisions": [approval(targets=[{"concept_id": 1}]), approval(position=2)]}
    conflict, stored = api("decisions", both, by="Bob")["results"]
    assert (conflict["stored"], conflict["current"]) == (None, mine["stored"])
    assert stored["stored"]["reviewer"] == "Bob"
    (row,) = api("rows", positions="1")["rows"]
    assert (row["state"], row["version"], row["reviewer"]) == ("approved", 1, "Ada")
    assert api("queue")["progress"]["decided"] == 2


def test_a_request_sent_again_stores_nothing_more(api: ReviewApi) -> None:
    body = {"decisions": [approval()]}
    assert api("decisions", body) == api("decisions", body)
    assert len(api("terms/1")["decisions"]) == 1


def test_undo_takes_back_the_last_decision_once(api: ReviewApi) -> None:
    assert api("undo", {"request_id": str(uuid4())})["results"] == []
    api("decisions", {"decisions": [approval()]})
    api("decisions", {"decisions": [approval(version=1, state="no match", targets=[])]})
    request = {"request_id": str(uuid4())}
    (undone,) = api("undo", request)["results"]
    assert (undone["stored"]["state"], undone["stored"]["action"]) == ("approved", "undo")
    assert api("undo", request)["results"] == [undone]
    assert len(api("terms/1")["decisions"]) == 3


def test_changes_tell_what_others_did_and_what_was_ranked_again(
    api: ReviewApi, database: psycopg.Connection[Any], project_id: int, mapped: list[MappedTerm]
) -> None:
    queue = api("queue")  # a page shows cards of the queue before it first asks for changes
    before = api("changes", after=queue["last_decision"], since=queue["since"])
    assert (before["decisions"], before["progress"], before["has_more"]) == ([], None, False)
    api("decisions", {"decisions": [approval()]}, by="Bob")
    other = mapped[1]
    with database.transaction():
        store_suggestions(database, project_id, [(1, other)])
    after = api("changes", after=queue["last_decision"], since=queue["since"])
    assert [(one["position"], one["reviewer"]) for one in after["decisions"]] == [(1, "Bob")]
    assert after["revised"] == [{"position": 1, "revision": 2}]
    assert after["progress"]["decided"] == 1
    assert api("queue", changed=True)["positions"] == [1]
    assert api("changes", after=after["after"])["decisions"] == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": []}, "needs a target"),
        ({"state": "no match"}, "has no target"),
        ({"state": "done"}, "state"),
        ({"targets": [{"concept_id": 0}]}, "concept_id"),
        ({"targets": [{"concept_id": 1, "mapping_type": "MAPS"}]}, "MAPS_TO_VALUE"),
        ({"targets": [{"concept_id": 1}] * 2}, "twice"),
        ({"request_id": "1"}, "request_id"),
        ({"version": -1}, "version"),
        ({"equivalence": "SAME"}, "equivalence"),
        ({"state": "flagged", "note": ""}, "note"),
    ],
)
def test_a_decision_that_says_nothing_sensible_is_refused(
    api: ReviewApi, changes: dict[str, Any], message: str
) -> None:
    problem = api("decisions", {"decisions": [approval(**changes)]}, status=422)
    assert message in problem["detail"]
    assert api("queue")["progress"]["decided"] == 0


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "0"])
def test_any_time_can_be_asked_about(api: ReviewApi, since: str) -> None:
    assert api("changes", since=since, after=2**63 - 1)["decisions"] == []


def test_what_does_not_exist_is_not_found(api: ReviewApi, client: TestClient) -> None:
    assert "no term at position 11" in api("terms/11", status=404)["detail"]
    assert "no term at position 11" in api("decisions", {"decisions": [approval(11)]}, status=400)["detail"]
    api("queue", status=422, min_probability=0.9, max_probability=0.1)
    assert api("queue", max_probability=1.4e-85)["positions"] == []
    api("rows", status=422, positions="1,x")
    for path in ("queue", "choices", "rows?positions=1", "terms/1", "changes"):
        answer = client.get(f"/api/v1/reviews/999999/{path}")
        assert (answer.status_code, answer.json()["detail"]) == (404, "there is no review 999999")
    answer = client.post(
        "/api/v1/reviews/999999/decisions", content="{}", headers={"Content-Type": "text/plain"}
    )
    assert answer.status_code == 415
