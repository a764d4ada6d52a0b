"""Whose name a browser's decisions bear: asked once, shown, changed."""

from __future__ import annotations

import io
from uuid import uuid4

import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from omop_emb.mapping.records import SourceTerm
from omop_emb.service.review.project_records import ReviewTerm
from omop_emb.service.review.project_store import create_project, mark_ready, store_terms


@pytest.fixture
def project_id(server_database_url: str) -> int:
    """A review of a term that was not mapped."""
    with psycopg.connect(server_database_url) as connection:
        made = create_project(
            connection,
            name=f"names {uuid4().hex[:8]}",
            site="default",
            file_name="terms.csv",
            file_digest="0" * 64,
            settings={},
            created_by="Ada",
            content=io.BytesIO(b"name\nHTN\n"),
        )
        term = ReviewTerm(position=1, term=SourceTerm(name="HTN"), text_key="htn", group_key="htn")
        store_terms(connection, made, [term])
        mark_ready(connection, made)
        return made


def test_a_name_is_asked_for_once_and_can_be_changed(page: Page, project_id: int) -> None:
    page.goto(f"/review/{project_id}?order=file")
    expect(page.get_by_role("heading", name="Who reviews?")).to_be_visible()
    found = Axe().run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
    page.get_by_label("Your name").fill("Zoë Åkesson")
    page.keyboard.press("Enter")
    expect(page).to_have_url(page.url.split("/review")[0] + f"/review/{project_id}?order=file")
    expect(page.get_by_text("Reviewing as Zoë Åkesson")).to_be_visible()
    assert page.evaluate("fetch('/api/v1/reviewer').then((answer) => answer.json())")["name"] == "Zoë Åkesson"
    page.get_by_role("button", name="Change").click()
    expect(page).to_have_url(page.url.split("/review")[0] + "/review")
    page.goto(f"/review/{project_id}")
    expect(page.get_by_role("heading", name="Who reviews?")).to_be_visible()
