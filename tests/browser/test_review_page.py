"""The page of a review in a real browser: every key, conflicts, lost connections, reloads, phone and dark."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from omop_emb.mapping.records import MappedTerm
from omop_emb.service.review.decision_records import StoredDecision
from omop_emb.service.review.decision_store import history
from omop_emb.service.review.suggestion_store import store_suggestions
from tests.browser.conftest import HEIGHT, TOKEN, WIDTH
from tests.browser.review_steps import sees_no_changes
from tests.review_projects import make_project

# Positions of tests/review_projects.py's terms
HTN, INFARCTION, METFORMIN, ASTHMA, ASTHMAS = 1, 2, 3, 4, 5
FAILED_ON_PURPOSE = re.compile(r"ERR_INTERNET_DISCONNECTED|ERR_FAILED|status of 422")
SAVED_WITHIN = 15_000  # milliseconds

Decided = Callable[[int], list[StoredDecision]]


@pytest.fixture
def project_id(database: psycopg.Connection[Any], mapped: list[MappedTerm]) -> int:
    return make_project(database, mapped, name=f"review {uuid4().hex[:8]}")


@pytest.fixture
def decided(database: psycopg.Connection[Any], project_id: int) -> Decided:
    """The decisions on a term, the first first."""
    return lambda position: history(database, project_id, position)


def context_of(browser: Browser, review_server: str, reviewer: str = "Ada", **options: Any) -> BrowserContext:
    context = browser.new_context(**{"viewport": {"width": WIDTH, "height": HEIGHT}, **options})
    context.add_cookies([{"name": "omop_emb_reviewer", "value": reviewer, "url": review_server}])
    return context


def open_review(
    context: BrowserContext, review_server: str, project_id: int, query: str = "order=file"
) -> Page:
    page = context.new_page()
    page.goto(f"{review_server}/review/{project_id}?token={TOKEN}&{query}")
    expect(page.locator("#candidates .candidate").first).to_be_visible()
    return page


@pytest.fixture
def page(browser: Browser, review_server: str, project_id: int) -> Iterator[Page]:
    """The page of a review in the order of the file; what the browser's console says fails the test."""
    context = context_of(browser, review_server)
    messages: list[str] = []
    context.on("console", lambda message: messages.append(message.text))
    context.on("weberror", lambda error: messages.append(str(error.error)))
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    yield open_review(context, review_server, project_id)
    context.close()
    assert [text for text in messages if not FAILED_ON_PURPOSE.search(text)] == []
    assert {urlsplit(address).netloc for address in asked} == {urlsplit(review_server).netloc}


def shows(page: Page, name: str) -> None:
    expect(page.locator("#term-name")).to_have_text(name)


def saved(page: Page) -> None:
    expect(page.locator("#unsaved")).to_be_hidden(timeout=SAVED_WITHIN)


def press(page: Page, *keys: str) -> None:
    """Press keys as a person does, who sees a term before deciding it."""
    for key in keys:
        page.keyboard.press(key)
        expect(page.locator("#term:not([aria-busy])")).to_be_visible()


def verdict(decision: StoredDecision) -> tuple[str, list[int], str]:
    said = decision.verdict
    return said.state.value, [target.concept_id for target in said.targets], said.equivalence.value


def serious(page: Page) -> list[str]:
    violations = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:80]}"
        for one in violations
        if one["impact"] in ("serious", "critical")
    ]


def test_one_key_a_term_decides_it_and_shows_the_next(
    page: Page, decided: Decided, mapped: list[MappedTerm]
) -> None:
    first = [one.candidates[0].concept_id for one in mapped]
    shows(page, "HTN")
    press(page, "Enter")
    shows(page, "myocardial infarction")
    press(page, "a")
    shows(page, "metformin 500 mg")
    press(page, "2")
    shows(page, "Asthma")
    press(page, "0")
    shows(page, "asthmas")
    press(page, "f")
    shows(page, "glucose in urine")
    press(page, "i")
    shows(page, "t2dm")
    expect(page.locator("#progress-text")).to_contain_text("5 of 10 decided · 1 flagged")
    expect(page.locator("#progress-text")).to_contain_text("an hour")
    saved(page)
    assert [verdict(decided(position)[-1]) for position in range(1, 7)] == [
        ("approved", [first[0]], "EQUIVALENT"),
        ("approved", [first[1]], "EQUAL"),
        ("approved", [mapped[2].candidates[1].concept_id], "EQUIVALENT"),
        ("no match", [], "UNMATCHED"),
        ("flagged", [], "UNREVIEWED"),
        ("ignored", [], "UNREVIEWED"),
    ]
    assert [(decided(position)[0].rank, decided(position)[0].revision) for position in (1, 3)] == [
        (1, 1),
        (2, 1),
    ]
    assert decided(1)[0].reviewer == "Ada"


