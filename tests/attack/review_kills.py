"""Kills of a review: its server, its database and its people end by SIGKILL while all of them work."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

from omop_emb.database.migrations import migrate
from omop_emb.errors import ServerError
from omop_emb.server import supervisor
from omop_emb.service import demo
from omop_emb.vocabulary import load_vocabulary
from tests.attack.process import start, start_function
from tests.attack.review_client import Person, Promise, promises, review
from tests.large_reviews import store_review

TOKEN = "token-of-the-attacked-review-0123456789"  # noqa: S105 - of no server but these tests'
TERMS, SHARED, OWN = 30, range(1, 3), 12
VICTIMS = ("server", "database", "Ada", "Bob", "server and database", "Ada and server")
_MOST_SECONDS = 120


class AttackedReview:
    """A server, a database, and two people at work, each of which can be killed and starts again."""

    def __init__(
        self,
        folder: Path,
        own: Path,
        people: Sequence[str] = ("Ada", "Bob"),
        terms: int = TERMS,
        *,
        vocabulary: bool = False,
    ) -> None:
        own.mkdir()
        self._folder, self._data_dir = own, folder / "data"
        conninfo = supervisor.ensure_running(self._data_dir)
        with psycopg.connect(conninfo) as connection:
            migrate(connection)
            if vocabulary:
                load_vocabulary(connection, demo.SAMPLE)
            self.project_id = store_review(connection, terms)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._stop_file = own / "stop"
        self._processes: dict[str, BaseProcess] = {}
        self._runs = 0
        self.people = {
            name: Person(
                name=name,
                url=self.url,
                token=TOKEN,
                project_id=self.project_id,
                shared=SHARED,
                own=range(SHARED.stop + number * OWN, SHARED.stop + (number + 1) * OWN),
                journal=own / f"{name}.journal",
                seed=name,
            )
            for number, name in enumerate(people)
        }

    def start(self, name: str) -> None:
        """Start the server or a person."""
        self._runs += 1
        log = self._folder / f"{name}-{self._runs}.log"
        if name == "server":
            environment = {
                "OMOP_EMB_DATA_DIR": str(self._data_dir),
                "OMOP_EMB_SERVE_TOKEN": TOKEN,
                "XDG_CACHE_HOME": str(self._folder),
                "OPENBLAS_NUM_THREADS": "1",
            }
            line = ["serve", "--port", str(self._port)]
            self._processes[name] = start(line, self._folder, environment, log)
        else:
            self._processes[name] = start_function(review, self.people[name], self._stop_file, log=log)

    def wait_until_up(self) -> None:
        """Until the server answers with the review's queue."""
        give_up = time.monotonic() + _MOST_SECONDS
        headers = {"Authorization": f"Bearer {TOKEN}"}
        while True:
            with suppress(httpx.TransportError):
                path = f"{self.url}/api/v1/reviews/{self.project_id}/rows?positions=1"
                if httpx.get(path, headers=headers, trust_env=False, timeout=30).status_code == 200:
                    return
            assert time.monotonic() < give_up, "the server does not come up"
            time.sleep(0.02)

    def kill(self, victims: str) -> None:
        """Kill, and start again what does not start by itself: the server starts its database."""
        names = victims.split(" and ")
        for name in names:
            if name == "database":
                pid = supervisor.status(self._data_dir).pid
                if pid is not None:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            else:
                self._processes[name].kill()
                self._processes[name].join()
        for name in names:
            if name != "database":
                self.start(name)

    def check_alive(self) -> None:
        """Nobody has ended but those who were killed."""
        for name, process in self._processes.items():
            assert process.exitcode is None, f"{name} ended with {process.exitcode}: {self.logs(name)}"

    def logs(self, name: str) -> str:
        """What a process printed."""
        paths = sorted(self._folder.glob(f"{name}-*.log"), key=lambda path: path.stat().st_mtime)
        return paths[-1].read_text() if paths else ""

    def finish(self) -> None:
        """Let both people end with what they do, and stop the server."""
        self._stop_file.touch()
        for name in self.people:
            self._processes[name].join(_MOST_SECONDS)
            assert self._processes[name].exitcode == 0, self.logs(name)
        self.stop()

    def stop(self) -> None:
        """End what still runs."""
        for process in self._processes.values():
            process.kill()
            process.join()

    def answered(self) -> dict[str, list[Promise]]:
        """What each person has asked so far, with the answers."""
        return {name: promises(person.journal) for name, person in self.people.items()}

    def decisions(self) -> list[dict[str, Any]]:
        """All decisions in the database, in order."""
        conninfo = supervisor.ensure_running(self._data_dir)
        with psycopg.connect(conninfo, row_factory=dict_row) as connection:
            query = "select * from omop_emb.review_decision where project_id = %s order by position, version"
            return connection.execute(query, (self.project_id,)).fetchall()


