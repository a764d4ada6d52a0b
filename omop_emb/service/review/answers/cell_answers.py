"""Cell answers: what the cells that people fill say about a term, and which of them were changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from omop_emb.errors import InputError
from omop_emb.mapping.approvals.review_words import Verdict as Said, read_verdict
from omop_emb.mapping.approvals.reviewed_table import read_concept_ids
from omop_emb.mapping.files.usagi_file import MAPS_TO, OLD_MAPPING_TYPES
from omop_emb.records import MAX_CONCEPT_ID, counted
from omop_emb.service.review.decision_records import (
    MAPPING_TYPES,
    Equivalence,
    ReviewState,
    Target,
    Verdict,
)
from omop_emb.service.review.exports.review_columns import (
    ANSWERS,
    CHOICE,
    COMMENT,
    CONCEPT_IDS,
    DECISION,
    EQUIVALENCE,
    MAPPING_TYPE,
    answer_cells,
    candidate_column,
)

_STATES = {
    "": ReviewState.UNREVIEWED,
    "flag": ReviewState.FLAGGED,
    "flagged": ReviewState.FLAGGED,
    "ignore": ReviewState.IGNORED,
    "ignored": ReviewState.IGNORED,
}
_SAID = {Said.APPROVED: ReviewState.APPROVED, Said.NO_MATCH: ReviewState.NO_MATCH}
_ID = re.compile(r"\s*(\d{1,10})\b")
_NUMBER = re.compile(r"([0-9]{1,3})(?:\.0+)?")
_TYPES = {words: name for name, words in MAPPING_TYPES.items()} | {
    name.casefold(): name for name in MAPPING_TYPES
}
_TYPES |= {old.casefold(): name for old, name in OLD_MAPPING_TYPES.items()}
_EQUIVALENCES = {one.words: one for one in Equivalence} | {one.value.casefold(): one for one in Equivalence}
_EQUIVALENCES[""] = Equivalence.UNREVIEWED


def candidates_of(cells: Mapping[str, str]) -> list[int]:
    """The concept ids of the candidates that a row shows, best first; 0 for what is none."""
    found, number = list[int](), 1
    while (text := cells.get(candidate_column(number))) is not None:
        match = _ID.match(text)
        found.append(int(match[1]) if match else 0)
        number += 1
    while found and not found[-1]:
        found.pop()
    return found


def read_answer(cells: Mapping[str, str], before: Verdict) -> Verdict | None:
    """What a row says now; None if it says what it said when it was written, with a verdict.

    Raises:
        InputError: it cannot be understood; says which cell, and never its text.
    """
    candidates = candidates_of(cells)
    expected = answer_cells(before, candidates)
    changed = {name for name in ANSWERS if name in cells and _plain(cells[name]) != _plain(expected[name])}
    if not changed:
        return None
    now = {name: cells.get(name, expected[name]).strip() for name in ANSWERS}
    state = _state(now[DECISION])
    # Who fills in a concept, and nothing else, has approved it.
    if state is ReviewState.UNREVIEWED and before.state is state and _names_concept(now, changed):
        state = ReviewState.APPROVED
    targets = _targets(state, now, changed, before, candidates)
    verdict = Verdict(
        state=state,
        targets=targets,
        equivalence=_equivalence(state, now[EQUIVALENCE], before if EQUIVALENCE not in changed else None),
        comment=now[COMMENT] if COMMENT in changed else before.comment,
    )
    return None if verdict == before else verdict


def _names_concept(now: Mapping[str, str], changed: set[str]) -> bool:
    return any(name in changed and bool(now[name]) for name in (CHOICE, CONCEPT_IDS))


def _state(text: str) -> ReviewState:
    word = _plain(text).casefold()
    said = _SAID.get(read_verdict(text) or Said.UNDECIDED)
    found = _STATES.get(word, said)
    if found is None:
        raise InputError(f"{DECISION!r} says neither approve, no match, flag nor ignore")
    return found


def _targets(
    state: ReviewState,
    now: Mapping[str, str],
    changed: set[str],
    before: Verdict,
    candidates: Sequence[int],
) -> tuple[Target, ...]:
    if state is ReviewState.NO_MATCH and CONCEPT_IDS in changed and now[CONCEPT_IDS]:
        raise InputError(f"it says no match, and {CONCEPT_IDS!r} names a concept")
    if state not in (ReviewState.APPROVED, ReviewState.FLAGGED):
        return ()
    ids = _concept_ids(state, now, changed, before, candidates)
    types = _types(now[MAPPING_TYPE], ids, before if MAPPING_TYPE not in changed else None)
    return tuple(dict.fromkeys(map(Target, ids, types)))


def _concept_ids(
    state: ReviewState,
    now: Mapping[str, str],
    changed: set[str],
    before: Verdict,
    candidates: Sequence[int],
) -> list[int]:
    chosen = _chosen(now[CHOICE], candidates) if CHOICE in changed and now[CHOICE] else 0
    if CONCEPT_IDS in changed:
        ids = read_concept_ids(now[CONCEPT_IDS])
        if ids is None or not all(0 < one <= MAX_CONCEPT_ID for one in ids):
            raise InputError(f"{CONCEPT_IDS!r} holds no concept ids")
        if chosen and ids and chosen not in ids:
            raise InputError(f"{CHOICE!r} and {CONCEPT_IDS!r} name different concepts")
        if ids or not chosen:
            if not ids and state is ReviewState.APPROVED:
                raise InputError(f"approved, and {CONCEPT_IDS!r} is empty: write an id, or no match")
            return list(ids)
    if chosen:
        return [chosen]
    if before.targets or state is ReviewState.FLAGGED:
        return [target.concept_id for target in before.targets]
    if candidates and candidates[0]:
        return [candidates[0]]
    raise InputError(f"approved, and there is no candidate: write an id in {CONCEPT_IDS!r}, or no match")


def _chosen(text: str, candidates: Sequence[int]) -> int:
    match = _NUMBER.fullmatch(text)  # pandas writes 1.0 for 1
    number = int(match[1]) if match else 0
    if not 1 <= number <= len(candidates) or not candidates[number - 1]:
        raise InputError(f"{CHOICE!r} is not the number of a candidate of this row")
    return candidates[number - 1]


def _types(text: str, ids: Sequence[int], before: Verdict | None) -> list[str]:
    """The mapping type of each id: as written, or as it was before."""
    if before is not None:
        known = {target.concept_id: target.mapping_type for target in before.targets}
        if ids == [target.concept_id for target in before.targets]:
            return [target.mapping_type for target in before.targets]
        return [known.get(one, MAPS_TO) for one in ids]
    written = [_plain(part).casefold() for part in re.split(r"[;,|]", text) if part.strip()]
    if not written:
        return [MAPS_TO] * len(ids)
    if unknown := [part for part in written if part not in _TYPES]:
        listed = ", ".join(MAPPING_TYPES.values())
        raise InputError(f"{MAPPING_TYPE!r} is none of {listed} ({len(unknown)} of them)")
    if len(written) != len(ids):
        raise InputError(f"{MAPPING_TYPE!r} has {len(written)} types for {counted(len(ids), 'concept')}")
    return [_TYPES[part] for part in written]


def _equivalence(state: ReviewState, text: str, before: Verdict | None) -> Equivalence:
    """What a cell says; where it was not changed, as before as far as that fits the state."""
    if before is None:
        found = _EQUIVALENCES.get(_plain(text).casefold())
        if found is None:
            raise InputError(f"{EQUIVALENCE!r} is none of the words that the column offers")
        return found
    if state is ReviewState.NO_MATCH:
        return Equivalence.UNMATCHED
    if state is ReviewState.UNREVIEWED or before.state is ReviewState.NO_MATCH:
        return Equivalence.UNREVIEWED
    return before.equivalence


def _plain(text: str) -> str:
    return " ".join(text.split())