def test_keys_move_and_change_nothing(page: Page, decided: Decided) -> None:
    press(page, "j", "j")
    shows(page, "metformin 500 mg")
    press(page, "k")
    shows(page, "myocardial infarction")
    press(page, "ArrowDown", "ArrowUp", "k", "k", "k")
    shows(page, "HTN")
    expect(page.locator("#queue [aria-selected=true] .what")).to_have_text("HTN")
    expect(page.locator("#queue")).to_have_attribute("aria-activedescendant", "row-1")
    assert decided(HTN) == []


def test_undo_takes_back_one_decision_after_another(page: Page, decided: Decided) -> None:
    press(page, "Enter", "0")
    shows(page, "metformin 500 mg")
    press(page, "u")
    shows(page, "myocardial infarction")
    press(page, "u")
    shows(page, "HTN")
    expect(page.locator("#progress-text")).to_contain_text("0 of 10 decided")
    saved(page)
    assert [one.verdict.state.value for one in decided(HTN)] == ["approved", "unreviewed"]
    assert [one.verdict.state.value for one in decided(INFARCTION)] == ["no match", "unreviewed"]
    press(page, "Enter")
    saved(page)
    assert decided(HTN)[-1].version == 3


def test_undo_after_a_reload_finds_the_last_decision(page: Page, decided: Decided) -> None:
    press(page, "Enter")
    saved(page)
    page.goto(page.url + "&state=all")
    expect(page.locator("#candidates .candidate").first).to_be_visible()
    press(page, "u")
    shows(page, "HTN")
    saved(page)
    assert decided(HTN)[-1].verdict.state.value == "unreviewed"
    press(page, "u")
    expect(page.locator("#said")).to_have_text("There is nothing to take back.")


def test_meaning_type_and_further_targets(page: Page, decided: Decided, mapped: list[MappedTerm]) -> None:
    press(page, "e")
    expect(page.locator("#menu-list")).to_contain_text("the concept says more than the term")
    press(page, "3")
    expect(page.locator("#equivalence")).to_contain_text("the concept says more than the term")
    press(page, "+", "2", "t")
    expect(page.locator("#menu-list")).to_contain_text("maps to unit")
    press(page, "3")
    expect(page.locator("#targets select").last).to_have_value("MAPS_TO_UNIT")
    press(page, "3")
    expect(page.locator("#targets li")).to_have_count(3)
    page.get_by_role("button", name=re.compile("^Remove")).last.click()
    expect(page.locator("#targets li")).to_have_count(2)
    press(page, "Enter")
    shows(page, "myocardial infarction")
    saved(page)
    (stored,) = decided(HTN)
    ids = [one.concept_id for one in mapped[0].candidates[:2]]
    assert verdict(stored) == ("approved", ids, "WIDER")
    assert [target.mapping_type for target in stored.verdict.targets] == ["MAPS_TO", "MAPS_TO_UNIT"]
    assert stored.rank == 1


def test_escape_stops_adding_targets(page: Page) -> None:
    press(page, "+", "2")
    expect(page.locator("#targets li")).to_have_count(2)
    press(page, "Escape")
    expect(page.locator("#targets")).to_have_count(0)


def test_a_flag_keeps_the_targets_and_the_comparison(page: Page, decided: Decided) -> None:
    press(page, "Enter", "k", "f")
    saved(page)
    approved, flagged = decided(HTN)
    assert verdict(flagged) == ("flagged", *verdict(approved)[1:])


def test_a_comment_is_stored_at_once_and_stays_with_the_next_decision(page: Page, decided: Decided) -> None:
    press(page, "c")
    expect(page.locator("#comment")).to_be_focused()
    page.keyboard.type("ask j. about it")
    press(page, "Enter")
    expect(page.locator("#term .comment")).to_contain_text("ask j. about it")
    shows(page, "HTN")
    press(page, "Enter")
    saved(page)
    assert [(one.verdict.state.value, one.verdict.comment) for one in decided(HTN)] == [
        ("unreviewed", "ask j. about it"),
        ("approved", "ask j. about it"),
    ]


