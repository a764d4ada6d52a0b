"""Vote samples: terms that were decided and are to be decided again blind, drawn by a recorded seed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import numpy as np
import psycopg
from psycopg.rows import dict_row, tuple_row

from omop_emb.database.fetch import fetch_value
from omop_emb.errors import InputError
from omop_emb.records import counted
from omop_emb.service.review.decision_records import reviewer_name
from omop_emb.sql import read
from omop_emb.vocabulary import reader

_MOST_SEED = 2**31 - 1


class SampleKind(Enum):
    """What a sample is for."""

    SECOND_VOTE = "second vote"
    AUDIT = "audit"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Terms that are decided a second time.

    Attributes:
        reviewer: who is asked, "" for anybody but who decided.
        population: decided terms that could be drawn.
        seed: of the draw, and of the order in which candidates are shown.
        terms: how many were drawn.
        voted: on how many of them a second person has voted.
    """

    sample_id: int
    project_id: int
    kind: SampleKind
    reviewer: str
    population: int
    seed: int
    created_by: str
    created_at: datetime
    terms: int
    voted: int


@dataclass(frozen=True, slots=True)
class _Decided:
    """A term that can be drawn."""

    position: int
    version: int
    domain: str


def draw_sample(
    connection: psycopg.Connection[Any],
    project_id: int,
    created_by: str,
    *,
    kind: SampleKind,
    reviewer: str = "",
    size: int | None = None,
    seed: int | None = None,
    domain: str | None = None,
) -> Sample:
    """Draw decided terms that a second person decides again; the caller commits.

    For second votes terms that are approved or have no match, each domain in proportion; for an audit
    approved terms, each with the same chance. What the named reviewer has decided is not drawn; without a
    name, anybody is asked but who decided. All are drawn by default, of a domain only those that were decided
    for it. The same seed draws the same terms of the same decisions.

    Raises:
        InputError: there is nothing to draw, or an argument is out of its range.
    """
    name = reviewer_name(reviewer) if reviewer.strip() else ""
    seed = secrets.randbelow(_MOST_SEED) if seed is None else seed
    if not 0 <= seed <= _MOST_SEED:
        raise InputError(f"a seed is a number from 0 to {_MOST_SEED}; found {seed}")
    terms = _population(connection, project_id, kind, name)
    terms = terms if domain is None else [term for term in terms if term.domain == domain]
    if not terms:
        who = f" that {name} has not decided" if name else ""
        what = "approved terms" if kind is SampleKind.AUDIT else "decided terms"
        raise InputError(f"a sample needs {what}{who}, and there are none: decide some first")
    size = len(terms) if size is None else size
    if not 1 <= size <= len(terms):
        raise InputError(
            f"a sample has from 1 to {counted(len(terms), 'term')}, as many as there are; found {size}"
        )
    drawn = draw(terms, size, seed, in_proportion=kind is SampleKind.SECOND_VOTE)
    sample_id = fetch_value(
        connection,
        "insert into omop_emb.review_sample (project_id, kind, reviewer, population, seed, created_by) "
        "values (%s, %s, %s, %s, %s, %s) returning sample_id",
        (project_id, kind.value, name, len(terms), seed, reviewer_name(created_by)),
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into omop_emb.review_sample_term (sample_id, project_id, position, version, domain) "
            "values (%s, %s, %s, %s, %s)",
            [(sample_id, project_id, one.position, one.version, one.domain) for one in drawn],
        )
    return find_sample(connection, project_id, int(sample_id or 0))


def list_samples(connection: psycopg.Connection[Any], project_id: int) -> list[Sample]:
    """The samples of a project, the latest first."""
    return _samples(connection, project_id, None)


def find_sample(connection: psycopg.Connection[Any], project_id: int, sample_id: int) -> Sample:
    """A sample of a project.

    Raises:
        InputError: the project has none of that number.
    """
    found = _samples(connection, project_id, sample_id)
    if not found:
        raise InputError(f"the review has no sample {sample_id}: its page on second votes lists them")
    return found[0]


def population_size(connection: psycopg.Connection[Any], project_id: int, kind: SampleKind) -> int:
    """How many decided terms a sample of a kind can be drawn from."""
    return len(_population(connection, project_id, kind, ""))


def draw(terms: Sequence[_Decided], size: int, seed: int, *, in_proportion: bool) -> list[_Decided]:
    """Some of these terms by a seed, in the order of the file; each domain in proportion, or all alike."""
    random = np.random.default_rng(seed)
    strata: dict[str, list[_Decided]] = {}
    for term in terms:
        strata.setdefault(term.domain if in_proportion else "", []).append(term)
    sizes = _proportional({name: len(strata[name]) for name in sorted(strata)}, size)
    chosen = [
        strata[name][number]
        for name in sorted(strata)
        for number in random.choice(len(strata[name]), sizes[name], replace=False)
    ]
    return sorted(chosen, key=lambda term: term.position)


def _proportional(counts: Mapping[str, int], size: int) -> dict[str, int]:
    """`size` divided in proportion to counts, the largest remainders rounded up."""
    total = sum(counts.values())
    exact = {name: size * count / total for name, count in counts.items()}
    sizes = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(counts, key=lambda name: (sizes[name] - exact[name], name))
    for name in by_remainder[: size - sum(sizes.values())]:
        sizes[name] += 1
    return sizes


def _population(
    connection: psycopg.Connection[Any], project_id: int, kind: SampleKind, reviewer: str
) -> list[_Decided]:
    """The terms that can be drawn, with the domain of their first target, or of what was looked for."""
    states = ["approved"] if kind is SampleKind.AUDIT else ["approved", "no match"]
    rows = (
        connection.cursor(row_factory=tuple_row)
        .execute(
            read("review_sample_population"), {"project": project_id, "states": states, "reviewer": reviewer}
        )
        .fetchall()
    )
    concepts = reader.concepts_by_id(connection, {target for _, _, target, _ in rows if target})
    return [
        _Decided(
            position, version, (concepts[target].domain_id if target in concepts else None) or domain or ""
        )
        for position, version, target, domain in rows
    ]


def _samples(connection: psycopg.Connection[Any], project_id: int, sample_id: int | None) -> list[Sample]:
    rows = connection.cursor(row_factory=dict_row).execute(
        read("review_samples"), {"project": project_id, "sample": sample_id}
    )
    return [Sample(**{**row, "kind": SampleKind(row["kind"])}) for row in rows]
