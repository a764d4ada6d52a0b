"""Review statistics: states, work and speed, and what the decisions say about the probabilities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg

from omop_emb.database.fetch import fetch_value
from omop_emb.service.review.corrected_probabilities import review_shift
from omop_emb.service.review.decision_records import ReviewState
from omop_emb.service.review.statistics_records import (
    CoveragePoint,
    DomainStates,
    HourOfWork,
    ReliabilityBin,
    ReviewerWork,
    ReviewStatistics,
    Share,
    StateCount,
)
from omop_emb.sql import read

LONGEST_SECONDS = 300
"""From one decision to the next; what takes longer is a break, and no part of the speed."""
WAYS = {
    "first suggestion": "first suggestion",
    "other candidate": "other candidate",
    "searched": "searched for",
    "no match": "no match",
    "bulk": "in bulk",
    "import": "in the file",
    "flagged": "flagged",
    "ignored": "ignored",
}
"""How terms are decided, and each in words."""
_BINS = 10  # of the reliability diagram
_FEWEST = 10  # terms of a point: the precision of fewer says nothing
_MOST_POINTS = 80


def review_statistics(connection: psycopg.Connection[Any], project_id: int) -> ReviewStatistics:
    """What a review has come to so far, of one moment; all of it is 0 for a project without terms."""
    found = fetch_value(
        connection, read("review_statistics"), {"project": project_id, "longest": LONGEST_SECONDS}
    )
    states, domains = _states(found["states"])
    calibration = [(row["thousandths"] / 1000, row["terms"], row["first"]) for row in found["calibration"]]
    return ReviewStatistics(
        states=states,
        domains=domains,
        reviewers=_reviewers(found["reviewers"], found["standing"]),
        hours=tuple(
            HourOfWork(
                hour=datetime.fromisoformat(row["hour"]),
                decisions=row["acts"],
                terms=row["terms"],
                reviewers=row["reviewers"],
                seconds=row["seconds"],
            )
            for row in found["hours"]
        ),
        ways={way: _sum(found["standing"], way=way) for way in WAYS},
        reliability=_reliability(calibration),
        coverage=_coverage(calibration),
        quarters=tuple(Share(row["first"], row["terms"]) for row in found["quarters"]),
        shift=review_shift(connection, project_id),
    )


def _states(
    rows: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, StateCount], tuple[DomainStates, ...]]:
    by_domain: dict[str, dict[str, StateCount]] = {}
    for row in rows:
        count = StateCount(row["terms"], row["frequency"])
        by_domain.setdefault(row["domain"], {})[row["state"]] = count
    domains = [DomainStates(domain=domain, states=_of_all_states(own)) for domain, own in by_domain.items()]
    total = {
        state.value: StateCount(
            sum(one.states[state.value].terms for one in domains),
            sum(one.states[state.value].frequency for one in domains),
        )
        for state in ReviewState
    }
    return total, tuple(sorted(domains, key=lambda one: (-one.terms, one.domain)))


def _of_all_states(states: Mapping[str, StateCount]) -> dict[str, StateCount]:
    return {state.value: states.get(state.value, StateCount(0, 0)) for state in ReviewState}


def _reviewers(
    work: Iterable[Mapping[str, Any]], standing: Sequence[Mapping[str, Any]]
) -> tuple[ReviewerWork, ...]:
    by_name = {row["reviewer"]: row for row in work}
    nothing: dict[str, Any] = {"acts": 0, "terms": 0, "seconds": None, "last_at": None}
    reviewers = []
    for name in sorted({*by_name, *(row["reviewer"] for row in standing)}):
        row = by_name.get(name, nothing)
        states = Counter[str]()
        for one in standing:
            if one["reviewer"] == name:
                states[one["state"]] += one["terms"]
        reviewers.append(
            ReviewerWork(
                reviewer=name,
                decisions=row["acts"],
                terms=row["terms"],
                states=dict(states),
                ways={way: _sum(standing, way=way, reviewer=name) for way in WAYS},
                seconds=row["seconds"],
                last_at=datetime.fromisoformat(row["last_at"]) if row["last_at"] else None,
            )
        )
    return tuple(reviewers)


def _sum(rows: Iterable[Mapping[str, Any]], **wanted: str) -> int:
    return sum(row["terms"] for row in rows if all(row[name] == value for name, value in wanted.items()))


def _reliability(calibration: Sequence[tuple[float, int, int]]) -> tuple[ReliabilityBin, ...]:
    """Equal parts of the scale; those without terms are left out."""
    bins = []
    for number in range(_BINS):
        own = [row for row in calibration if min(int(row[0] * _BINS), _BINS - 1) == number]
        terms = sum(count for _, count, _ in own)
        if terms:
            bins.append(
                ReliabilityBin(
                    low=number / _BINS,
                    high=(number + 1) / _BINS,
                    mean=sum(probability * count for probability, count, _ in own) / terms,
                    first=Share(sum(first for _, _, first in own), terms),
                )
            )
    return tuple(bins)


def _coverage(calibration: Sequence[tuple[float, int, int]]) -> tuple[CoveragePoint, ...]:
    """From few terms of high probability to all of them; terms of equal probability belong together."""
    total = sum(count for _, count, _ in calibration)
    points: list[CoveragePoint] = []
    covered = right = 0
    for probability, count, first in reversed(calibration):
        covered, right = covered + count, right + first
        if covered >= min(_FEWEST, total):
            points.append(
                CoveragePoint(threshold=probability, coverage=covered / total, first=Share(right, covered))
            )
    if len(points) > _MOST_POINTS:
        step = (len(points) - 1) / (_MOST_POINTS - 1)
        points = [points[round(number * step)] for number in range(_MOST_POINTS)]
    return tuple(points)
