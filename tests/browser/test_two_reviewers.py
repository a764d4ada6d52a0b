"""Two people review the same terms at once, each in a browser: both verdicts are shown, and none is lost."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from omop_emb.service.review.decision_store import decisions_since
from tests.browser.conftest import TOKEN
from tests.browser.review_steps import (
    Acknowledged,
    open_review,
    press,
    reviewer_context,
    sees_no_changes,
    wait_until_saved,
)
from tests.large_reviews import store_review

TERMS = 24


@pytest.fixture
def review(server_database_url: str) -> Iterator[int]:
    with psycopg.connect(server_database_url) as connection:
        made = store_review(connection, TERMS, name="two reviewers")
    yield made
    with psycopg.connect(server_database_url) as connection:
        connection.execute("delete from omop_emb.review_project where project_id = %s", (made,))


@pytest.fixture
def people(browser: Browser, server_url: str) -> Iterator[dict[str, BrowserContext]]:
    contexts = {name: reviewer_context(browser, server_url, TOKEN, name) for name in ("Ada", "Bob")}
    yield contexts
    for context in contexts.values():
        context.close()


def decisions(database_url: str, review: int) -> list[Any]:
    with psycopg.connect(database_url) as connection:
        return decisions_since(connection, review, 0)


def test_two_people_who_decide_all_terms_at_once_lose_nothing(
    people: dict[str, BrowserContext], review: int, server_database_url: str
) -> None:
    pages: dict[str, Page] = {}
    answers = {name: Acknowledged() for name in people}
    for name, context in people.items():
        context.on("response", answers[name].add)
        # The same order, so that both decide the same terms.
        pages[name] = open_review(context, review)
    keys = {"Ada": "Enter", "Bob": "0"}
    for _ in range(TERMS):
        for name, page in pages.items():
            press(page, keys[name])
    for page in pages.values():
        wait_until_saved(page)
        page.wait_for_timeout(200)
    stored = decisions(server_database_url, review)
    by_request = {str(one.request_id): one for one in stored}
    versions: dict[int, list[int]] = defaultdict(list)
    for one in stored:
        versions[one.position].append(one.version)
    assert len(versions) == TERMS
    assert all(sorted(own) == [*range(1, len(own) + 1)] for own in versions.values())
    for name, answer in answers.items():
        for one in answer.stored:
            assert by_request[one["request_id"]].reviewer == name
        # What was not stored is not there, and its owner sees how often that was.
        assert not any(one["request_id"] in by_request for one in answer.conflicts)
        if answer.conflicts:
            expect(pages[name].locator("#conflict-count")).to_contain_text(str(len(answer.conflicts)))
    assert Counter(one.reviewer for one in stored) == {
        name: len(answer.stored) for name, answer in answers.items() if answer.stored
    }
    assert any(answer.conflicts for answer in answers.values()) or len(stored) > TERMS


def test_both_verdicts_are_shown_and_either_can_stay(
    people: dict[str, BrowserContext], review: int, server_database_url: str
) -> None:
    ada, bob = (open_review(context, review) for context in people.values())
    sees_no_changes(bob)
    press(ada, "Enter")
    wait_until_saved(ada)
    press(bob, "0")
    expect(bob.locator("#conflict-count")).to_contain_text("1")
    bob.keyboard.press("x")
    dialog = bob.locator("#conflict-dialog")
    expect(dialog).to_contain_text("Ada")
    expect(dialog).to_contain_text("no match")
    bob.keyboard.press("m")
    wait_until_saved(bob)
    found = [
        (one.version, one.reviewer, one.verdict.state.value) for one in decisions(server_database_url, review)
    ]
    assert found == [(1, "Ada", "approved"), (2, "Bob", "no match")]


def test_what_one_decides_appears_at_the_other(people: dict[str, BrowserContext], review: int) -> None:
    ada, bob = (open_review(context, review, "order=file&state=all") for context in people.values())
    press(bob, "j")
    press(ada, "0")
    wait_until_saved(ada)
    expect(bob.locator("#queue [role=option]").first).to_contain_text("no match", timeout=20_000)
