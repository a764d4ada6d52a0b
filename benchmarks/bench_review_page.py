"""A review of 100,000 terms in a real Chromium: key to next card painted, opening, filters, statistics."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from shutil import which
from typing import Any

import psycopg
from bench_serve import Server, sample_database, serve
from playwright.sync_api import Page, sync_playwright
from ratios import Ratio, options, report

from omop_emb.database import driver_connection, engine_scope, migrate, session_scope
from omop_emb.errors import InputError
from omop_emb.service.review.project_store import find_project

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.large_reviews import decide_all, store_review

# Milliseconds from an Enter to the frame after the one in which another term's card was drawn, complete.
_WATCH_KEYS = """() => {
  const card = document.getElementById("term");
  const shown = () => card.querySelector("#term-name")?.textContent;
  addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const before = shown(), pressed = event.timeStamp;
    const look = () => {
      const isNext = shown() !== before && shown() && !card.hasAttribute("aria-busy");
      requestAnimationFrame(isNext ? () => window.painted(performance.now() - pressed) : look);
    };
    requestAnimationFrame(look);
  }, { capture: true });
}"""
_NEXT_PAINTED = "() => { window.next = new Promise((painted) => { window.painted = painted; }); }"
# Milliseconds from the start of the navigation to the frame in which the first card is painted.
_FIRST_PAINTED = """window.firstPainted = new Promise((painted) => {
  const look = () => {
    const card = document.getElementById("term");
    const isThere = card?.querySelector("#term-name") && !card.hasAttribute("aria-busy");
    requestAnimationFrame(isThere ? () => painted(performance.now()) : look);
  };
  look();
})"""
_FILTERED = """(state) => new Promise((done) => {
  const began = performance.now(), select = document.querySelector("#filters [name=state]");
  const words = document.getElementById("queue-count"), before = words.textContent;
  select.value = state;
  select.dispatchEvent(new Event("change", { bubbles: true }));
  const look = () => requestAnimationFrame(words.textContent !== before
    ? () => done(performance.now() - began) : look);
  look();
})"""


@contextmanager
def chromium() -> Iterator[Page]:
    path = which("chromium") or which("chromium-browser") or which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1280, "height": 800})
        browser.close()


def part(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def sign_in(page: Page, server: Server) -> None:
    token = server.client.headers["Authorization"].removeprefix("Bearer ")
    cookie: Any = {"name": "omop_emb_reviewer", "value": "Ada", "url": str(server.client.base_url)}
    page.context.add_cookies([cookie])
    page.context.add_init_script(_FIRST_PAINTED)
    page.goto(f"{server.client.base_url}/?token={token}")


def open_review(page: Page, server: Server, project_id: int) -> float:
    """Milliseconds until the first card is painted."""
    page.goto(f"{server.client.base_url}/review/{project_id}")
    return float(page.evaluate("window.firstPainted"))


def key_times(page: Page, decisions: int, pause_ms: float) -> list[float]:
    """Milliseconds of each of so many approvals by key."""
    page.evaluate(_WATCH_KEYS)
    times = []
    for _ in range(decisions):
        page.evaluate(_NEXT_PAINTED)
        page.keyboard.press("Enter")
        times.append(float(page.evaluate("window.next")))
        page.wait_for_timeout(pause_ms)
    return times


def project_of(connection: psycopg.Connection[Any], terms: int) -> int:
    """The project of so many terms, which is made if it is not there."""
    name = f"bench-{terms}"
    try:
        return find_project(connection, name).project_id
    except InputError:
        return store_review(connection, terms, name=name, seed=terms)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--here", action="store_true", help="the database of the variables, instead of one with the sample"
    )
    parser.add_argument("--terms", type=int, default=100_000, help="of the large project")
    parser.add_argument("--opened", type=int, default=20_000, help="terms of the project that is opened")
    parser.add_argument("--decisions", type=int, default=300, help="that are made by key")
    parser.add_argument("--pause", type=float, default=300, help="milliseconds between them")


def main() -> None:
    chosen = options(__doc__ or "", add_arguments)
    with nullcontext() if chosen.here else sample_database():
        with engine_scope() as engine, session_scope(engine) as session:
            connection = driver_connection(session)
            migrate(connection)
            large, opened = (project_of(connection, terms) for terms in (chosen.terms, chosen.opened))
        with serve() as server, chromium() as page:
            sign_in(page, server)
            openings = [open_review(page, server, opened) for _ in range(chosen.rounds + 1)][1:]
            openings_large = [open_review(page, server, large) for _ in range(chosen.rounds)]
            before = server.processor_seconds
            paced = key_times(page, chosen.decisions, chosen.pause)
            cost = 1000 * (server.processor_seconds - before) / chosen.decisions
            open_review(page, server, large)
            hurried = key_times(page, chosen.decisions, 0)
            filters = [page.evaluate(_FILTERED, state) for state in ("all", "approved", "todo", "flagged")]
            if not chosen.here:
                with engine_scope() as engine, session_scope(engine) as session:
                    decide_all(driver_connection(session), opened)
            statistics = []
            for _ in range(chosen.rounds):
                began = time.perf_counter()
                answer = server.client.get(f"/review/{opened}/statistics")
                assert answer.status_code == 200
                statistics.append(time.perf_counter() - began)
    name = f"{chosen.terms:,} terms"
    ratios = [
        Ratio(
            f"key to next card, {name}: p95",
            part(paced, 0.95),
            at_most=100,
            unit=" ms",
            detail=f"p50 {part(paced, 0.5):.0f} ms, {cost:.0f} ms of the server's processor each",
        ),
        Ratio(
            "the same without a pause: p95",
            part(hurried, 0.95),
            unit=" ms",
            detail=f"p50 {part(hurried, 0.5):.0f} ms",
        ),
        Ratio(f"opening {chosen.opened:,} terms", part(openings, 0.5) / 1000, at_most=1.5, unit=" s"),
        Ratio(f"opening {name}", part(openings_large, 0.5) / 1000, unit=" s"),
        Ratio(f"filter of {name}", max(filters) / 1000, unit=" s"),
        Ratio(f"statistics of {chosen.opened:,} terms", min(statistics), at_most=1, unit=" s"),
    ]
    report("review page", ratios, chosen)


if __name__ == "__main__":
    main()
