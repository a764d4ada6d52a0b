"""The pages for many terms at once: groups by keys, bulk approval as it was shown, training refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect

from omop_emb.mapping.ranking.calibration import PrecisionCurve
from omop_emb.mapping.ranking.linear import default_ranker
from omop_emb.mapping.ranking.ranker_store import store_ranker
from omop_emb.mapping.records import MappedTerm
from omop_emb.service.review.suggestion_store import current_terms
from tests.browser.conftest import HEIGHT, TOKEN, WIDTH
from tests.review_projects import make_project

SAVED_WITHIN = 30_000  # milliseconds, on a machine that does other things too
ASTHMA, ASTHMAS = 4, 5  # positions of tests/review_projects.py's terms


@pytest.fixture(scope="module")
def review_database_url(review_database_url: str) -> str:
    """With a ranker of the site, under which conditions hold .95 from .5 on."""
    shipped = default_ranker()
    assert shipped.calibration is not None
    curve = PrecisionCurve(probability=(0.5,), count=(400,), right=(400,))
    calibration = replace(shipped.calibration, curves={"Condition": curve})
    own = replace(shipped, is_site_trained=True, calibration=calibration)
    with psycopg.connect(review_database_url) as connection:
        store_ranker(connection, "default", own, figures={}, trained_on={})
    return review_database_url


@pytest.fixture
def project_id(database: psycopg.Connection[Any], mapped: list[MappedTerm]) -> int:
    return make_project(database, mapped, name=f"many {uuid4().hex[:8]}")


@pytest.fixture
def opened(browser: Browser, review_server: str) -> Iterator[Page]:
    """A page of the server, signed in; a message in the browser's console fails the test."""
    expect.set_options(timeout=SAVED_WITHIN)
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
    context.add_cookies([{"name": "omop_emb_reviewer", "value": "Ada", "url": review_server}])
    page = context.new_page()
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(f"{review_server}/?token={TOKEN}")
    yield page
    expect.set_options(timeout=5_000)
    context.close()
    assert [one for one in messages if "status of 404" not in one] == []


def states(database: psycopg.Connection[Any], project_id: int) -> dict[int, str]:
    return {one.position: one.verdict.state.value for one in current_terms(database, project_id)}


def test_a_group_is_approved_and_taken_back_by_keys_and_a_member_can_be_taken_out(
    opened: Page, review_server: str, database: psycopg.Connection[Any], project_id: int
) -> None:
    opened.goto(f"{review_server}/review/{project_id}/groups")
    boxes = opened.locator("#group input[type=checkbox]")
    expect(boxes).to_have_count(2)
    expect(opened.locator("#group")).to_contain_text("asthmas")
    opened.keyboard.press("Enter")
    expect(opened.locator("#said")).to_contain_text("2 terms approved as Asthma.")
    assert [states(database, project_id)[one] for one in (ASTHMA, ASTHMAS)] == ["approved"] * 2
    opened.keyboard.press("u")
    expect(opened.locator("#said")).to_contain_text("Taken back: 2 decisions.")
    assert [states(database, project_id)[one] for one in (ASTHMA, ASTHMAS)] == ["unreviewed"] * 2
    boxes.first.uncheck()
    opened.keyboard.press("0")
    expect(opened.locator("#said")).to_contain_text("1 term without match.")
    assert [states(database, project_id)[one] for one in (ASTHMA, ASTHMAS)] == ["unreviewed", "no match"]
    expect(opened.locator("#group")).to_contain_text("No group has two open terms.")


def test_nearly_the_same_terms_are_only_decided_where_somebody_ticks_them(
    opened: Page, review_server: str, database: psycopg.Connection[Any], project_id: int
) -> None:
    opened.goto(f"{review_server}/review/{project_id}/groups")
    expect(opened.locator("#group input[type=checkbox]")).to_have_count(2)
    opened.get_by_label("Show").select_option("the same first concept")
    expect(opened.locator("#group")).to_contain_text("none is ticked")
    opened.get_by_role("button", name="Approve what is ticked").click()
    expect(opened.locator("#said")).to_contain_text("Tick the terms that are meant.")
    assert set(states(database, project_id).values()) == {"unreviewed"}
    opened.locator("#group input[type=checkbox]").first.check()
    opened.keyboard.press("Enter")
    expect(opened.locator("#said")).to_contain_text("1 term approved")
    assert sorted(states(database, project_id).values()).count("approved") == 1


def test_a_bulk_approval_does_what_its_list_shows_and_is_taken_back_at_once(
    opened: Page, review_server: str, database: psycopg.Connection[Any], project_id: int
) -> None:
    opened.goto(f"{review_server}/review/{project_id}/bulk")
    opened.get_by_label("Text").fill("asthma")
    opened.get_by_role("button", name="Show").click()
    rows = opened.locator("#preview tbody tr")
    expect(rows).to_have_count(2)
    expect(opened.locator("#errors")).to_contain_text("and 0.1 if the bound just holds")
    opened.get_by_role("button", name="Approve all 2").click()
    expect(opened.locator("#preview")).to_contain_text("2 terms approved.")
    assert sorted(one for one, state in states(database, project_id).items() if state == "approved") == [
        ASTHMA,
        ASTHMAS,
    ]
    opened.get_by_role("button", name="Undo all of it").click()
    expect(opened.locator("#said")).to_contain_text("Taken back: 2 decisions.")
    assert set(states(database, project_id).values()) == {"unreviewed"}


def test_a_training_with_too_few_approvals_says_how_many_it_needs(
    opened: Page, review_server: str, project_id: int
) -> None:
    opened.goto(f"{review_server}/review/{project_id}/bulk")
    opened.get_by_role("button", name="Train on this site's approvals").click()
    expect(opened.locator("#training .refusal")).to_contain_text("approved", timeout=60_000)
    opened.goto(f"{review_server}/review/999999/groups")
    expect(opened.locator("body")).to_contain_text("there is no review 999999")