def test_a_concept_that_was_searched_for_is_approved(page: Page, decided: Decided) -> None:
    press(page, "/")
    expect(page.locator("#side-box")).to_be_focused()
    expect(page.locator("#side-box")).to_have_value("HTN")
    page.keyboard.type("asthma")
    press(page, "Enter")
    first = page.locator("#side-list .item").first
    expect(first).to_be_focused()
    expect(first).to_contain_text("Asthma")
    page.locator("#side-search [name=domain]").select_option("Condition")
    first.focus()
    expect(page.locator("#side-list:not([aria-busy])")).to_be_visible()
    expect(first).to_be_focused()  # although the list is another one
    press(page, "j", "k", "Enter")
    shows(page, "myocardial infarction")
    expect(page.locator("#side")).to_be_hidden()
    saved(page)
    (stored,) = decided(HTN)
    assert verdict(stored) == ("approved", [317009], "EQUIVALENT")
    assert stored.rank is None


def test_a_child_is_approved_as_saying_more(page: Page, decided: Decided) -> None:
    press(page, "j", "j", "j", "p")
    expect(page.locator("#side-list h3")).to_have_text("Children 1")
    item = page.locator("#side-list .item")
    expect(item).to_be_focused()
    child = int(item.locator(".id").inner_text())
    press(page, "Enter")
    shows(page, "asthmas")
    saved(page)
    assert verdict(decided(ASTHMA)[0]) == ("approved", [child], "WIDER")


def test_a_group_is_decided_together_without_who_was_taken_out(page: Page, decided: Decided) -> None:
    press(page, "j", "j", "j")
    shows(page, "Asthma")
    press(page, "g")
    members = page.locator("#side .group input")
    expect(members).to_have_count(2)
    expect(members.first).to_be_focused()
    press(page, "j")
    press(page, "0", "Space")  # no key decides a term while terms are ticked
    press(page, "Enter")
    shows(page, "asthmas")
    saved(page)
    assert decided(ASTHMAS) == []
    press(page, "k", "u")
    saved(page)
    press(page, "g")
    page.get_by_role("button", name="Approve all ticked").click()
    saved(page)
    assert decided(ASTHMA)[-1].batch_id == decided(ASTHMAS)[-1].batch_id is not None
    press(page, "u")
    saved(page)
    assert [decided(one)[-1].verdict.state.value for one in (ASTHMA, ASTHMAS)] == ["unreviewed", "unreviewed"]


def test_a_term_without_others_like_it_says_so(page: Page) -> None:
    press(page, "g")
    expect(page.locator("#said")).to_have_text("No other open term is the same, or nearly the same.")
    expect(page.locator("#side")).to_be_hidden()


@pytest.mark.parametrize(("key", "state"), [("m", "approved"), ("t", "no match")])
def test_a_conflict_shows_both_decisions_and_loses_none(
    page: Page, browser: Browser, review_server: str, project_id: int, decided: Decided, key: str, state: str
) -> None:
    other = context_of(browser, review_server, "Bob")
    their_page = open_review(other, review_server, project_id)
    sees_no_changes(page)
    press(their_page, "0")
    saved(their_page)
    press(page, "Enter")
    expect(page.locator("#conflict-count")).to_contain_text("1 conflict")
    shows(page, "myocardial infarction")  # nothing jumps
    press(page, "x")
    expect(page.locator("#conflict-dialog")).to_contain_text("Hypertensive disorder")
    expect(page.locator("#conflict-dialog")).to_contain_text("Bob")
    press(page, key)
    expect(page.locator("#conflict-count")).to_be_hidden()
    saved(page)
    assert decided(HTN)[-1].verdict.state.value == state
    assert decided(HTN)[0].reviewer == "Bob"
    assert len(decided(HTN)) == (2 if key == "m" else 1)
    other.close()


