"""A site's own rankers in the database, with what they were trained on and what that gained."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from omop_emb.mapping.features.names import NAMES
from omop_emb.mapping.ranking.calibration import Calibration
from omop_emb.mapping.ranking.linear import LinearRanker, Ranker
from omop_emb.mapping.ranking.trees import TreeRanker


def exists(connection: psycopg.Connection[Any]) -> bool:
    """Whether the database has the mapping's tables."""
    row = connection.cursor(row_factory=tuple_row).execute(
        "select to_regclass('omop_emb.mapping_ranker') is not null"
    )
    found = row.fetchone()
    return found is not None and bool(found[0])


def active(connection: psycopg.Connection[Any], site: str, fingerprint: str) -> Ranker | None:
    """The ranker that a site uses in spaces with a fingerprint; None where it has trained none.

    Raises:
        ConfigurationError: it was trained on other features than this version computes.
    """
    if not exists(connection):
        return None
    row = (
        connection.cursor(row_factory=tuple_row)
        .execute(
            "select ranker_id, kind, model, calibration, trained_on from omop_emb.mapping_ranker "
            "where site = %(site)s and fingerprint = %(fingerprint)s and is_active",
            {"site": site, "fingerprint": fingerprint},
        )
        .fetchone()
    )
    if row is None:
        return None
    ranker_id, kind, model, calibration, trained_on = row
    name = f"{site}-{ranker_id}"
    if kind == "trees":
        return TreeRanker.of(
            model,
            name=name,
            fingerprint=fingerprint,
            calibration=Calibration.from_json(calibration),
            features=trained_on["features"],
            domains=trained_on["domains"],
        )
    ranker = LinearRanker.from_json(json.loads(model), NAMES)
    return replace(ranker, name=name, calibration=Calibration.from_json(calibration))


def trained_on(connection: psycopg.Connection[Any], site: str, fingerprint: str) -> dict[str, Any]:
    """What a site's ranker in spaces with a fingerprint learned from; {} where there is none."""
    row = (
        connection.cursor(row_factory=tuple_row)
        .execute(
            "select trained_on from omop_emb.mapping_ranker "
            "where site = %(site)s and fingerprint = %(fingerprint)s and is_active",
            {"site": site, "fingerprint": fingerprint},
        )
        .fetchone()
    )
    return dict(row[0]) if row is not None else {}


def store(
    connection: psycopg.Connection[Any],
    site: str,
    ranker: LinearRanker | TreeRanker,
    *,
    figures: dict[str, Any],
    trained_on: dict[str, Any],
) -> int:
    """Keep a site's ranker and use it from now on; the one before is kept too. Returns its number."""
    connection.execute(
        "update omop_emb.mapping_ranker set is_active = false "
        "where site = %(site)s and fingerprint = %(fingerprint)s and is_active",
        {"site": site, "fingerprint": ranker.fingerprint},
    )
    is_linear = isinstance(ranker, LinearRanker)
    assert ranker.calibration is not None  # noqa: S101 - calibrate always fits one
    row = (
        connection.cursor(row_factory=tuple_row)
        .execute(
            "insert into omop_emb.mapping_ranker "
            "(site, fingerprint, kind, model, calibration, figures, trained_on) "
            "values (%(site)s, %(fingerprint)s, %(kind)s, %(model)s, %(calibration)s, %(figures)s, "
            "%(trained_on)s) "
            "returning ranker_id",
            {
                "site": site,
                "fingerprint": ranker.fingerprint,
                "kind": "linear" if is_linear else "trees",
                "model": json.dumps(ranker.to_json()) if isinstance(ranker, LinearRanker) else ranker.model,
                "calibration": Jsonb(ranker.calibration.to_json()),
                "figures": Jsonb(figures),
                "trained_on": Jsonb(
                    trained_on
                    if isinstance(ranker, LinearRanker)
                    else {**trained_on, "features": list(ranker.features), "domains": list(ranker.domains)}
                ),
            },
        )
        .fetchone()
    )
    assert row is not None  # noqa: S101 - returning always gives one
    return int(row[0])
