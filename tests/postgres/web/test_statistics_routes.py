"""Statistics over HTTP: the JSON, the page, and the file to save."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest
from starlette.testclient import TestClient

from tests.large_reviews import decide_all, store_review


@pytest.fixture(scope="module")
def reviews(web_database_url: str) -> Iterator[tuple[int, int]]:
    """A project of which half is decided, and one that nobody has begun."""
    with psycopg.connect(web_database_url) as connection:
        half = store_review(connection, 200, name="half <b>done</b> & more")
        decide_all(connection, half, share=0.5)
        fresh = store_review(connection, 3, name="fresh")
    yield half, fresh
    with psycopg.connect(web_database_url) as connection:
        connection.execute("delete from omop_emb.review_project")


def test_the_json_has_every_figure(client: TestClient, reviews: tuple[int, int]) -> None:
    found = client.get(f"/api/v1/reviews/{reviews[0]}/statistics").json()
    assert found["terms"] == sum(one["terms"] for one in found["states"].values()) == 200
    decided = sum(found["ways"].values())
    assert 0 < decided < 200
    assert [one["reviewer"] for one in found["reviewers"]] == ["Ada", "Bob", "Cleo"]
    assert sum(one["first"]["of"] for one in found["reliability"]) == decided
    assert found["coverage"][-1]["coverage"] == 1
    assert [one["of"] for one in found["quarters"]] == [
        len(range(quarter, decided, 4)) for quarter in range(4)
    ]
    assert all(one["low"] <= one["share"] <= one["high"] for one in found["quarters"])


def test_a_review_that_is_not_there_is_named(client: TestClient) -> None:
    answer = client.get("/api/v1/reviews/999999/statistics")
    assert answer.status_code == 404
    assert "999999" in answer.json()["detail"]


def test_the_page_has_each_chart_with_its_numbers(client: TestClient, reviews: tuple[int, int]) -> None:
    html = client.get(f"/review/{reviews[0]}/statistics").text
    titles = re.findall(r"<h2>(.*?)</h2>", html)
    assert titles == [
        "Terms by domain and state",
        "How terms were decided",
        "Work by reviewer",
        "Decisions by hour",
        "Reliability",
        "Precision against coverage",
        "First suggestions by quarter of the decisions",
    ]
    assert re.findall(r'role="img" aria-label="(.*?)"', html) == titles
    assert html.count("<summary>The numbers</summary>") == len(titles)
    assert "half &lt;b&gt;done&lt;/b&gt; &amp; more" in html
    assert "<b>done" not in html
    assert "style=" not in html
    assert "Nothing has been decided yet" in client.get(f"/review/{reviews[1]}/statistics").text


def test_the_file_needs_nothing_else(client: TestClient, reviews: tuple[int, int]) -> None:
    answer = client.get(f"/review/{reviews[0]}/statistics/file")
    assert answer.headers["content-disposition"] == (
        'attachment; filename="half-b-done-b-more-statistics.html"'
    )
    assert not re.search(r"\b(src|href|action)=|url\(|@import|<script", answer.text)
    assert answer.text.count("<svg") == 7
