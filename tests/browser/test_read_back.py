"""The export page in a real browser: a review is downloaded as Excel, filled, and read back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openpyxl
import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.postgres.service.review.review_samples import ASTHMA, decided, make_review, verdict


@pytest.fixture
def review(server_database_url: str) -> Iterator[int]:
    """A review of three terms that nobody has decided."""
    with psycopg.connect(server_database_url, autocommit=True) as connection:
        made = make_review(connection, b"code,name\n1,asthma\n2,fever\n3,nothing\n", name="to fill")
        yield made
        connection.execute("delete from omop_emb.review_project where project_id = %s", (made,))


def test_a_downloaded_workbook_is_filled_and_read_back(
    page: Page, review: int, server_database_url: str, tmp_path: Path
) -> None:
    page.goto(f"/review/{review}/export")
    with page.expect_download() as download:
        page.locator("#xlsx").get_by_role("button", name="Download .xlsx").click()
    path = tmp_path / "filled.xlsx"
    download.value.save_as(path)
    book = openpyxl.load_workbook(path)
    sheet = book.worksheets[0]
    columns = {cell.value: cell.column for cell in sheet[1]}
    sheet.cell(2, columns["decision"], "approve")
    sheet.cell(2, columns["concept_ids"], ASTHMA)
    sheet.cell(3, columns["decision"], "ignore")
    sheet.cell(4, columns["decision"], "who knows")
    book.save(path)
    with psycopg.connect(server_database_url, autocommit=True) as connection:
        decided(connection, review, 2, verdict("no match"), reviewer="Cleo")
    page.locator("#read-back input[type=file]").set_input_files(path)
    page.get_by_role("button", name="Read back").click()
    report = page.locator("#read-back-report")
    expect(report.locator("p").first).to_have_text(
        "1 row decided, 0 unchanged, 1 conflict, 1 row could not be used."
    )
    expect(report.get_by_role("row", name="3 fever")).to_contain_text("ignored")
    expect(report.get_by_role("row", name="3 fever")).to_contain_text("Cleo")
    expect(report.get_by_role("row", name="4 'decision'")).to_contain_text("neither approve, no match")
    found = Axe().run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
