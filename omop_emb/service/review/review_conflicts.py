"""Review conflicts: decisions that do not fit each other, or the vocabulary; computed, whoever made them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.rows import dict_row, tuple_row

from omop_emb.errors import InputError
from omop_emb.records import Concept
from omop_emb.service.review.conflict_dismissals import dismissals
from omop_emb.service.review.conflict_records import (
    Conflict,
    ConflictKind,
    ConflictTerm,
    DecidedTerm,
    make_conflict,
)
from omop_emb.service.review.decision_records import ReviewState, Target
from omop_emb.service.review.known_conflicts import KnownConflicts
from omop_emb.service.review.target_checks import (
    find_domain_conflicts,
    find_exact_names,
    find_status_conflicts,
)
from omop_emb.service.review.term_contrasts import find_contrasts
from omop_emb.service.review.vote_differences import differences
from omop_emb.sql import read
from omop_emb.vocabulary import reader

_MOST_PEERS = 500  # of each sort, that a decision about to be made is compared with
_KNOWN = KnownConflicts()
_ORDER = {kind: number for number, kind in enumerate(ConflictKind)}


def find_conflicts(
    connection: psycopg.Connection[Any], project_id: int, *, kinds: Collection[ConflictKind] = ()
) -> list[Conflict]:
    """The conflicts of a project's approved terms, with those called right; those that are certain first.

    Only of some kinds if there are any in `kinds`.
    """
    found = _KNOWN.find(connection, project_id, _find_all)
    called_right = dismissals(connection, project_id)
    return [
        replace(one, dismissal=called_right[one.key]) if one.key in called_right else one
        for one in found
        if not kinds or one.kind in kinds
    ]


def _find_all(connection: psycopg.Connection[Any], project_id: int) -> list[Conflict]:
    terms = _decided_terms(connection, project_id, None)
    concepts = reader.concepts_by_id(connection, _target_ids(terms))
    found = list(_among(connection, terms, concepts))
    found += _same_codes(terms)
    found += find_contrasts(terms, concepts)
    found += _overridden(connection, project_id, None)
    found += _voted_otherwise(connection, project_id)
    return sorted(found, key=lambda one: (not one.is_certain, _ORDER[one.kind], one.terms[0].term.position))


def conflicts_of_term(
    connection: psycopg.Connection[Any],
    project_id: int,
    position: int,
    targets: Sequence[Target] | None = None,
) -> list[Conflict]:
    """The conflicts of one term that nobody has called right: as decided, or if it had these targets.

    It is compared with the first few hundred terms that share its code, name or targets.

    Raises:
        InputError: the project has no such term.
    """
    own = _own_term(connection, project_id, position, targets)
    if own is None:
        return []
    parameters = {
        "project": project_id,
        "position": position,
        "targets": list(own.mappings),
        "limit": _MOST_PEERS,
    }
    rows = connection.cursor(row_factory=tuple_row).execute(read("review_conflict_peers"), parameters)
    peers = _decided_terms(connection, project_id, [peer for (peer,) in rows])
    terms = sorted([own, *peers], key=lambda term: term.position)
    concepts = reader.concepts_by_id(connection, _target_ids(terms))
    found = list(_among(connection, [own], concepts))
    found += _same_codes(terms)
    found += find_contrasts(terms, concepts)
    found += _overridden(connection, project_id, [position]) if targets is None else []
    called_right = dismissals(connection, project_id)
    return [one for one in found if _has(one, position) and one.key not in called_right]


def _has(conflict: Conflict, position: int) -> bool:
    return any(one.term.position == position for one in conflict.terms)


def concepts_of(connection: psycopg.Connection[Any], conflicts: Iterable[Conflict]) -> dict[int, Concept]:
    """Concept id -> concept, of all targets of the terms that some conflicts list."""
    return reader.concepts_by_id(
        connection, _target_ids(one.term for conflict in conflicts for one in conflict.terms)
    )


def _among(
    connection: psycopg.Connection[Any], terms: Sequence[DecidedTerm], concepts: Mapping[int, Concept]
) -> Iterator[Conflict]:
    """What can be said of each term alone."""
    yield from find_status_conflicts(terms, concepts)
    yield from find_domain_conflicts(terms, concepts)
    yield from find_exact_names(connection, terms, concepts)


def _same_codes(terms: Iterable[DecidedTerm]) -> Iterator[Conflict]:
    """Terms of one code that are decided differently, by name and then whatever their names."""
    by_term: dict[tuple[str, str, str], list[DecidedTerm]] = {}
    by_code: dict[str, list[DecidedTerm]] = {}
    for term in terms:
        by_term.setdefault((term.source_code, term.text_key, term.domain), []).append(term)
        if term.source_code:
            by_code.setdefault(term.source_code, []).append(term)
    for (code, name, _), same in by_term.items():
        choices = _choices(same)
        if len(choices) > 1:
            yield make_conflict(
                ConflictKind.SAME_TERM,
                [code, name, choices],
                [ConflictTerm(term=term) for term in same],
                summary=f"the same {'code and name' if code else 'name'} was decided in {len(choices)} ways",
                is_certain=True,
            )
    for code, same in by_code.items():
        choices = _choices(same)
        if len(choices) > 1 and len({term.text_key for term in same}) > 1:
            yield make_conflict(
                ConflictKind.SAME_CODE,
                [code, choices],
                [ConflictTerm(term=term) for term in same],
                summary=f"the same code was decided in {len(choices)} ways, under several names",
            )


def _choices(terms: Sequence[DecidedTerm]) -> list[tuple[str, tuple[tuple[int, str], ...]]]:
    """How some terms were decided, each way once; of one term alone nothing."""
    return [] if len(terms) == 1 else sorted({term.choice for term in terms})


def _overridden(
    connection: psycopg.Connection[Any], project_id: int, positions: Sequence[int] | None
) -> Iterator[Conflict]:
    """Terms whose decision differs from what another person last said."""
    rows = connection.cursor(row_factory=dict_row).execute(
        read("review_overridden"), {"project": project_id, "positions": positions}
    )
    by_position: dict[int, list[DecidedTerm]] = {}
    for row in rows:
        values = {name: value for name, value in row.items() if name != "is_latest"}
        by_position.setdefault(row["position"], []).append(_decided_term(values))
    for position, decisions in by_position.items():
        if len({one.choice for one in decisions}) > 1:
            people = [f"{one.reviewer}" for one in decisions]
            yield make_conflict(
                ConflictKind.REVIEWERS,
                [position, [one.version for one in decisions]],
                [ConflictTerm(term=one, says=one.reviewer or "") for one in decisions],
                aspect="overridden",
                summary=f"{people[-1]} decided otherwise than {' and '.join(people[:-1])}",
            )


def _voted_otherwise(connection: psycopg.Connection[Any], project_id: int) -> Iterator[Conflict]:
    """Terms on which a second vote differs and no third decision has been made; names stay hidden."""
    for one in differences(connection, project_id):
        if one.is_settled:
            continue
        term = DecidedTerm(
            position=one.position,
            source_code=one.source_code,
            source_name=one.source_name,
            domain="",
            text_key="",
            version=one.version,
            state=one.current.state,
            targets=one.current.targets,
        )
        second = replace(term, state=one.second.state, targets=one.second.targets)
        yield make_conflict(
            ConflictKind.REVIEWERS,
            [one.position, one.sample_id, one.vote_id],
            [ConflictTerm(term=term, says="decision"), ConflictTerm(term=second, says="second vote")],
            aspect="second vote",
            summary="a second vote differs: it waits for a third decision",
        )


def _own_term(
    connection: psycopg.Connection[Any], project_id: int, position: int, targets: Sequence[Target] | None
) -> DecidedTerm | None:
    """The term as decided, None if it is not; or as it would be."""
    if targets is None:
        return next(iter(_decided_terms(connection, project_id, [position])), None)
    row = (
        connection.cursor(row_factory=dict_row)
        .execute(
            "select position, source_code, source_name, coalesce(domain, '') as domain, text_key "
            "from omop_emb.review_term where project_id = %s and position = %s",
            (project_id, position),
        )
        .fetchone()
    )
    if row is None:
        raise InputError(f"the review has no term at position {position}")
    state = ReviewState.APPROVED if targets else ReviewState.NO_MATCH
    return DecidedTerm(**row, version=0, state=state, targets=tuple(targets))


def _decided_terms(
    connection: psycopg.Connection[Any], project_id: int, positions: Sequence[int] | None
) -> list[DecidedTerm]:
    rows = connection.cursor(row_factory=dict_row).execute(
        read("review_decided_terms"), {"project": project_id, "positions": positions}
    )
    return [_decided_term(row) for row in rows]


def _decided_term(row: Mapping[str, Any]) -> DecidedTerm:
    targets = tuple(map(_target, row["targets"], row["mapping_types"]))
    values = {name: value for name, value in row.items() if name != "mapping_types"}
    return DecidedTerm(**{**values, "state": ReviewState(row["state"]), "targets": targets})


@lru_cache(maxsize=100_000)
def _target(concept_id: int, mapping_type: str) -> Target:
    return Target(concept_id, mapping_type)


def _target_ids(terms: Iterable[DecidedTerm]) -> set[int]:
    return {target.concept_id for term in terms for target in term.targets}
