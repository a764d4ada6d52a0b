"""The list of reviews in a real browser: a file is chosen, its columns are put right, and it begins."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

TERMS = "ID;Befund;Anzahl;Station\nA1;Hypertension;12;Ost\nA2;Asthma;3;West\nA3;;1;Ost\n"


@pytest.fixture
def reviews(page: Page, server_url: str) -> Page:
    page.goto(f"{server_url}/review")
    return page


def choose(page: Page, folder: Path, name: str, content: str | bytes) -> None:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    page.get_by_label("File: CSV, TSV, Excel, Parquet or Usagi's CSV").set_input_files(path)


def test_a_file_is_shown_put_right_begun_exported_and_deleted(
    reviews: Page, server_url: str, tmp_path: Path
) -> None:
    page = reviews
    expect(page.get_by_text("There is no review yet")).to_be_visible()
    choose(page, tmp_path, "befunde.csv", TERMS)
    expect(page.locator("#wrong")).to_have_text("Choose the column that has the terms.")
    expect(page.get_by_role("button", name="Begin the review")).to_be_disabled()
    page.get_by_label("Column Befund is").select_option("term")
    expect(page.locator("#understood")).to_contain_text("befunde.csv: CSV or TSV")
    expect(page.locator("#wrong")).to_have_text("")
    expect(page.get_by_label("Column ID is")).to_have_value("code_column")
    page.get_by_label("Column Anzahl is").select_option("frequency")
    page.get_by_label("Column Station is").select_option("context")
    expect(page.locator("#rows tbody tr")).to_have_count(3)
    expect(page.get_by_role("button", name="Begin the review")).to_be_enabled()
    page.get_by_label("Name of the review").fill("Befunde 2024")
    page.get_by_role("button", name="Begin the review").click()
    page.wait_for_url(re.compile(r"/review/\d+$"))

    page.goto(f"{server_url}/review")
    row = page.get_by_role("row", name=re.compile("Befunde 2024"))
    expect(row.locator(".importing")).to_have_text("", timeout=60_000)
    expect(row.locator(".terms")).to_have_text("2")
    page.reload()
    page.get_by_text("1 row or value not used").click()
    expect(page.get_by_text("line 4: no term in 'Befund'")).to_be_visible()

    row.get_by_role("link", name="Export").click()
    expect(page.get_by_role("heading", name="Export of Befunde 2024")).to_be_visible()
    section = page.locator("#usagi")
    section.get_by_role("button", name="Show what is left out").click()
    expect(page.locator("#usagi").get_by_text("would be written")).to_be_visible()
    with page.expect_download() as started:
        page.locator("#usagi").get_by_role("button", name=re.compile("Download")).click()
    assert started.value.suggested_filename == "Befunde 2024.usagi.csv"
    assert "Hypertension" in Path(started.value.path()).read_text(encoding="utf-8")

    page.goto(f"{server_url}/review")
    page.get_by_role("button", name="Delete Befunde 2024").click()
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("link", name="Befunde 2024")).to_be_visible()
    page.get_by_role("button", name="Delete Befunde 2024").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("There is no review yet")).to_be_visible()


def test_a_file_that_is_chosen_while_the_page_loads_is_shown(
    page: Page, server_url: str, tmp_path: Path
) -> None:
    held: list[Route] = []
    page.route("**/static/reviews.js", lambda route: held.append(route))
    page.goto(f"{server_url}/review", wait_until="commit")
    choose(page, tmp_path, "terms.csv", "name\nAsthma\n")
    assert len(held) == 1
    held[0].continue_()
    expect(page.locator("#understood")).to_contain_text("terms.csv: CSV or TSV")


def test_what_cannot_be_read_says_why_and_another_file_can_be_chosen(reviews: Page, tmp_path: Path) -> None:
    choose(reviews, tmp_path, "scan.csv", b"%PDF-1.7 scanned")
    expect(reviews.locator("#wrong")).to_have_text("scan.csv is a PDF: export its table as CSV or .xlsx")
    expect(reviews.get_by_role("button", name="Begin the review")).to_be_disabled()
    choose(reviews, tmp_path, "terms.csv", "code,name\nA1,asthma\n")
    expect(reviews.locator("#wrong")).to_have_text("")
    expect(reviews.locator("#understood")).to_contain_text("terms.csv: CSV or TSV")
    expect(reviews.get_by_label("Column code is")).to_have_value("code_column")
    expect(reviews.get_by_role("button", name="Begin the review")).to_be_enabled()


def test_a_large_text_is_shown_from_its_beginning_alone(reviews: Page, tmp_path: Path) -> None:
    choose(reviews, tmp_path, "large.csv", "code,name\n" + "A1,asthma of some kind\n" * 400_000)
    expect(reviews.locator("#understood")).to_contain_text("large.csv: CSV or TSV")
    expect(reviews.locator("#rows tbody tr")).to_have_count(8)


def test_it_is_readable_on_a_phone_and_by_a_screen_reader(reviews: Page, tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    reviews.set_viewport_size({"width": 320, "height": 700})
    choose(reviews, tmp_path, "terms.csv", "code,name,ward\nA1,asthma,east\n")
    expect(reviews.locator("#rows tbody tr")).to_have_count(1)
    for scheme in ("light", "dark"):
        reviews.emulate_media(color_scheme=scheme)
        found = axe.run(reviews).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert [(one["id"], one["nodes"][0]["html"]) for one in serious] == []
    wide = reviews.evaluate(
        "[...document.querySelectorAll('main *')].filter((one) => !one.closest('.scroll') && "
        "one.getBoundingClientRect().right > 320).map((one) => one.outerHTML.slice(0, 80))"
    )
    assert wide == []
    assert reviews.evaluate("document.documentElement.scrollWidth") <= 320
