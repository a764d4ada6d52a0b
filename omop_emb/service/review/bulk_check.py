"""Bulk check: which terms of a review are above a calibrated bound, and what speaks against some of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import psycopg
from psycopg.rows import dict_row

from omop_emb.errors import ConfigurationError
from omop_emb.mapping.ranking import ranker_store
from omop_emb.mapping.ranking.linear import default_ranker
from omop_emb.mapping.ranking.ranker import Ranker
from omop_emb.mapping.records import Decision
from omop_emb.service.review.bulk_records import MAX_ROWS, BulkRow, BulkTerms
from omop_emb.spaces import registry
from omop_emb.sql import read

_CHECK_AT_ONCE = 500

# What may speak against a row, in the order in which it is said.
_OBJECTIONS = {
    "has_flags": "the concept differs from the term in a flag",
    "code_disagrees": "the code leads to another concept",
    "twin_disagrees": "the same text was decided differently",
    "judge_disagrees": "the judge chose another concept",
    "was_approved_before": "an earlier approval must be checked",
    "has_values": "a value goes with the concept",
    "is_only_suggested": "only the file suggests the concept",
}
OTHER_RANKER = "its suggestion is from another ranker, and is being updated in the background"
NOT_ABOVE = "it is no longer above the bound"


def usable_ranker(
    connection: psycopg.Connection[Any], site: str, terms: BulkTerms
) -> tuple[Ranker | None, str]:
    """The ranker whose probabilities count now, and why none can be used, "" if one can."""
    space = registry.active_space(connection)
    own = ranker_store.active_ranker(connection, site, space.fingerprint.digest)
    ranker: Ranker = own or default_ranker()
    is_calibrated = ranker.calibration is not None and ranker.fingerprint == space.fingerprint.digest
    try:
        terms.policy.check(ranker, calibrated=is_calibrated)
    except ConfigurationError:
        if not is_calibrated:
            return None, "this space has no probabilities yet: train on what was approved here first"
        return None, (
            "thresholds learned at other hospitals do not hold here (.95 became .79): train on what was "
            "approved here, or accept thresholds from elsewhere"
        )
    return ranker, ""


def qualifying_rows(
    connection: psycopg.Connection[Any],
    project_id: int,
    terms: BulkTerms,
    ranker: Ranker,
    positions: Collection[int] | None,
) -> tuple[list[BulkRow], dict[int, str], bool]:
    """Rows to approve, terms above the bound that are left out and why, and whether there are more."""
    assert ranker.calibration is not None  # noqa: S101 - a policy's check is that it has one
    bounds = [
        bound
        for domain in ranker.calibration.curves
        if (bound := ranker.calibration.threshold(terms.precision, domain)) is not None
    ]
    rows: list[BulkRow] = []
    left_out: dict[int, str] = {}
    if not bounds:
        return rows, left_out, False
    found = _rows(
        connection,
        "review_bulk_candidates",
        # Stored as real: a little lower, so that rounding loses none.
        {
            "project": project_id,
            "least": min(bounds) - 1e-6 if positions is None else 0,
            "positions": None if positions is None else list(positions),
        },
    )
    for start in range(0, len(found), _CHECK_AT_ONCE):
        part = {row["position"]: row for row in found[start : start + _CHECK_AT_ONCE]}
        evidence = _rows(connection, "review_bulk_evidence", {"project": project_id, "positions": list(part)})
        by_position = {one["position"]: one for one in evidence}
        for position, row in part.items():
            one = by_position.get(position)
            if one is None:
                continue
            objection = _objection(one, row["concept_domain"], terms, ranker)
            if objection == NOT_ABOVE and positions is None:
                continue
            if objection:
                left_out[position] = objection
            elif len(rows) == MAX_ROWS:
                return rows, left_out, True
            else:
                rows.append(_row(row, one))
    return rows, left_out, False


def _objection(evidence: Mapping[str, Any], domain: str, terms: BulkTerms, ranker: Ranker) -> str:
    """What speaks against a row; "" for nothing."""
    if evidence["ranker"] != ranker.name or evidence["fingerprint"] != ranker.fingerprint:
        return OTHER_RANKER
    probability = evidence["probability"] if evidence["is_calibrated"] else None
    if terms.policy.decide(probability, domain, ranker)[0] is not Decision.ACCEPT:
        return NOT_ABOVE
    return next((words for name, words in _OBJECTIONS.items() if evidence[name]), "")


def _row(row: Mapping[str, Any], evidence: Mapping[str, Any]) -> BulkRow:
    return BulkRow(
        position=row["position"],
        version=evidence["version"],
        revision=evidence["revision"],
        source_code=row["source_code"],
        source_name=row["source_name"],
        concept_id=evidence["concept_id"],
        concept_name=evidence["concept_name"] or "",
        domain=row["concept_domain"],
        probability=evidence["probability"],
    )


def _rows(
    connection: psycopg.Connection[Any], query: str, parameters: Mapping[str, Any]
) -> list[dict[str, Any]]:
    return connection.cursor(row_factory=dict_row).execute(read(query), parameters).fetchall()