def test_what_others_do_is_marked_and_a_key_goes_there(
    page: Page,
    browser: Browser,
    review_server: str,
    project_id: int,
    database: psycopg.Connection[Any],
    mapped: list[MappedTerm],
) -> None:
    other = context_of(browser, review_server, "Bob")
    their_page = open_review(other, review_server, project_id)
    press(their_page, "j", "j", "Enter")
    saved(their_page)
    with database.transaction():
        store_suggestions(database, project_id, [(ASTHMAS, mapped[0])])
    expect(page.locator("#changed-count")).to_contain_text("2 changed", timeout=SAVED_WITHIN)
    shows(page, "HTN")
    expect(page.locator("#row-3")).to_contain_text("Bob")
    press(page, "n")
    shows(page, "metformin 500 mg")
    press(page, "n")
    shows(page, "asthmas")
    expect(page.locator("#candidates .candidate").first).to_contain_text("Hypertensive disorder")
    other.close()


def test_the_shown_term_is_not_replaced_under_the_eyes(
    page: Page, database: psycopg.Connection[Any], project_id: int, mapped: list[MappedTerm]
) -> None:
    with database.transaction():
        store_suggestions(database, project_id, [(HTN, mapped[1])])
    expect(page.locator("#term .notice")).to_contain_text("newer suggestions", timeout=SAVED_WITHIN)
    expect(page.locator("#candidates .candidate").first).to_contain_text("Hypertensive disorder")
    press(page, "r")
    expect(page.locator("#candidates .candidate").first).to_contain_text("Myocardial infarction")


def test_offline_nothing_is_lost_or_doubled(page: Page, decided: Decided) -> None:
    press(page, "j", "k")
    page.wait_for_timeout(500)  # the next cards
    page.context.set_offline(True)
    press(page, "Enter", "Enter", "0")
    shows(page, "Asthma")
    expect(page.locator("#unsaved")).to_contain_text(
        "3 not saved yet: the server cannot be reached, trying again"
    )
    assert decided(HTN) == []
    page.context.set_offline(False)
    saved(page)
    assert [len(decided(position)) for position in (1, 2, 3, 4)] == [1, 1, 1, 0]
    assert verdict(decided(METFORMIN)[0])[0] == "no match"


def test_a_reload_in_the_middle_loses_and_doubles_nothing(page: Page, decided: Decided) -> None:
    page.route("**/decisions", lambda route: route.abort())
    press(page, "Enter", "0")
    expect(page.locator("#unsaved")).to_contain_text("2 not saved yet")
    page.on("dialog", lambda dialog: dialog.accept())  # it asks before it is left
    page.unroute("**/decisions")
    # The first is stored, and the answer does not arrive.
    page.route("**/decisions", lambda route: (route.fetch(), route.abort()))
    page.wait_for_timeout(2_500)
    page.unroute("**/decisions")
    page.reload()
    expect(page.locator("#candidates .candidate").first).to_be_visible()
    saved(page)
    assert [len(decided(position)) for position in (1, 2, 3)] == [1, 1, 0]


def test_undo_skips_what_was_not_stored(
    page: Page, browser: Browser, review_server: str, project_id: int, decided: Decided
) -> None:
    other = context_of(browser, review_server, "Bob")
    their_page = open_review(other, review_server, project_id)
    sees_no_changes(page)
    press(their_page, "j", "0")
    saved(their_page)
    press(page, "Enter", "Enter")  # the second is a conflict
    expect(page.locator("#conflict-count")).to_contain_text("1 conflict")
    press(page, "u")
    shows(page, "HTN")
    saved(page)
    assert [one.verdict.state.value for one in decided(HTN)] == ["approved", "unreviewed"]
    assert [one.reviewer for one in decided(INFARCTION)] == ["Bob"]
    press(page, "j", "x", "m")
    saved(page)
    press(page, "u")
    saved(page)
    assert [one.verdict.state.value for one in decided(INFARCTION)] == ["no match", "approved", "no match"]
    other.close()


def test_what_the_server_refuses_is_told(page: Page, decided: Decided) -> None:
    page.route(
        "**/decisions",
        lambda route: route.fulfill(status=422, content_type="application/json", body='{"detail": "not so"}'),
    )
    press(page, "Enter")
    expect(page.locator("#refused")).to_contain_text("Row 1 was not saved: not so")
    page.unroute("**/decisions")
    expect(page.locator("#row-1")).not_to_contain_text("approved")
    press(page, "Enter")
    saved(page)
    assert (len(decided(HTN)), len(decided(INFARCTION))) == (0, 1)


