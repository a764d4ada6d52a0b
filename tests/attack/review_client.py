"""A person who reviews by a script: decides, takes back, and repeats each request until it is answered.

Everything is written to a journal before it is sent and after it is answered: what was promised can be
compared with what is in the database, also after the script was killed.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import httpx

CONCEPTS = (316866, 201826, 317009, 4329847, 312327)
_STATES = ("approved", "no match", "flagged", "ignored")
_MOST_SECONDS = 120  # that a request is repeated


@dataclass(frozen=True, kw_only=True)
class Person:
    """Who reviews, and what.

    Attributes:
        shared: positions that others decide too.
        own: positions that nobody else decides.
        journal: the file to which requests and answers are written.
    """

    name: str
    url: str
    token: str
    project_id: int
    shared: range
    own: range
    journal: Path
    seed: str


def review(person: Person, stop_file: Path) -> None:
    """Decide until a file appears, beginning with what an earlier run was not answered."""
    os.setpgid(0, 0)
    chance = Random(f"{person.seed} {time.time_ns()}")  # noqa: S311 - nothing secret
    with Reviewer(person) as reviewer:
        for kind, body in unanswered(person.journal):
            if chance.random() < 0.7:  # else it is given up, as by a page that is closed
                reviewer.ask(kind, body)
        while not stop_file.exists():
            reviewer.act(chance)


class Reviewer:
    """A person's connection and journal."""

    def __init__(self, person: Person) -> None:
        self._person = person
        headers = {"Authorization": f"Bearer {person.token}", "X-Reviewer": person.name}
        self._client = httpx.Client(base_url=person.url, headers=headers, timeout=30, trust_env=False)
        self._path = f"/api/v1/reviews/{person.project_id}"
        self._journal = person.journal.open("a", encoding="utf-8")

    def __enter__(self) -> Reviewer:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._journal.close()

    def act(self, chance: Random) -> None:
        """Do one thing: decide a term or several, or take something back."""
        person = self._person
        if chance.random() < 0.15:
            self.ask("undo", {"request_id": _uuid(chance)})
            return
        if chance.random() < 0.3:
            # Several at once, of which nobody else decides any: all are stored, or none.
            begin = chance.randrange(person.own.start, person.own.stop - 3)
            positions = [*range(begin, begin + 3)]
        else:
            positions = [chance.choice(person.shared)]
        versions = self._versions(positions)
        decisions = [_decision(chance, position, versions[position]) for position in positions]
        self.ask("decisions", {"decisions": decisions})

    def ask(self, kind: str, body: dict[str, Any]) -> None:
        """Send a request until it is answered, with what is written to the journal before and after."""
        self._write({"sent": kind, "body": body})
        answer = self._answer("POST", kind, json=body)
        self._write({"answered": _first_id(body), "results": answer["results"]})

    def _versions(self, positions: list[int]) -> dict[int, int]:
        answer = self._answer("GET", "rows", params={"positions": ",".join(map(str, positions))})
        return {row["position"]: row["version"] for row in answer["rows"]}

    def _answer(self, method: str, what: str, **sent: Any) -> dict[str, Any]:
        give_up = time.monotonic() + _MOST_SECONDS
        while True:
            problem = ""
            try:
                answer = self._client.request(method, f"{self._path}/{what}", **sent)
            except httpx.TransportError as error:
                problem = repr(error)
            else:
                if answer.status_code == 200:
                    return dict(answer.json())
                problem = answer.text
                assert answer.status_code == 503, problem
            assert time.monotonic() < give_up, problem
            time.sleep(0.05)

    def _write(self, entry: dict[str, Any]) -> None:
        # In one write, which a kill does not divide.
        self._journal.write(json.dumps(entry) + "\n")
        self._journal.flush()


def _decision(chance: Random, position: int, version: int) -> dict[str, Any]:
    state = chance.choice(_STATES)
    targets = [{"concept_id": chance.choice(CONCEPTS)}] if state == "approved" else []
    rank = chance.choice((1, 2, None)) if targets else None
    return {
        "position": position,
        "version": version,
        "request_id": _uuid(chance),
        "state": state,
        "targets": targets,
        "equivalence": "EQUAL" if targets else "UNREVIEWED",
        "comment": f"by {chance.random()}",
        "revision": 1,
        "rank": rank,
    }


def _uuid(chance: Random) -> str:
    return str(UUID(int=chance.getrandbits(128), version=4))


def _first_id(body: dict[str, Any]) -> str:
    return str(body.get("request_id") or body["decisions"][0]["request_id"])


@dataclass(frozen=True, kw_only=True)
class Promise:
    """A request, and its answer, None before there is one."""

    kind: str
    body: dict[str, Any]
    results: list[dict[str, Any]] | None

    @property
    def request_ids(self) -> list[str]:
        """Of its decisions."""
        if self.kind == "undo":
            return [self.body["request_id"]]
        return [one["request_id"] for one in self.body["decisions"]]


def promises(journal: Path) -> list[Promise]:
    """Everything that was asked, each once, in order."""
    found: dict[str, Promise] = {}
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    for line in lines:
        entry = json.loads(line)
        if "sent" in entry:
            made = Promise(kind=entry["sent"], body=entry["body"], results=None)
            found.setdefault(_first_id(made.body), made)
        else:
            request_id = entry["answered"]
            found[request_id] = replace(found[request_id], results=entry["results"])
    return [*found.values()]


def unanswered(journal: Path) -> list[tuple[str, dict[str, Any]]]:
    """The requests that were not answered."""
    return [(one.kind, one.body) for one in promises(journal) if one.results is None]
