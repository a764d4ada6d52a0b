"""The search page in a real browser: by keys and mouse, on a phone, in the dark, with no other server."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.pictures import screenshot

HYPERTENSION = "316866"


def ask(page: Page, text: str) -> None:
    page.locator("#q").fill(text)
    page.keyboard.press("Enter")
    expect(page.locator("#results")).not_to_have_attribute("aria-busy", "true")


def serious(page: Page) -> list[str]:
    violations = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:80]}"
        for one in violations
        if one["impact"] in ("serious", "critical")
    ]


def test_a_new_user_types_htn_and_sees_the_concept_with_why(page: Page, pytestconfig: pytest.Config) -> None:
    assert "token" not in page.url
    expect(page.get_by_label("Term, code or concept id")).to_be_focused()
    page.keyboard.type("htn")
    page.keyboard.press("Enter")
    first = page.locator(".result").first
    expect(first.locator(".open")).to_have_text("Hypertensive disorder")
    expect(first.locator(".why")).to_have_text("abbreviation: htn = hypertension; synonym 'Hypertension'")
    first.locator(".open").click()
    expect(page.locator("#card h2")).to_have_text("Hypertensive disorder")
    screenshot(page, pytestconfig, "search")


def test_names_are_offered_while_typing_and_taken_by_keys(page: Page) -> None:
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.type("hyperten", delay=20)
    options = page.locator("#completions [role=option]")
    expect(options.first).to_contain_text("Hyperten")
    expect(page.locator("#q")).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    expect(page.locator("#q")).to_have_attribute("aria-activedescendant", "completion-0")
    page.keyboard.press("Enter")
    expect(page.locator("#card h2")).to_have_text("Hypertensive disorder")
    expect(page.locator("#completions")).to_be_hidden()


def test_keys_move_open_copy_and_close(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(page, "htn")
    page.locator("#status").wait_for(state="attached")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("j")
    page.keyboard.press("c")
    expect(page.locator("#status")).to_have_text(f"Copied {HYPERTENSION}.")
    assert page.evaluate("navigator.clipboard.readText()") == HYPERTENSION
    page.keyboard.press("Enter")
    expect(page.locator("#card")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#card")).to_be_empty()
    page.keyboard.press("j")
    expect(page.locator(".result.current")).to_have_count(1)
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()


def test_filters_apply_at_once_and_the_address_can_be_shared(page: Page) -> None:
    ask(page, "glucose")
    page.get_by_label("Domain").select_option("Measurement")
    expect(page.locator(".result .facts").first).to_contain_text("Measurement")
    assert "domain=Measurement" in page.url
    page.locator(".result .open").first.click()
    expect(page.locator("#card h2")).not_to_be_empty()
    name, address = page.locator("#card h2").inner_text(), page.url
    page.goto(address)
    expect(page.get_by_label("Domain")).to_have_value("Measurement")
    expect(page.locator("#card h2")).to_have_text(name)
    page.go_back()


def test_what_finds_nothing_says_so(page: Page) -> None:
    ask(page, "!!!")
    expect(page.locator("#results .empty")).to_contain_text("No concept was found")
    expect(page.locator("#status")).to_have_text("No concept was found.")


def test_a_term_is_shown_as_text_and_never_run(page: Page, server_url: str) -> None:
    term = '"><img src=x onerror=alert(1)>'
    page.goto(f"{server_url}/?{urlencode({'q': term})}")
    expect(page.locator("#q")).to_have_value(term)
    expect(page.locator("img")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_on_a_phone_and_by_a_screen_reader(
    page: Page, browser: Browser, server_url: str, scheme: str
) -> None:
    context = browser.new_context(
        viewport={"width": 400, "height": 800},
        color_scheme="dark" if scheme == "dark" else "light",
        storage_state=page.context.storage_state(),
    )
    phone = context.new_page()
    phone.goto(f"{server_url}/?q=htn&concept={HYPERTENSION}")
    expect(phone.locator("#card h2")).to_have_text("Hypertensive disorder")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 400
    assert serious(phone) == []
    phone.goto(f"{server_url}/concept/{HYPERTENSION}")
    expect(phone.locator("h1")).to_have_text("Hypertensive disorder")
    assert serious(phone) == []
    context.close()


def test_the_page_asks_no_other_server(page: Page, server_url: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    ask(page, "htn")
    page.locator(".result .open").first.click()
    expect(page.locator("#card h2")).not_to_be_empty()
    assert {urlsplit(address).netloc for address in asked} == {urlsplit(server_url).netloc}


def test_without_the_token_the_page_says_what_to_open(browser: Browser, server_url: str) -> None:
    context = browser.new_context()
    stranger = context.new_page()
    response = stranger.goto(f"{server_url}/?q=htn")
    assert response is not None
    assert response.status == 401
    expect(stranger.locator("body")).to_contain_text("Open the link that omop-emb serve printed")
    context.close()
