"""Files that are sent to be reviewed: shown, begun, watched, exported and deleted over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import sqlalchemy
from starlette.testclient import TestClient

from omop_emb.service import ConceptFinder
from omop_emb.web import Limits, ServerSettings, ServerState, create_app

TERMS = b"code,name,frequency\nA1,hypertension,12\nA2,asthma,3\nA3,,1\n"
REVIEWS = "/api/v1/reviews"


def wait_until_ready(client: TestClient, project_id: int) -> dict[str, object]:
    deadline = time.monotonic() + 60
    while True:
        found: dict[str, object] = client.get(f"{REVIEWS}/{project_id}").json()
        if found["is_ready"]:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.fixture
def begun(client: TestClient) -> Iterator[int]:
    """A review of two terms."""
    answer = client.post(
        REVIEWS,
        content=TERMS,
        params={"file_name": "terms.csv", "name": "lab"},
        headers={"X-Reviewer": "Ada"},
    )
    assert answer.status_code == 201, answer.text
    project_id = int(answer.json()["project_id"])
    yield project_id
    client.post(f"{REVIEWS}/{project_id}/delete", json={"name": "lab"})


def test_a_sent_file_becomes_a_review_whose_progress_can_be_watched(client: TestClient, begun: int) -> None:
    found = wait_until_ready(client, begun)
    assert (found["name"], found["file_name"], found["created_by"]) == ("lab", "terms.csv", "Ada")
    assert (found["terms"], found["terms_read"], found["terms_mapped"]) == (2, 2, 2)
    assert found["problems"] == ["line 4: no term in 'name'"]
    assert [one["project_id"] for one in client.get(REVIEWS).json()["reviews"]] == [begun]


def test_a_preview_shows_columns_and_stores_nothing(client: TestClient) -> None:
    answer = client.post(f"{REVIEWS}/preview", content=TERMS, params={"file_name": "C:\\data\\terms.csv"})
    assert answer.status_code == 200
    assert answer.json()["roles"] == {"term": ["name"], "code": ["code"], "frequency": ["frequency"]}
    assert answer.json()["lines"][0].startswith("terms.csv: CSV or TSV")
    unused = {"file_name": "terms.csv", "unused_column": "code"}
    roles = client.post(f"{REVIEWS}/preview", content=TERMS, params=unused).json()["roles"]
    assert roles == {"term": ["name"], "frequency": ["frequency"]}
    unclear = client.post(f"{REVIEWS}/preview", content=b"x,y\na,b\n", params={"file_name": "t.csv"}).json()
    assert unclear["headers"] == ["x", "y"]
    assert "no column of terms is recognised" in unclear["problem"]
    broken = client.post(f"{REVIEWS}/preview", content=b"%PDF-1.4", params={"file_name": "t.csv"}).json()
    assert (broken["headers"], broken["problem"][:12]) == ([], "t.csv is a P")
    chosen = {"file_name": "t.csv", "name_column": "y"}
    assert client.post(f"{REVIEWS}/preview", content=b"x,y\na,b\n", params=chosen).json()["problem"] == ""
    assert client.get(REVIEWS).json() == {"reviews": []}


@pytest.mark.parametrize(
    ("content", "query", "detail"),
    [
        (b"", "file_name=t.csv", "send the file as the body"),
        (b"%PDF-1.4", "file_name=t.csv", "t.csv is a PDF: export its table as CSV or .xlsx"),
        (TERMS, "file_name=t.csv&name_column=wrong", "no column 'wrong'"),
        (TERMS, "file_name=t.xlsx", "t.xlsx is not what its name says"),
        (TERMS, "file_name=..", "file_name is the name of the file"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(
    client: TestClient, content: bytes, query: str, detail: str
) -> None:
    answer = client.post(f"{REVIEWS}?{query}", content=content)
    assert answer.status_code == 400
    assert detail in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]


def test_two_reviews_have_different_names(client: TestClient, begun: int) -> None:
    answer = client.post(REVIEWS, content=TERMS, params={"file_name": "terms.csv", "name": "lab"})
    assert answer.status_code == 400
    assert answer.json()["detail"] == "there is a review named 'lab' already: give this one another name"


def test_a_review_is_deleted_only_by_its_name(client: TestClient, begun: int) -> None:
    assert client.post(f"{REVIEWS}/{begun}/delete", json={"name": "other"}).status_code == 409
    assert client.post(f"{REVIEWS}/{begun}/delete", json={"name": "lab"}).status_code == 200
    assert client.get(f"{REVIEWS}/{begun}").status_code == 404
    assert client.post(f"{REVIEWS}/{begun}/delete", json={"name": "lab"}).status_code == 404
    assert client.post(f"{REVIEWS}/{begun}/resume", json={}).status_code == 404


def test_the_page_lists_reviews_and_links_to_their_exports(client: TestClient, begun: int) -> None:
    wait_until_ready(client, begun)
    page = client.get("/review").text
    assert f'href="/review/{begun}">lab</a>' in page
    assert "1 row or value not used" in page
    assert 'href="/review">Reviews</a>' in client.get("/").text
    export = client.get(f"/review/{begun}/export")
    assert export.status_code == 200
    assert "0 of 2 terms are decided" in export.text
    assert client.get("/review/999999/export").status_code == 404


def test_every_format_can_be_downloaded_and_says_what_is_left_out(client: TestClient, begun: int) -> None:
    wait_until_ready(client, begun)
    exports = client.get(f"{REVIEWS}/{begun}/exports").json()["exports"]
    assert exports
    for export in exports:
        needed = {one["name"]: one["default"] or "X" for one in export["options"] if one["is_required"]}
        report = client.get(f"{REVIEWS}/{begun}/exports/{export['name']}/report", params=needed)
        assert report.status_code == 200, report.text
        body = report.json()
        assert body["rows"] + sum(one["count"] for one in body["left_out"]) >= 2
        shown = client.get(f"/review/{begun}/export", params={"format": export["name"], **needed})
        assert shown.status_code == 200
        file = client.get(f"{REVIEWS}/{begun}/exports/{export['name']}", params=needed)
        assert file.status_code == 200
        assert f'filename="lab{export["suffix"]}"' in file.headers["content-disposition"]
        by_page = client.get(f"/review/{begun}/export/{export['name']}", params=needed)
        assert by_page.headers["content-disposition"] == file.headers["content-disposition"]
    wrong = f"{REVIEWS}/{begun}/exports/{exports[0]['name']}"
    assert client.get(wrong, params={"colour": "red"}).status_code == 400
    assert client.get(f"{REVIEWS}/{begun}/exports/stone-tablet").status_code == 404
    page = client.get(f"/review/{begun}/export/{exports[0]['name']}", params={"colour": "red"})
    assert page.status_code == 400
    assert "has no option" in page.text


@pytest.fixture(scope="module")
def strict_client(web_engine: sqlalchemy.Engine, finder: ConceptFinder) -> Iterator[TestClient]:
    """A client of a server that takes files of 50,000 bytes, and other bodies of 1,000."""
    limits = Limits(body_bytes=1_000, upload_bytes=50_000, upload_seconds=0.5, uploads=1)
    state = ServerState(engine=web_engine, finder=finder, settings=ServerSettings(token=None, limits=limits))
    with TestClient(create_app(state), "http://127.0.0.1:8077") as opened:
        yield opened


def test_files_may_be_larger_than_other_bodies_and_have_a_bound_of_their_own(
    strict_client: TestClient,
) -> None:
    rows = b"name\n" + b"asthma\n" * 5_000
    query = {"file_name": "t.csv"}
    assert strict_client.post(f"{REVIEWS}/preview", content=rows, params=query).status_code == 200
    answer = strict_client.post(f"{REVIEWS}/preview", content=rows * 2, params=query)
    assert (answer.status_code, answer.json()["detail"]) == (413, "a body may have 50,000 bytes")

    def unstated() -> Iterator[bytes]:
        for _ in range(3):
            yield rows

    assert strict_client.post(f"{REVIEWS}/preview", content=unstated(), params=query).status_code == 413
    assert strict_client.post("/api/v1/map", content=rows).status_code == 413
