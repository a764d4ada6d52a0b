"""Usagi answers: what was decided in Usagi in a file that a review was written as."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from omop_emb.mapping.files.disk_buffer import DiskBuffer
from omop_emb.mapping.files.usagi_file import UsagiFile, UsagiMapping
from omop_emb.records import counted
from omop_emb.service.review.answers.answer_records import Answer, Tally
from omop_emb.service.review.decision_records import (
    Action,
    Equivalence,
    ReviewState,
    StoredDecision,
    Verdict,
)
from omop_emb.service.review.decision_store import histories
from omop_emb.service.review.exports.new_usagi_file import POSITION, VERSION
from omop_emb.service.review.exports.stored_file import as_usagi, stored_file, stored_table
from omop_emb.service.review.exports.usagi_original import usagi_says
from omop_emb.service.review.exports.usagi_verdict import usagi_verdict
from omop_emb.service.review.project_records import Project

_ROWS = 500  # source codes that are compared at once
_INVALID = "INVALID_TARGET"
_NAME = re.compile(r"\S.{0,199}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Before:
    """What the review's own file says about a term, and since when."""

    verdict: Verdict
    status: str
    set_on: int


@dataclass(frozen=True, slots=True)
class _Changed:
    """A changed row, of which it is not known yet which decisions the person saw."""

    answer: Answer
    decided_on: tuple[int, ...]  # of each version, in milliseconds; 0 for what came with the review's file


_NOTHING = _Before(Verdict(state=ReviewState.UNREVIEWED), "UNCHECKED", 0)


def usagi_answers(
    connection: psycopg.Connection[Any], project: Project, file: UsagiFile, tally: Tally
) -> Iterator[list[Answer]]:
    """What was changed in Usagi, some hundred source codes at a time.

    A row that says what the review said once, with the time of that decision, was not changed. A file that
    is not Usagi's own from before names the version of each term. In the others, who changed a row has seen
    the decisions up to the latest whose time is in the file; one that was made later is a conflict.
    """
    with _OwnFile(connection, project) as own, DiskBuffer[_Changed]() as unsure:
        reader = _Reader(connection, project, file, own, tally)
        mappings = (mapping for mapping in file.mappings() if any(mapping.rows) or mapping.problem)
        while batch := list(islice(mappings, _ROWS)):
            known = []
            for changed in reader.changed(batch):
                if changed.answer.version >= 0:
                    known.append(changed.answer)
                else:
                    unsure.append(changed)
            yield known
        if reader.invalid:
            tally.notes.append(
                f"{counted(reader.invalid, 'source code has', 'source codes have')} a target that "
                "Usagi's vocabulary does not know: what "
                "the review says of them stays"
            )
        ready: list[Answer] = []
        for changed in unsure:
            seen = [time <= reader.latest_seen for time in changed.decided_on]
            version = seen.index(False) if False in seen else len(seen)
            ready.append(replace(changed.answer, version=version))
            if len(ready) == _ROWS:
                yield ready
                ready = []
        yield ready


