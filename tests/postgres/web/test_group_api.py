"""The JSON of groups and bulk approvals: listed, decided at once, taken back at once, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from starlette.testclient import TestClient

from omop_emb.mapping.ranking.calibration import PrecisionCurve
from omop_emb.mapping.ranking.linear import default_ranker
from omop_emb.mapping.ranking.ranker_store import store_ranker
from omop_emb.mapping.ranking.stored_rankers import use_shipped
from omop_emb.mapping.records import MappedTerm
from tests.postgres.web.conftest import ReviewApi
from tests.review_projects import make_project

ASTHMA = 317009
APPROVED = {"state": "approved", "targets": [{"concept_id": ASTHMA}], "equivalence": "EQUIVALENT"}


@pytest.fixture
def project_id(database: psycopg.Connection[Any], mapped: list[MappedTerm]) -> int:
    return make_project(database, mapped, name=f"groups {uuid4()}")


@pytest.fixture
def trained(database: psycopg.Connection[Any], project_id: int) -> Iterator[None]:
    """A ranker of the site, under which conditions hold .95 from a probability of .5."""
    shipped = default_ranker()
    assert shipped.calibration is not None
    curve = PrecisionCurve(probability=(0.5,), count=(400,), right=(400,))
    calibration = replace(shipped.calibration, curves={"Condition": curve})
    own = replace(shipped, is_site_trained=True, calibration=calibration)
    name = store_ranker(
        database, "default", own, name=shipped.name + " of the site", figures={}, trained_on={}
    )
    database.execute(
        "update omop_emb.review_suggestion set "
        "result = jsonb_set(result::jsonb, '{provenance,ranker}', to_jsonb(%s::text))::text "
        "where project_id = %s",
        (name, project_id),
    )
    yield
    use_shipped(database, "default", shipped.fingerprint)
    database.execute("delete from omop_emb.mapping_ranker")


def group(*members: tuple[int, int], **changes: Any) -> dict[str, Any]:
    listed = [{"position": position, "version": version} for position, version in members]
    return {"request_id": str(uuid4()), "members": listed, "verdict": APPROVED, **changes}


def test_a_group_is_shown_decided_and_taken_back_at_once(api: ReviewApi) -> None:
    (one,) = api("groups")["groups"]
    assert (one["position"], one["name"], one["open_terms"], one["concept_id"]) == (4, "Asthma", 2, ASTHMA)
    assert one["concept_name"] == "Asthma"
    members = api("terms/5/group")["members"]
    assert [(member["position"], member["version"]) for member in members] == [(4, 0), (5, 0)]
    request = group((4, 0), (5, 0))
    results = api("groups", request)["results"]
    assert [one["stored"]["action"] for one in results] == ["group", "group"]
    assert api("groups", request)["results"] == results
    assert api("groups") == {"groups": [], "has_more": False}
    assert len(api("undo", {"request_id": str(uuid4())})["results"]) == 2
    assert len(api("groups")["groups"]) == 1


def test_a_stale_member_is_a_conflict_in_the_answer(api: ReviewApi) -> None:
    api("groups", group((4, 0), verdict={"state": "no match"}))
    stale, stored = api("groups", group((4, 0), (5, 0)))["results"]
    assert (stale["stored"], stale["current"]["state"]) == (None, "no match")
    assert stored["stored"]["state"] == "approved"


def test_near_groups_are_listed(api: ReviewApi) -> None:
    (near,) = api("near-groups", position=4)["groups"]
    assert (near["likeness"], near["label"], near["positions"]) == (
        "the same first concept",
        "Asthma",
        [4, 5],
    )
    assert api("near-groups", likeness="one word or number differs")["groups"] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (group(), 422),
        (group((4, 0), verdict={"state": "approved"}), 422),
        (group((4, 0), verdict={**APPROVED, "else": 1}), 422),
        (group((4, 0), (4, 0)), 400),
        (group((99, 0)), 400),
    ],
)
def test_a_group_that_makes_no_sense_is_refused(api: ReviewApi, body: dict[str, Any], status: int) -> None:
    api("groups", body, status=status)


def test_a_term_or_review_that_does_not_exist_is_not_found(api: ReviewApi, client: TestClient) -> None:
    api("terms/99/group", status=404)
    assert client.get("/api/v1/reviews/999999/groups").status_code == 404
    assert client.get("/api/v1/reviews/999999/bulk").status_code == 404


def test_a_bulk_approval_is_refused_where_the_site_has_trained_nothing(api: ReviewApi) -> None:
    preview = api("bulk")
    assert "thresholds learned at other hospitals do not hold here" in preview["refusal"]
    assert preview["rows"] == []
    row = {"position": 4, "version": 0, "concept_id": ASTHMA}
    body = {"request_id": str(uuid4()), "precision": 0.95, "rows": [row]}
    assert "do not hold here" in api("bulk", body, status=400)["detail"]


@pytest.mark.usefixtures("trained")
def test_what_a_bulk_preview_shows_is_approved_and_taken_back_at_once(api: ReviewApi) -> None:
    preview = api("bulk", text="asthma")
    assert [row["position"] for row in preview["rows"]] == [4, 5]
    assert preview["expected_errors"] == pytest.approx(sum(1 - row["probability"] for row in preview["rows"]))
    assert len(api("bulk")["rows"]) > 2
    rows = [{name: row[name] for name in ("position", "version", "concept_id")} for row in preview["rows"]]
    api("groups", group((5, 0), verdict={"state": "ignored"}))
    body = {"request_id": str(uuid4()), "precision": 0.95, "rows": rows}
    answer = api("bulk", body)
    assert answer["approved"] == [4]
    assert answer["left_out"] == [{"position": 5, "reason": "it was decided after the preview"}]
    assert api("bulk", body)["approved"] == [4]
    assert len(api("undo", {"request_id": str(uuid4())})["results"]) == 1
    assert api("rows", positions="4")["rows"][0]["state"] == "unreviewed"
    api("bulk", {**body, "precision": 1}, status=422)


def test_a_training_says_how_far_it_is_and_why_it_cannot_be(api: ReviewApi) -> None:
    assert api("training")["state"] == "none"
    api("groups", group((4, 0), (5, 0)))
    assert api("training", {})["state"] in ("running", "failed")
    until = time.monotonic() + 120
    while (status := api("training"))["state"] == "running":
        assert time.monotonic() < until
        time.sleep(0.1)
    assert status["state"] == "failed"
    assert "at least 100 are needed" in status["message"]
    assert status["figures"] == []
