"""Server and browser where no network but loopback exists: what pages of a review ask for, and what fails.

Run in a namespace of its own, as `unshare --net python -m tests.browser.closed_network URL ID CACHE`. It
prints what it found as JSON.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import socket
import struct
import sys
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import expect, sync_playwright

from tests.browser.conftest import TOKEN, _serve
from tests.browser.review_steps import open_review, press, reviewer_context, wait_until_saved

_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1
_PAGES = ("", "/groups", "/bulk", "/conflicts", "/second", "/statistics", "/export")


def raise_loopback() -> None:
    """Give a new network namespace its loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(opened, _GET_FLAGS, request))[1]
        fcntl.ioctl(opened, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _UP))


def can_reach_others() -> bool:
    """Whether there is any network beside loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as opened:
        opened.settimeout(2)
        return opened.connect_ex(("192.0.2.1", 80)) == 0 or len(socket.if_nameindex()) > 1


def visit(database_url: str, project_id: int, cache: Path) -> dict[str, object]:
    """Decide a term, save the statistics, and open every page of the review."""
    messages: list[str] = []
    asked: set[str] = set()
    statuses: dict[str, int] = {}
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for url in _serve(database_url, cache):
            context = reviewer_context(browser, url, TOKEN, "Ada")
            context.on("console", lambda message: messages.append(message.text))
            context.on("weberror", lambda error: messages.append(str(error.error)))
            context.on("request", lambda request: asked.add(urlsplit(request.url).hostname or ""))
            context.on("requestfailed", lambda request: messages.append(f"failed: {request.url}"))
            page = open_review(context, project_id)
            name = page.locator("#term-name").inner_text()
            press(page, "Enter")
            expect(page.locator("#term-name")).not_to_have_text(name)
            wait_until_saved(page)
            page.close()
            for path in _PAGES:
                page = context.new_page()
                answer = page.goto(f"/review/{project_id}{path}")
                assert answer is not None
                statuses[path] = answer.status
                page.wait_for_load_state("load")
                page.close()
            context.close()
        browser.close()
    return {"messages": messages, "asked": sorted(asked), "statuses": statuses}


def main() -> None:
    """Print what was found."""
    raise_loopback()
    database_url, project_id, cache = sys.argv[1:]
    has_network = can_reach_others()
    found = visit(database_url, int(project_id), Path(cache))
    print(json.dumps({**found, "has_network": has_network}))  # noqa: T201 - the caller reads it


if __name__ == "__main__":
    main()