class _Reader:
    """Compares the mappings of a file with what the review said at any time."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        project: Project,
        file: UsagiFile,
        own: _OwnFile,
        tally: Tally,
    ) -> None:
        self.latest_seen = self.invalid = 0
        self._connection, self._project_id, self._own = connection, project.project_id, own
        self._headers, self._tally = frozenset(file.headers), tally
        self._seen = set[int]()

    def changed(self, mappings: Sequence[UsagiMapping]) -> Iterator[_Changed]:
        """The changed ones; others, and those that cannot be used, are counted."""
        placed = []
        for mapping in mappings:
            if mapping.problem and not mapping.rows[0]:
                continue  # a blank line
            self._tally.rows += 1
            if mapping.problem:
                self._tally.problem(mapping.line, mapping.problem)
            elif (position := self._position(mapping)) is None:
                self._tally.problem(mapping.line, "its code and name are no term of the review")
            else:
                placed.append((mapping, position))
        past = histories(self._connection, self._project_id, [position for _, position in placed])
        for mapping, position in placed:
            changed = self._compare(mapping, position, past.get(position, []))
            if changed is None:
                self._tally.unchanged += 1
            else:
                yield changed

    def _position(self, mapping: UsagiMapping) -> int | None:
        """Of the term that a mapping belongs to, each once."""
        named = mapping.rows[0].get(POSITION, "")
        positions = self._own.positions.get(_key(*mapping.key), [])
        wanted = [int(named)] if named.isascii() and named.isdecimal() and len(named) < 10 else positions
        free = [position for position in wanted if position in positions and position not in self._seen]
        if not free:
            return None
        self._seen.add(free[0])
        return free[0]

    def _compare(
        self, mapping: UsagiMapping, position: int, past: Sequence[StoredDecision]
    ) -> _Changed | None:
        row, before = mapping.rows[0], self._own.before(position)
        self._note_times(mapping, past)
        if mapping.status == _INVALID and before.status != _INVALID:
            self.invalid += 1
            return None
        said, set_on = usagi_verdict(mapping), _milliseconds(row.get("statusSetOn", ""))
        for version in range(len(past), -1, -1):
            decision = past[version - 1] if version else None
            then = before.verdict if decision is None else usagi_says(before.verdict, decision.verdict)
            is_stamped = set_on == (before.set_on if decision is None else _time_of(decision))
            is_latest = version == len(past)
            if self._is_same(said, then) and (is_latest or is_stamped):
                return None
        written = row.get(VERSION, "")
        is_known = written.isascii() and written.isdecimal() and int(written) <= len(past)
        author = row.get("statusSetBy", "").strip()
        answer = Answer(
            line=mapping.line,
            position=position,
            version=int(written) if is_known else -1,
            verdict=_answer_verdict(said),
            reviewer=author if _NAME.fullmatch(author) and author.isprintable() else "",
        )
        times = tuple(
            0 if number == 1 and decision.action is Action.IMPORT else _milliseconds_of(decision)
            for number, decision in enumerate(past, start=1)
        )
        return _Changed(answer, times)

    def _note_times(self, mapping: UsagiMapping, past: Sequence[StoredDecision]) -> None:
        """Note the latest decision of the review that is in the file."""
        written = {
            _milliseconds(row.get(name, "")) for row in mapping.rows for name in ("statusSetOn", "createdOn")
        }
        times = {_milliseconds_of(decision) for decision in past} & written
        self.latest_seen = max(self.latest_seen, *times, 0)

    def _is_same(self, said: Verdict, then: Verdict) -> bool:
        if said.state is not then.state:
            return False
        if "comment" in self._headers and _text(said.comment) != _text(then.comment):
            return False
        if said.state is ReviewState.UNREVIEWED:
            return True
        is_compared = "equivalence" in self._headers
        return set(said.targets) == set(then.targets) and (
            not is_compared or said.equivalence is then.equivalence
        )


class _OwnFile:
    """The terms of the review by code and name, and what its own file says about them if it is Usagi's."""

    def __init__(self, connection: psycopg.Connection[Any], project: Project) -> None:
        self.positions: dict[tuple[str, str], list[int]] = {}
        self._offsets: dict[int, int] = {}
        self._buffer: DiskBuffer[_Before] = DiskBuffer()
        lines: dict[int, int] = {}
        with connection.cursor(name="review_keys", row_factory=tuple_row) as cursor:
            cursor.execute(
                "select position, line, source_code, source_name from omop_emb.review_term "
                "where project_id = %s order by position",
                (project.project_id,),
            )
            for position, line, code, name in cursor:
                self.positions.setdefault(_key(code, name), []).append(position)
                lines[line] = position
        with stored_file(connection, project) as source:
            own = as_usagi(stored_table(source, project.settings))
            for mapping in own.mappings() if own is not None else ():
                if not mapping.problem and mapping.line in lines:
                    set_on = _milliseconds(mapping.rows[0].get("statusSetOn", ""))
                    before = _Before(usagi_verdict(mapping), mapping.status, set_on)
                    self._offsets[lines[mapping.line]] = self._buffer.append(before)

    def before(self, position: int) -> _Before:
        """What the review's file says about a term."""
        offset = self._offsets.get(position)
        return _NOTHING if offset is None else self._buffer.read(offset)

    def __enter__(self) -> _OwnFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._buffer.__exit__(*error)


def _answer_verdict(said: Verdict) -> Verdict:
    """A verdict as a decision: Usagi keeps targets where they say nothing."""
    keeps_targets = said.state in (ReviewState.APPROVED, ReviewState.FLAGGED)
    is_open = said.state is ReviewState.UNREVIEWED
    return Verdict(
        state=said.state,
        targets=said.targets if keeps_targets else (),
        equivalence=Equivalence.UNREVIEWED if is_open else said.equivalence,
        comment=_unescaped(said.comment),
    )


def _time_of(decision: StoredDecision) -> int:
    """The time that Usagi's file has for a decision: none for a term that was opened again."""
    return 0 if decision.verdict.state is ReviewState.UNREVIEWED else _milliseconds_of(decision)


def _milliseconds_of(decision: StoredDecision) -> int:
    return round(decision.decided_at.timestamp() * 1000)


def _milliseconds(text: str) -> int:
    stripped = text.strip()
    return int(stripped) if stripped.isascii() and stripped.isdecimal() and len(stripped) < 19 else 0


def _key(code: str, name: str) -> tuple[str, str]:
    return _text(code), _text(name)


def _text(text: str) -> str:
    """A text without what Usagi changes when it saves it."""
    return " ".join(_unescaped(text).split())


def _unescaped(text: str) -> str:
    r"""Line breaks and backslashes as they were meant: Usagi reads a written \n as two letters."""
    return text.replace("\r", "").replace("\\\\", "\\").replace("\\n", "\n")
