"""Two people in two browsers: one decides, one votes blind, one settles; conflicts are called right."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Response, expect

from omop_emb.mapping.records import SourceTerm
from omop_emb.service.review.decision_records import NewDecision, ReviewState, Target, Verdict
from omop_emb.service.review.decision_store import decide, history
from tests.browser.conftest import TOKEN
from tests.postgres.service.review.test_second_votes import mapped
from tests.review_projects import make_project

HYPERTENSION, ASTHMA = 316866, 317009
NAMES = ("pain of left knee", "pain of right knee", "asthma", "hypertension", "<b>fever</b>")


@pytest.fixture
def review(server_database_url: str) -> Iterator[int]:
    """Five terms, decided by Ada; the first two share a target although their sides differ."""
    with psycopg.connect(server_database_url) as connection:
        terms = [
            SourceTerm(name=name, code=f"K{number}", line=number + 1) for number, name in enumerate(NAMES)
        ]
        made = make_project(
            connection, [mapped(term, number) for number, term in enumerate(terms, start=1)], name="knees"
        )
        targets = [HYPERTENSION, HYPERTENSION, ASTHMA, HYPERTENSION, ASTHMA]
        decide(
            connection,
            made,
            "Ada Lovelace",
            [
                NewDecision(
                    position=position,
                    version=0,
                    verdict=Verdict(state=ReviewState.APPROVED, targets=(Target(target),)),
                )
                for position, target in enumerate(targets, start=1)
            ],
        )
    yield made
    with psycopg.connect(server_database_url) as connection:
        connection.execute("delete from omop_emb.review_project where project_id = %s", (made,))


@pytest.fixture
def bob(browser: Browser, server_url: str) -> Iterator[Page]:
    """A second browser, whose user is Bob."""
    context = browser.new_context(base_url=server_url)
    context.add_cookies([{"name": "omop_emb_reviewer", "value": "Bob", "url": server_url}])
    opened = context.new_page()
    messages: list[str] = []
    opened.on("pageerror", lambda error: messages.append(str(error)))
    opened.goto(f"/?token={TOKEN}")
    yield opened
    context.close()
    assert messages == []


@pytest.fixture
def ada(page: Page, server_url: str) -> Page:
    page.context.add_cookies([{"name": "omop_emb_reviewer", "value": "Ada%20Lovelace", "url": server_url}])
    return page


def serious(page: Page) -> list[str]:
    violations = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:80]}"
        for one in violations
        if one["impact"] in ("serious", "critical")
    ]


def test_a_conflict_shows_its_terms_side_by_side_and_can_be_called_right(ada: Page, review: int) -> None:
    ada.goto(f"/review/{review}/conflicts")
    conflict = ada.locator(".conflict")
    expect(conflict).to_have_count(1)
    expect(conflict).to_contain_text("laterality: the terms say left and right")
    expect(conflict.locator("tbody tr")).to_have_count(2)
    expect(conflict.locator("tbody a").first).to_have_attribute(
        "href", f"/review/{review}?state=all&position=1"
    )
    assert serious(ada) == []
    conflict.get_by_label("Why it is right").fill("no side is recorded")
    conflict.get_by_role("button", name="This is right").click()
    expect(ada.locator("#list .empty")).to_have_text("There is no conflict.")
    ada.get_by_label("those called right").check()
    expect(ada.locator(".conflict")).to_contain_text("Called right by Ada Lovelace")
    expect(ada.locator(".conflict")).to_contain_text("no side is recorded")
    ada.get_by_role("button", name="Not right after all").click()
    expect(ada.locator("#list .empty")).to_have_text("Nothing was called right.")


def test_a_second_person_votes_blind_by_keys_and_a_third_decides(
    ada: Page, bob: Page, review: int, server_database_url: str
) -> None:
    ada.goto(f"/review/{review}/second")
    ada.get_by_label("Who is asked").fill("Bob")
    ada.get_by_label("What for").select_option("audit")
    ada.get_by_role("button", name="Draw").click()
    expect(ada.locator("#said")).to_contain_text("5 terms of 5 were drawn")
    assert serious(ada) == []

    seen: list[str] = []

    def remember(response: Response) -> None:
        if f"/review/{review}/second/" in response.url or "/samples/" in response.url:
            seen.append(response.text())

    bob.on("response", remember)
    bob.goto(f"/review/{review}/second")
    bob.get_by_role("link", name="vote", exact=True).click()
    expect(bob.locator("#vote-card h2")).to_have_text(NAMES[0])
    expect(bob.locator(".blind")).to_have_count(9)
    expect(bob.locator("#vote-progress")).to_have_text("5 terms to go.")
    assert serious(bob) == []

    bob.keyboard.press("0")
    expect(bob.locator("#vote-card h2")).to_have_text(NAMES[1])  # it was there before it was asked for
    bob.keyboard.press("f")
    expect(bob.locator("#vote-card h2")).to_have_text(NAMES[2])
    bob.keyboard.press("u")
    expect(bob.locator("#vote-card h2")).to_have_text(NAMES[1])
    expect(bob.locator("#vote-card .note")).to_contain_text("You voted before: flagged")
    bob.keyboard.press("1")
    expect(bob.locator("#vote-card h2")).to_have_text(NAMES[2])
    bob.keyboard.press("/")
    bob.keyboard.type("asthma")
    bob.keyboard.press("Enter")
    expect(bob.locator(".blind .name").first).to_have_text("Asthma")
    bob.keyboard.press("1")
    expect(bob.locator("#vote-card h2")).to_have_text(NAMES[3])
    bob.keyboard.press("+")
    bob.keyboard.press("1")
    bob.keyboard.press("2")
    expect(bob.locator(".blind.chosen")).to_have_count(2)
    bob.keyboard.press("Enter")
    expect(bob.locator("#vote-card h2")).to_have_text(NAMES[4])
    expect(bob.locator("#vote-card b")).to_have_count(0)
    assert "Ada" not in "".join(seen)
    assert "probability" not in "".join(seen)
    # Both sides stay hidden while a vote is open.
    bob.goto(f"/review/{review}/second")
    bob.get_by_role("link", name="differences").click()
    expect(bob.locator("#said")).to_contain_text("1 second votes to give")
    bob.go_back()
    bob.get_by_role("link", name="vote", exact=True).click()
    expect(bob.locator("#vote-card h2")).to_have_text(NAMES[4])
    bob.keyboard.press("i")
    expect(bob.locator("#vote-card .empty")).to_contain_text("no term here for you")

    ada.reload()
    ada.get_by_role("link", name="differences").click()
    differences = ada.locator(".difference")
    expect(differences).to_have_count(4)
    expect(ada.locator("#list")).not_to_contain_text("Bob")
    assert serious(ada) == []
    first = differences.first.locator(".side", has_text="Hypertensive disorder")
    first.get_by_role("button", name="This one is right").click()
    expect(ada.locator("#said")).to_contain_text("3 differences open, 1 settled")
    expect(ada.locator(".difference").first).to_contain_text("Settled by Ada Lovelace")
    expect(ada.locator(".difference").first).to_contain_text("Bob, second vote")
    with psycopg.connect(server_database_url) as connection:
        assert [one.action.value for one in history(connection, review, 1)] == ["decide", "adjudicate"]
    ada.get_by_role("link", name="Result").click()
    expect(ada.locator("#result")).to_contain_text("2 of them are right (100.0 %)")
    expect(ada.locator("#result")).to_contain_text("provisional")
    expect(ada.locator(".two-table").last).to_contain_text("all")
    assert serious(ada) == []
    ada.set_viewport_size({"width": 400, "height": 800})
    assert ada.evaluate("document.documentElement.scrollWidth") <= 400


def test_who_decided_has_nothing_to_vote_on(ada: Page, review: int) -> None:
    ada.goto(f"/review/{review}/second")
    ada.get_by_role("button", name="Draw").click()
    ada.get_by_role("link", name="vote", exact=True).click()
    expect(ada.locator("#vote-card .empty")).to_contain_text("no term here for you")


def test_terms_are_divided_and_an_audit_is_sized(ada: Page, review: int) -> None:
    ada.goto(f"/review/{review}/second")
    ada.get_by_role("button", name="How many rows?").click()
    expect(ada.locator("#suggested")).to_have_text("5 rows of 5 approved ones")
    ada.get_by_label("People, with").fill("Bob, Eve")
    ada.get_by_role("button", name="Divide").click()
    expect(ada.locator("#said")).to_have_text("Assigned: Bob: 0, Eve: 0.")
    ada.get_by_role("button", name="Make them anybody").click()
    expect(ada.locator("#said")).to_have_text("Assigned: anybody: 0.")


def test_the_cockpit_opens_the_term_of_a_conflict_and_warns_before_it_is_approved(
    ada: Page, review: int
) -> None:
    ada.goto(f"/review/{review}/conflicts")
    ada.get_by_role("link", name=NAMES[1]).click()
    expect(ada.locator("#term-name")).to_have_text(NAMES[1])
    warnings = ada.locator("#warnings .notice")
    expect(warnings).to_contain_text("laterality: the terms say left and right")
    expect(warnings).to_contain_text(NAMES[0])
    assert serious(ada) == []
    warnings.get_by_role("link", name="laterality").click()
    expect(ada.get_by_label("Show")).to_have_value("contrast")
    expect(ada.locator(".conflict")).to_have_count(1)
