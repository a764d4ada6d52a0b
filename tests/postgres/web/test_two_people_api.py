"""The JSON of conflicts, assignments, second votes and results; a voter sees nothing of the decision."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy
from starlette.testclient import TestClient

from omop_emb.service import ConceptFinder
from omop_emb.service.review.project_store import read_terms
from omop_emb.service.review.suggestion_store import store_suggestions
from omop_emb.web import ServerSettings, ServerState, create_app
from tests.postgres.service.review.test_review_conflicts import VOCABULARY, review
from tests.postgres.service.review.test_second_votes import mapped
from tests.postgres.web.conftest import ReviewApi
from tests.small_vocabulary import SmallVocabulary

FRACTURE, LEFT, ARM = 1, 2, 7


@pytest.fixture
def client(engine: sqlalchemy.Engine) -> TestClient:
    """A client of the application, whose search is not opened."""
    state = ServerState(engine=engine, finder=ConceptFinder(engine), settings=ServerSettings(token=None))
    return TestClient(create_app(state), "http://127.0.0.1:8077")


@pytest.fixture
def database(database_url: str, engine: sqlalchemy.Engine, tmp_path: Path) -> Iterator[psycopg.Connection]:
    SmallVocabulary(engine, tmp_path).load(*VOCABULARY)
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def project_id(database: psycopg.Connection) -> int:
    """Six terms, decided by Ada; two of them are of two sides and share a target."""
    made = review(
        database,
        [
            ("1", "fracture left wrist", (FRACTURE,)),
            ("2", "fracture right wrist", (FRACTURE,)),
            ("3", "arm broken", (ARM,)),
            ("4", "nothing", ()),
            ("5", "left wrist", (LEFT,)),
            ("6", "forearm", (ARM,)),
        ],
    )
    store_suggestions(
        database, made, [(one.position, mapped(one.term, one.position)) for one in read_terms(database, made)]
    )
    return made


def voting(position: int, *targets: int, **changes: Any) -> dict[str, Any]:
    return {
        "position": position,
        "request_id": str(uuid4()),
        "state": "approved" if targets else "no match",
        "targets": [{"concept_id": target} for target in targets],
        **changes,
    }


def test_conflicts_are_listed_by_kind_and_go_when_called_right(api: ReviewApi) -> None:
    answer = api("conflicts")
    assert answer["counts"]["contrast"] == answer["total"] == 1
    (conflict,) = answer["conflicts"]
    assert conflict["summary"] == "laterality: the terms say left and right, the concept does not"
    assert [term["says"] for term in conflict["terms"]] == ["left", "right"]
    assert conflict["terms"][0]["targets"] == [
        {
            "concept_id": FRACTURE,
            "mapping_type": "MAPS_TO",
            "concept_name": "Fracture of wrist",
            "domain_id": "Condition",
        }
    ]
    assert api("conflicts", kind="domain")["conflicts"] == []
    right = {"key": conflict["key"], "kind": "contrast", "request_id": str(uuid4()), "reason": "no side"}
    assert api("conflicts/right", right, by="Bob")["reviewer"] == "Bob"
    assert api("conflicts")["conflicts"] == []
    (called,) = api("conflicts", called_right=True)["conflicts"]
    assert called["dismissal"]["reason"] == "no side"
    api("conflicts/right", {**right, "is_right": False, "request_id": str(uuid4())})
    assert api("conflicts")["total"] == 1
    api("conflicts/right", {**right, "key": "x" * 32, "request_id": str(uuid4())}, status=400)
    api("conflicts", kind="nonsense", status=422)


def test_conflicts_come_in_pages(api: ReviewApi) -> None:
    first = api("conflicts", limit=1)
    assert (len(first["conflicts"]), first["next"]) == (1, None)


def test_a_card_shows_the_conflicts_of_its_term_and_of_what_is_about_to_be_approved(api: ReviewApi) -> None:
    assert len(api("terms/1/conflicts")["conflicts"]) == 1
    assert api("terms/3/conflicts")["conflicts"] == []
    check = {"position": 5, "targets": [{"concept_id": FRACTURE}]}
    assert [one["aspect"] for one in api("conflicts/check", check)["conflicts"]] == ["laterality"]
    unknown = {"position": 3, "targets": [{"concept_id": 4242}]}
    (warned,) = api("conflicts/check", unknown)["conflicts"]
    assert (warned["aspect"], warned["is_certain"]) == ("unknown", True)
    assert warned["terms"][0]["targets"][0]["concept_name"] == ""
    api("conflicts/check", {"position": 99, "targets": []}, status=404)


def test_terms_are_assigned_and_taken_back(api: ReviewApi) -> None:
    answer = api("assignments", {"reviewers": ["Bob, Eve"], "states": []})
    assert answer["changed"] == {"Bob": 3, "Eve": 3}
    assert answer["reviewers"] == [
        {"reviewer": "Bob", "assigned": 3, "open": 0},
        {"reviewer": "Eve", "assigned": 3, "open": 0},
    ]
    assert api("queue", assigned="Eve", order="file")["positions"] == [4, 5, 6]
    assert api("assignments", {"reviewers": [], "positions": [4], "states": []})["changed"] == {"": 1}
    assert api("assignments")["reviewers"][1]["assigned"] == 2
    api("assignments", {"reviewers": [","], "states": []}, status=400)


def test_a_voter_sees_nothing_of_the_first_decision(api: ReviewApi) -> None:
    sample = api("samples", {"reviewer": "Bob", "seed": 1})
    assert (sample["terms"], sample["population"], sample["voted"]) == (6, 6, 0)
    text = json.dumps(api(f"samples/{sample['sample_id']}/cards", by="Bob", limit=20))
    for secret in ("Ada", "probability", "score", "rank", "version", "decision", "reviewer", "approved"):
        assert secret not in text
    # Whether both agree is not told before the last vote.
    api(f"samples/{sample['sample_id']}/votes", voting(1, ARM), by="Bob")
    for page in ("differences", "result"):
        refused = api(f"samples/{sample['sample_id']}/{page}", by="Bob", status=400)
        assert "5 second votes to give" in refused["detail"]
    listed = api("samples", by="Bob")["samples"][0]
    assert listed["voted"] == 1
    assert "differences" not in listed
    own = api(f"samples/{sample['sample_id']}/cards/1", by="Bob")["cards"][0]["own"]
    assert own == {"state": "approved", "targets": [{"concept_id": ARM, "mapping_type": "MAPS_TO"}]}
    api(f"samples/{sample['sample_id']}/cards/1", by="Eve", status=404)
    assert api(f"samples/{sample['sample_id']}/cards", by="Ada")["cards"] == []


def test_votes_are_stored_once_and_who_decided_has_none(api: ReviewApi) -> None:
    sample = api("samples", {})["sample_id"]
    vote = voting(1, FRACTURE)
    first = api(f"samples/{sample}/votes", vote, by="Bob")
    assert api(f"samples/{sample}/votes", vote, by="Bob") == first
    assert "yourself" in api(f"samples/{sample}/votes", voting(2, ARM), by="Ada", status=400)["detail"]
    assert "somebody else" in api(f"samples/{sample}/votes", voting(1, ARM), by="Eve", status=400)["detail"]
    api(f"samples/{sample}/votes", voting(2, state="approved"), by="Bob", status=400)
    api("samples/99/votes", voting(2), by="Bob", status=404)
    api(f"samples/{sample}/votes", voting(77), by="Bob", status=400)


def test_from_an_audit_to_a_third_decision_and_the_precision(api: ReviewApi) -> None:
    size = api("samples/size", precision=0.9, width=0.5)
    assert size["population"] == 5
    sample = api("samples", {"kind": "audit"})["sample_id"]
    for position, target in ((1, FRACTURE), (2, FRACTURE), (3, ARM), (5, FRACTURE)):
        api(f"samples/{sample}/votes", voting(position, target), by="Bob")
    api(f"samples/{sample}/votes", voting(6, state="flagged"), by="Bob")

    result = api(f"samples/{sample}/result")
    assert (result["audit"]["right"], result["audit"]["unsettled"], result["audit"]["is_final"]) == (
        3,
        2,
        False,
    )
    assert (result["overall"]["n"], result["overall"]["agreed"], result["flagged"]) == (4, 3, 1)
    assert set(result["by_domain"]) == {"Condition"}

    answer = api(f"samples/{sample}/differences", by="Eve")
    assert (answer["open"], answer["settled"]) == (2, 0)
    difference = answer["differences"][0]
    assert [side["reviewer"] for side in difference["sides"]] == [None, None]
    assert "Ada" not in json.dumps(answer)
    assert "Bob" not in json.dumps(answer)
    told = api(f"samples/{sample}/differences", by="Eve", names=True)["differences"][0]
    assert [side["reviewer"] for side in told["sides"]] == ["Ada", "Bob"]

    third = {**voting(5, LEFT), "version": difference["version"]}
    stored = api(f"samples/{sample}/adjudications", third, by="Eve")
    assert stored["stored"]["action"] == "adjudicate"
    assert stored["stored"]["reviewer"] == "Eve"
    again = api(f"samples/{sample}/adjudications", {**voting(5, ARM), "version": 1}, by="Eve")
    assert again["stored"] is None
    assert again["current"]["reviewer"] == "Eve"
    api(f"samples/{sample}/adjudications", {**voting(6, ARM), "version": 1}, by="Eve")
    audit = api(f"samples/{sample}/result")["audit"]
    assert (audit["right"], audit["wrong"], audit["precision"], audit["is_final"]) == (5, 0, 1.0, True)
    assert audit["interval"] == {"low": 1.0, "high": 1.0}
    settled = api(f"samples/{sample}/differences", by="Eve")
    assert settled["settled"] == 2
    assert settled["differences"][0]["decided"]["reviewer"] == "Eve"
