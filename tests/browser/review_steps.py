"""Steps of people in a review's page, and what its server acknowledged meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Response, expect

SAVED_WITHIN = 60_000  # milliseconds


@dataclass
class Acknowledged:
    """What the server answered to a page: decisions that it stored, and conflicts."""

    stored: list[dict[str, Any]] = field(default_factory=list)
    conflicts: list[dict[str, Any]] = field(default_factory=list)

    def add(self, response: Response) -> None:
        """Take what an answer says of decisions."""
        path = response.url.rpartition("/")[2]
        if response.request.method != "POST" or path not in ("decisions", "undo", "group") or not response.ok:
            return
        for result in response.json()["results"]:
            if result["stored"] is None:
                self.conflicts.append(result)
            else:
                self.stored.append(result["stored"])


def reviewer_context(browser: Browser, server_url: str, token: str, name: str) -> BrowserContext:
    """A browser of a person: signed in, and with a name."""
    context = browser.new_context(base_url=server_url, viewport={"width": 1200, "height": 780})
    context.add_cookies([{"name": "omop_emb_reviewer", "value": name, "url": server_url}])
    page = context.new_page()
    page.goto(f"/?token={token}")
    page.close()
    return context


def open_review(context: BrowserContext, project_id: int, query: str = "order=file") -> Page:
    """The page, with its first card."""
    page = context.new_page()
    page.goto(f"/review/{project_id}?{query}")
    expect(page.locator("#candidates .candidate").first).to_be_visible()
    return page


def press(page: Page, key: str) -> None:
    """Press a key, and wait until the term that it leads to is there."""
    page.keyboard.press(key)
    expect(page.locator("#term:not([aria-busy=true])")).to_be_visible()


def wait_until_saved(page: Page) -> None:
    """Until nothing waits in the page."""
    expect(page.locator("#unsaved")).to_be_hidden(timeout=SAVED_WITHIN)


def sees_no_changes(page: Page) -> None:
    """Let a page no longer see what others decide; a request that was already under way has ended."""
    with page.expect_event("requestfailed", lambda request: "/changes?" in request.url, timeout=60_000):
        page.route("**/changes?*", lambda route: route.abort())
