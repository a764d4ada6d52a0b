"""The site in a real browser, from files: light and dark, 400 pixels wide, and its search."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.site_builder import build_site

# A long list of links, steps with pictures, wide code, signatures, wide tables, a notebook.
PAGES = (
    "docs/index",
    "docs/tutorial/review",
    "docs/reference/cli",
    "docs/reference/python-api",
    "docs/concepts/mapping-quality",
    "docs/notebooks/map-and-evaluate",
)
# What is cut off at the right: wider than the window, inside nothing that scrolls.
CUT_OFF = """() => [...document.querySelectorAll("article :is(pre, table, img, p, li)")].filter(one => {
    if (one.getBoundingClientRect().right <= innerWidth) return false;
    for (let above = one; above.tagName !== "ARTICLE"; above = above.parentElement)
        if (["auto", "scroll"].includes(getComputedStyle(above).overflowX)) return false;
    return true;
}).map(one => one.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def narrow(browser: Browser) -> Iterator[Page]:
    """A page as wide as a telephone; a message in the browser's console fails the test."""
    context = browser.new_context(viewport={"width": 400, "height": 800})
    page = context.new_page()
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    yield page
    context.close()
    assert messages == []


def open_page(page: Page, site: Path, name: str) -> None:
    page.goto((site / f"{name}.html").as_uri())


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_everybody_can_read_a_page(
    name: str, colours: Literal["light", "dark"], narrow: Page, site: Path
) -> None:
    narrow.emulate_media(color_scheme=colours)
    open_page(narrow, site, name)
    # Preloading would fetch style sheets, which a browser refuses for files.
    violations = Axe().run(narrow, options={"preload": False}).response["violations"]
    found = [f"{one['id']}: {one['nodes'][0]['html'][:80]}" for one in violations]
    assert found == []


def test_nothing_is_cut_off_on_a_telephone(narrow: Page, site: Path) -> None:
    names = [path.relative_to(site).with_suffix("") for path in site.glob("docs/**/*.html")]
    assert len(names) > 50
    cut_off = {}
    for name in map(str, names):
        open_page(narrow, site, name)
        cut_off[name] = narrow.evaluate(CUT_OFF)
        assert narrow.evaluate("document.documentElement.scrollWidth") <= 400, name
    assert {name: found for name, found in cut_off.items() if found} == {}


def test_search_finds_a_page_from_files(narrow: Page, site: Path) -> None:
    narrow.goto((site / "index.html").as_uri())
    narrow.wait_for_url("**/docs/index.html")
    narrow.locator("label[for=__navigation]").locator("visible=true").first.click()
    narrow.locator("input.sidebar-search").fill("reliability")
    narrow.keyboard.press("Enter")
    link = narrow.locator("#search-results a[href='docs/how-to/plots.html']").first
    expect(link).to_be_visible()
    link.click()
    narrow.wait_for_url("**/docs/how-to/plots.html*")
