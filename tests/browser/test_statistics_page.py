"""The statistics page in a real browser, and the file that is saved from it, opened without any network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.large_reviews import decide_all, store_review

CHARTS = 7


@pytest.fixture
def review(server_database_url: str) -> Iterator[int]:
    """A project of which half is decided."""
    with psycopg.connect(server_database_url) as connection:
        made = store_review(connection, 400, name="laboratory")
        decide_all(connection, made, share=0.5)
    yield made
    with psycopg.connect(server_database_url) as connection:
        connection.execute("delete from omop_emb.review_project where project_id = %s", (made,))


def open_statistics(page: Page, review: int) -> None:
    page.goto(f"/review/{review}/statistics")
    expect(page.locator("h1")).to_have_text("Statistics of laboratory")


def test_each_chart_is_drawn_and_its_numbers_open_by_keys(page: Page, review: int) -> None:
    open_statistics(page, review)
    charts = page.locator("figure svg")
    expect(charts).to_have_count(CHARTS)
    for number in range(CHARTS):
        box = charts.nth(number).bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) > 80
    first = page.locator("figure details").first
    first.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(first.locator("table")).to_be_visible()
    # The charts' colours come from the sheet: the page's rules allow no other.
    assert page.evaluate("getComputedStyle(document.querySelector('svg .grid')).stroke") != "none"


def test_it_is_accessible_in_light_and_dark_and_on_a_phone(page: Page, review: int) -> None:
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        open_statistics(page, review)
        for summary in page.locator("summary").all():
            summary.click()
        found = Axe().run(page).response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_the_saved_file_shows_the_same_without_any_network(
    page: Page, browser: Browser, review: int, tmp_path: Path
) -> None:
    open_statistics(page, review)
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as a file").click()
    assert download.value.suggested_filename == "laboratory-statistics.html"
    saved = tmp_path / "saved.html"
    download.value.save_as(saved)
    context = browser.new_context(offline=True)
    opened, requests = context.new_page(), []
    messages: list[str] = []
    opened.on("request", lambda request: requests.append(request.url))
    opened.on("console", lambda message: messages.append(message.text))
    opened.goto(saved.as_uri())
    expect(opened.locator("figure svg")).to_have_count(CHARTS)
    assert opened.evaluate("getComputedStyle(document.querySelector('svg .grid')).stroke") != "none"
    assert requests == [saved.as_uri()]
    assert messages == []
    tables = "[...document.querySelectorAll('table')].map(table => table.textContent)"
    assert opened.evaluate(tables) == page.evaluate(tables)
    context.close()
