"""A person decides by keys in a real Chromium while it, the server or the database is killed."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra web is not installed")
pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import BrowserContext, Error, Page, Playwright, sync_playwright

from tests.attack.review_kills import TOKEN, AttackedReview, attacked_review, check
from tests.browser.review_steps import Acknowledged

SEED = 20261129  # another one tries other moments
TERMS = 400
VICTIMS = ("page", "server", "database")
_KEYS = ("Enter", "Enter", "2", "0", "i", "u")


def chromium_path() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium is installed: apt install chromium")
    return found


class KilledPage:
    """A browser whose storage stays where it was killed, and what its pages were told."""

    def __init__(self, playwright: Playwright, review: AttackedReview, profile: Path) -> None:
        self._playwright, self._review, self._profile = playwright, review, profile
        self.acknowledged = Acknowledged()
        self.context: BrowserContext | None = None
        self.page: Page | None = None

    def open(self) -> Page:
        """Start the browser on the review."""
        self.context = self._playwright.chromium.launch_persistent_context(
            self._profile, executable_path=chromium_path(), args=["--no-sandbox"], base_url=self._review.url
        )
        cookie: Any = {"name": "omop_emb_reviewer", "value": "Cleo", "url": self._review.url}
        self.context.add_cookies([cookie])
        self.context.on("response", self._acknowledge)
        self.page = self.context.pages[0] if self.context.pages else self.context.new_page()
        self.page.goto(f"/review/{self._review.project_id}?token={TOKEN}")
        self.wait_for_a_card()
        return self.page

    def _acknowledge(self, response: Any) -> None:
        with suppress(Error):  # the browser ended before the answer could be read
            self.acknowledged.add(response)

    def wait_for_a_card(self) -> None:
        assert self.page is not None
        self.page.locator("#candidates .candidate").first.wait_for(timeout=60_000)

    def kill(self) -> None:
        """End every process of the browser."""
        for pid in self._processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        give_up = time.monotonic() + 30
        while self._processes() and time.monotonic() < give_up:
            time.sleep(0.05)
        if self.context is not None:
            with suppress(Error):
                self.context.close()
        (self._profile / "SingletonLock").unlink(missing_ok=True)

    def _processes(self) -> list[int]:
        wanted = f"--user-data-dir={self._profile}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with suppress(OSError):
                    if wanted in (folder / "cmdline").read_bytes().split(b"\0"):
                        found.append(int(folder.name))
        return found


@contextmanager
def killed_page(review: AttackedReview, profile: Path) -> Iterator[KilledPage]:
    with sync_playwright() as playwright:
        made = KilledPage(playwright, review, profile)
        made.open()
        yield made
        if made.context is not None:
            with suppress(Error):
                made.context.close()


def work(page: Page, chance: Random, seconds: float) -> int:
    """Press keys for so long; returns how many."""
    until, presses = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        page.keyboard.press(chance.choice(_KEYS))
        presses += 1
        page.wait_for_timeout(chance.uniform(0, 60))
    return presses


def attack_page(folder: Path, own: Path, kills: int) -> None:
    chance = Random(f"{SEED} page {kills}")  # noqa: S311 - nothing secret
    presses = 0
    with attacked_review(folder, own, people=(), terms=TERMS, vocabulary=True) as review:
        with killed_page(review, own / "profile") as killed:
            for number in range(kills):
                assert killed.page is not None
                presses += work(killed.page, chance, chance.uniform(0.2, 1.5))
                victim = VICTIMS[number % len(VICTIMS)]
                if victim == "page":
                    killed.kill()
                    killed.open()
                else:
                    review.kill(victim)
                    presses += work(killed.page, chance, chance.uniform(0, 0.5))
                    review.wait_until_up()
                check_page(killed, review.decisions(), f"kill {number + 1} of the {victim}")
            assert killed.page is not None
            killed.page.locator("#unsaved").wait_for(state="hidden", timeout=60_000)
            killed.page.wait_for_timeout(200)
            decisions = review.decisions()
            check_page(killed, decisions, "at the end")
    stored = len(killed.acknowledged.stored)
    print(  # noqa: T201 - shown with -s, for the report
        f"kills: {kills}, keys pressed: {presses}, decisions acknowledged: {stored}, "
        f"in the database: {len(decisions)}"
    )
    assert stored > kills


def check_page(killed: KilledPage, decisions: list[dict[str, Any]], about: str) -> None:
    """What the page was told is there once, and versions have no gap."""
    check({}, decisions, about, finished=False)
    by_id = {str(row["request_id"]): row for row in decisions}
    for one in killed.acknowledged.stored:
        row = by_id.get(one["request_id"])
        assert row is not None, f"{about}: an acknowledged decision is lost: {one}"
        for key in ("decision_id", "position", "version", "state"):
            assert row[key] == one[key], f"{about}: a decision has changed"


def test_a_killed_page_loses_no_decision_that_was_acknowledged(folder: Path, tmp_path: Path) -> None:
    attack_page(folder, tmp_path / "own", 3)


@pytest.mark.long
def test_a_page_that_is_killed_thirty_times_loses_no_decision_that_was_acknowledged(
    folder: Path, tmp_path: Path
) -> None:
    attack_page(folder, tmp_path / "own", 30)