def test_filters_leave_terms_out_and_stay_in_the_address(page: Page) -> None:
    press(page, "Enter")
    page.get_by_text("More filters").click()
    page.get_by_role("searchbox", name="Text").fill("asthma")
    expect(page.locator("#queue-count")).to_have_text("2 terms")
    shows(page, "Asthma")
    assert "text=asthma" in page.url
    page.get_by_role("searchbox", name="Text").fill("nothing like it")
    expect(page.locator("#term")).to_contain_text("No term passes these filters.")
    page.get_by_role("searchbox", name="Text").fill("")
    page.get_by_label("Show").select_option("approved")
    page.get_by_label("Show").press("Escape")  # from now on keys are for the term
    expect(page.locator("#queue-count")).to_have_text("1 term")
    shows(page, "HTN")


def test_differences_are_marked_and_evidence_is_there(page: Page) -> None:
    assert "null" not in page.locator("#term").inner_text()
    card = page.locator("#candidates .candidate").first
    expect(card).to_contain_text("abbreviation: HTN = hypertension")
    expect(card).to_contain_text("Condition")
    expect(card.locator(".evidence")).to_contain_text("For")
    expect(card.locator(".evidence")).to_contain_text("Also called")
    expect(page.locator("#term .context")).to_contain_text("cardiology")
    press(page, "j", "j", "l")
    expect(page.locator("#candidates .flag").first).to_contain_text("strength")
    expect(page.locator("#term-name mark.differs")).to_have_text("500 mg")
    press(page, "j")
    expect(page.locator("#term .alike").first).to_contain_text("asthmas")


def test_a_term_is_shown_as_text_and_never_run(page: Page) -> None:
    press(page, *["j"] * 7)
    shows(page, "<b>fever</b> & chills")
    expect(page.locator("#term b")).to_have_count(0)


def test_the_mouse_does_what_keys_do(page: Page, decided: Decided) -> None:
    page.locator("#row-2").click()
    shows(page, "myocardial infarction")
    page.locator("[data-choose='0']").click()
    shows(page, "metformin 500 mg")
    for label in ("Previous", "Undo", "Flag"):
        page.locator("#actions").get_by_role("button", name=label).click()
    saved(page)
    assert [one.verdict.state.value for one in decided(INFARCTION)] == ["approved", "unreviewed", "flagged"]


def test_all_keys_are_listed_and_can_be_changed(page: Page, decided: Decided) -> None:
    press(page, "?")
    expect(page.locator("#keys-list dt")).to_have_count(22)
    button = page.get_by_role("button", name="Change the key for: no match, and go on")
    button.click()
    press(page, "j")
    expect(page.locator("#keys-problem")).to_have_text("j is: next term")
    button.click()
    press(page, "z", "Escape", "z")
    shows(page, "myocardial infarction")
    saved(page)
    assert decided(HTN)[0].verdict.state.value == "no match"
    page.reload()
    expect(page.get_by_role("button", name="No match").locator("kbd")).to_have_text("z")
    press(page, "?")
    page.get_by_role("button", name="As shipped").click()


def test_when_all_is_decided_it_says_so(page: Page) -> None:
    for _ in range(9):
        press(page, "0")
        saved(page)
    press(page, "0")
    expect(page.locator("#said")).to_have_text("All terms of this queue are decided.")
    expect(page.locator("#progress-text")).to_contain_text("10 of 10 decided")
    saved(page)
    page.reload()
    expect(page.locator("#term")).to_contain_text("Every term is decided.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, WIDTH])
def test_it_is_readable_on_a_phone_and_by_a_screen_reader(
    browser: Browser, review_server: str, project_id: int, scheme: Any, width: int
) -> None:
    context = context_of(
        browser,
        review_server,
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    page = open_review(context, review_server, project_id)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious(page) == []
    press(page, "j", "j", "+", "2", "/")
    expect(page.locator("#side-list .item").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious(page) == []
    press(page, "Escape", "?")
    assert serious(page) == []
    press(page, "Escape", "e")
    expect(page.locator("#menu-dialog")).to_be_visible()
    assert serious(page) == []
    context.close()


def test_a_review_that_does_not_exist_is_not_found(browser: Browser, review_server: str) -> None:
    context = context_of(browser, review_server)
    page = context.new_page()
    response = page.goto(f"{review_server}/review/999999?token={TOKEN}")
    assert response is not None
    assert response.status == 404
    expect(page.get_by_role("alert")).to_have_text("there is no review 999999")
    context.close()
