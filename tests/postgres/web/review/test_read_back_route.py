"""Filled files of a review, sent back over HTTP."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy
from starlette.testclient import TestClient

from tests.postgres.service.review.review_samples import ASTHMA, HYPERTENSION, decided, make_review, verdict

CONTENT = b"code,name\nA1,hypertension\nA2,asthma\nA3,nothing\n"


@pytest.fixture
def made(web_engine: sqlalchemy.Engine) -> Iterator[int]:
    """A review of three terms, not mapped."""
    url = web_engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        project_id = make_review(connection, CONTENT, name="read back")
        yield project_id
        connection.execute("delete from omop_emb.review_project where project_id = %s", (project_id,))


def filled(client: TestClient, project_id: int) -> bytes:
    """The exported CSV with three answers, of which the last cannot be used."""
    text = client.get(f"/api/v1/reviews/{project_id}/exports/csv").text
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    rows[0] |= {"decision": "approve", "concept_ids": str(HYPERTENSION)}
    rows[1] |= {"decision": "no match"}
    rows[2] |= {"decision": "who knows"}
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def test_a_filled_file_is_decided_and_what_is_wrong_or_in_conflict_is_shown(
    client: TestClient, web_engine: sqlalchemy.Engine, made: int
) -> None:
    content = filled(client, made)
    url = web_engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        decided(connection, made, 1, verdict("approved", ASTHMA), reviewer="Cleo")
    address = f"/api/v1/reviews/{made}/read-back?file_name=filled.csv"
    answer = client.post(address, content=content, headers={"X-Reviewer": "Ada"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["rows"], found["decided"], found["unchanged"]) == (3, 1, 0)
    assert found["problems"] == ["line 4: 'decision' says neither approve, no match, flag nor ignore"]
    (conflict,) = found["conflicts"]
    assert (conflict["position"], conflict["source_name"], conflict["line"]) == (1, "hypertension", 2)
    assert conflict["said"]["targets"] == [{"concept_id": HYPERTENSION, "mapping_type": "MAPS_TO"}]
    assert conflict["current"]["reviewer"] == "Cleo"
    rows = client.get(f"/api/v1/reviews/{made}/rows?positions=2").json()["rows"]
    assert (rows[0]["state"], rows[0]["reviewer"]) == ("no match", "Ada")
    again = client.post(address, content=content, headers={"X-Reviewer": "Ada"}).json()
    assert (again["decided"], again["repeated"]) == (0, 1)


def test_what_cannot_be_read_back_is_refused_with_the_reason(client: TestClient, made: int) -> None:
    address = f"/api/v1/reviews/{made}/read-back"
    wrong = client.post(f"{address}?file_name=a.csv", content=CONTENT)
    assert wrong.status_code == 400
    assert "has no column position, review_version" in wrong.json()["detail"]
    assert client.post(f"{address}?file_name=a.csv", content=b"").status_code == 400
    assert client.post("/api/v1/reviews/99999/read-back?file_name=a.csv", content=CONTENT).status_code == 404
    assert client.get(f"{address}?file_name=a.csv").status_code == 405