@contextmanager
def attacked_review(folder: Path, own: Path, **options: Any) -> Iterator[AttackedReview]:
    """A review under work; options as of AttackedReview."""
    made = AttackedReview(folder, own, **options)
    try:
        made.start("server")
        made.wait_until_up()
        for name in made.people:
            made.start(name)
        yield made
    finally:
        made.stop()
        with suppress(ServerError):
            supervisor.stop(folder / "data")
        shutil.rmtree(own, ignore_errors=True)


def attack(review: AttackedReview, chance: Random, kills: int) -> dict[str, int]:
    """Kill somebody at random moments; what was promised is checked after each, and all at the end."""
    done = Counter[str]()
    for number in range(kills):
        time.sleep(chance.uniform(0.05, 0.8))
        victims = VICTIMS[number % len(VICTIMS)]
        review.kill(victims)
        done[victims] += 1
        if "server" in victims or "database" in victims:
            review.wait_until_up()
        review.check_alive()
        about = f"kill {number + 1} of {victims}"
        answered = review.answered()  # before the decisions: what is answered is there
        check(answered, review.decisions(), about, finished=False)
    review.finish()
    return dict(done)


def check(
    asked: dict[str, list[Promise]], decisions: list[dict[str, Any]], about: str, *, finished: bool
) -> None:
    """Everything acknowledged is there once, nothing else is there, and no request is there in part."""
    by_id = {str(row["request_id"]): row for row in decisions}
    assert len(by_id) == len(decisions), f"{about}: a decision is there twice"
    versions: dict[int, list[int]] = defaultdict(list)
    for row in decisions:
        versions[row["position"]].append(row["version"])
    for position, own in versions.items():
        assert own == [*range(1, len(own) + 1)], f"{about}: versions of term {position}: {own}"
    _check_undone(decisions, about)
    for name, requests in asked.items():
        for promise in requests:
            if promise.results is None:
                _check_unanswered(promise, by_id, about)
            for result in promise.results or ():
                _check_result(name, promise, result, by_id, about)
    if finished:
        known = {one for requests in asked.values() for promise in requests for one in promise.request_ids}
        assert set(by_id) <= known, f"{about}: decisions that nobody made"


def _check_result(
    name: str, promise: Promise, result: dict[str, Any], by_id: dict[str, dict[str, Any]], about: str
) -> None:
    stored = result["stored"]
    if stored is None:
        is_there = result["request_id"] in by_id
        assert not is_there, f"{about}: a decision is there that was answered as a conflict: {result}"
        return
    row = by_id.get(stored["request_id"])
    assert row is not None, f"{about}: an acknowledged decision is lost: {stored}"
    found = {
        "decision_id": row["decision_id"],
        "position": row["position"],
        "version": row["version"],
        "state": row["state"],
        "targets": row["targets"],
        "comment": row["comment"],
        "reviewer": row["reviewer"],
    }
    expected = {**{key: stored[key] for key in found}, "reviewer": name}
    expected["targets"] = [target["concept_id"] for target in stored["targets"]]
    assert found == expected, f"{about}: a decision has changed"
    if promise.kind == "decisions":
        made = next(one for one in promise.body["decisions"] if one["request_id"] == stored["request_id"])
        for key in ("position", "state", "comment"):
            assert found[key] == made[key], f"{about}: another decision was stored than was made"
        assert found["version"] == made["version"] + 1, f"{about}: a decision answers another version"


def _check_unanswered(promise: Promise, by_id: dict[str, dict[str, Any]], about: str) -> None:
    there = [one in by_id for one in promise.request_ids]
    assert all(there) or not any(there), f"{about}: half of a request is there: {promise.body}"


def _check_undone(decisions: list[dict[str, Any]], about: str) -> None:
    """What was taken back is as it was before, and was taken back once."""
    by_decision = {row["decision_id"]: row for row in decisions}
    by_version = {(row["position"], row["version"]): row for row in decisions}
    undoing = [row for row in decisions if row["undoes"] is not None]
    assert len({row["undoes"] for row in undoing}) == len(undoing), f"{about}: taken back twice"
    for row in undoing:
        undone = by_decision[row["undoes"]]
        before = by_version.get((undone["position"], undone["version"] - 1))
        expected = ("unreviewed", []) if before is None else (before["state"], before["targets"])
        assert (row["state"], row["targets"]) == expected, f"{about}: taken back to another state"
