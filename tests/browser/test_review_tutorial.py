"""The tutorial on reviews, step by step in a real browser: from its terms.csv to its two files."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Download, Page, expect

from tests.browser.review_steps import wait_until_saved
from tests.pictures import screenshot

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs/tutorial/review.md").read_text(encoding="utf-8")
TERMS, MAP = re.findall(r"^```csv\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL)
STEPS = re.findall(r"^\| (\w[^|`]*?) \| ([^|]*`[^|]*) \| [^|]*\|$", TUTORIAL, re.MULTILINE)
MAPPED_WITHIN = 120_000  # milliseconds


@pytest.fixture
def database(server_database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server_database_url, autocommit=True) as connection:
        yield connection
        connection.execute("delete from omop_emb.review_project")


def do(page: Page, step: str) -> None:
    """What a cell of the tutorial's table says: keys and texts in backticks, buttons in bold."""
    for typed, button in re.findall(r"`([^`]+)`|\*\*([^*]+)\*\*", step):
        if button:
            page.get_by_role("button", name=button).click()
        elif len(typed) == 1 or typed == "Enter":
            searches = typed == "Enter" and page.locator("#side-box:focus").count() > 0
            page.keyboard.press(typed)
            if searches:
                expect(page.locator("#side-list .item").first).to_be_focused()
        else:
            expect(page.locator("#side-box")).to_be_focused()
            page.keyboard.type(typed)


def shows(page: Page, name: str) -> None:
    expect(page.locator("#term-name")).to_have_text(name)
    expect(page.locator("#term:not([aria-busy])")).to_be_visible()


def text_of(download: Download) -> str:
    return Path(download.path()).read_text(encoding="utf-8-sig")


def test_a_new_user_gets_from_terms_to_both_files_in_the_browser_alone(
    page: Page, database: psycopg.Connection, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    page.set_viewport_size({"width": 1100, "height": 720})
    # 2. Upload it
    terms = tmp_path / "terms.csv"
    terms.write_text(TERMS, encoding="utf-8")
    page.get_by_role("link", name="Reviews").click()
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Review under this name").click()
    page.locator("#file").set_input_files(terms)
    page.get_by_label("Column ward is").select_option(label="context")
    expect(page.get_by_label("Column name is")).to_have_value("name_column")
    expect(page.locator("#begin")).to_be_enabled()
    page.locator("#new").scroll_into_view_if_needed()
    screenshot(page, pytestconfig, "review-upload")
    page.get_by_role("button", name="Begin the review").click()
    expect(page.locator("#candidates .candidate").first).to_be_visible(timeout=MAPPED_WITHIN)

    # 3. Decide by keys
    page.wait_for_url(re.compile(r"/review/\d+"))
    review = int(re.search(r"/review/(\d+)", page.url)[1])  # type: ignore[index] # as just waited for
    wait_until_mapped(page, review)
    page.reload()
    page.locator("#filters [name=order]").select_option(label="as in the file")
    page.locator("#queue [role=option]").filter(has_text="HTN").click()
    shows(page, "HTN")
    screenshot(page, pytestconfig, "review-card")
    assert [name for name, _ in STEPS] == [
        "HTN",
        "heart attack",
        "Asthma",
        "metformin 500 mg tab",
        "sugar in urine",
        "T2DM",
        "canteen voucher",
    ]
    for name, step in STEPS:
        shows(page, name)
        if "Approve all" in step:
            page.keyboard.press("g")
            expect(page.locator("#side .group input")).to_have_count(2)
            screenshot(page, pytestconfig, "review-group")
            step = step.partition(",")[2]
        do(page, step)
        wait_until_saved(page)
    page.keyboard.press("u")
    page.keyboard.press("u")
    shows(page, "T2DM")
    page.keyboard.press("Enter")
    shows(page, "canteen voucher")
    page.keyboard.press("0")
    wait_until_saved(page)

    # 4. See what has come of it
    page.get_by_role("link", name="Statistics").click()
    expect(page.locator("figure").first).to_be_visible()
    screenshot(page, pytestconfig, "review-statistics")

    # 5. Export
    page.get_by_role("link", name="Export").click()
    with page.expect_download() as usagi:
        page.get_by_role("button", name="Download .usagi.csv").click()
    section = page.locator("section.export").filter(has_text="source_to_concept_map, CSV")
    section.get_by_label("Your own name for the codes").fill("LOCAL")
    section.get_by_role("button", name="Show what is left out").click()
    section = page.locator("section.export").filter(has_text="source_to_concept_map, CSV")
    expect(section.get_by_role("status")).to_contain_text("8 rows would be written")
    section.scroll_into_view_if_needed()
    screenshot(page, pytestconfig, "review-export")
    with page.expect_download() as mapped:
        section.get_by_role("button", name="Download .csv").click()
    check_usagi(text_of(usagi.value))
    check_map(text_of(mapped.value))


def wait_until_mapped(page: Page, review: int) -> None:
    question = f"async () => (await (await fetch('/api/v1/reviews/{review}')).json()).is_ready"
    for _ in range(MAPPED_WITHIN // 500):
        if page.evaluate(question):
            return
        page.wait_for_timeout(500)
    raise AssertionError("the terms are not mapped")


def check_usagi(text: str) -> None:
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["sourceCode"], row["mappingStatus"], row["conceptId"]) for row in rows] == [
        ("L1", "APPROVED", "316866"),
        ("L2", "APPROVED", "4329847"),
        ("L3", "APPROVED", "317009"),
        ("L4", "APPROVED", "317009"),
        ("L5", "APPROVED", "1503297"),
        ("L6", "APPROVED", "4149386"),
        ("L7", "APPROVED", "201826"),
        ("L8", "APPROVED", "0"),
    ]
    assert {row["statusSetBy"] for row in rows} == {"Ada"}


def check_map(text: str) -> None:
    header, first = text.splitlines()[:2]
    shown_header, shown_first = (line.partition(",...")[0] for line in MAP.splitlines())
    assert header.startswith(shown_header)
    assert first.startswith(shown_first)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["source_code"] for row in rows] == [f"L{number}" for number in range(1, 9)]
    assert rows[-1]["target_concept_id"] == "0"
