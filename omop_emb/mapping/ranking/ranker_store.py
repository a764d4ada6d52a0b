"""Ranker store: a site's own rankers in the database, with what they were trained on and measured."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from omop_emb.errors import ConfigurationError
from omop_emb.mapping.ranking import stored_rankers
from omop_emb.mapping.ranking.calibration import Calibration
from omop_emb.mapping.ranking.linear import LinearRanker
from omop_emb.mapping.ranking.ranker import Ranker, TrainedSpace
from omop_emb.mapping.ranking.trees import TreeRanker
from omop_emb.safe_files.foreign_errors import foreign_errors


def has_mapping_tables(connection: psycopg.Connection[Any]) -> bool:
    """Whether the database has the tables for approvals and rankers."""
    row = _cursor(connection).execute("select to_regclass('omop_emb.mapping_ranker') is not null").fetchone()
    return row is not None and bool(row[0])


def active_ranker(connection: psycopg.Connection[Any], site: str, fingerprint: str) -> Ranker | None:
    """The ranker that a site uses in spaces with a fingerprint; None if it has trained none."""
    row = _active_row(connection, site, fingerprint)
    if row is None:
        return None
    what = f"of the site {site!r} is damaged; run omop-emb calibrate again, or add --shipped"
    with foreign_errors(f"the ranker {row[0]!r}", what, ConfigurationError):
        return read_ranker(fingerprint, *row)


def read_ranker(
    fingerprint: str, name: str, kind: str, model: str, calibration_json: Any, trained_on: dict[str, Any]
) -> Ranker:
    """A ranker as it is stored: "linear" with JSON, or "trees" with LightGBM's text."""
    calibration = Calibration.from_json(calibration_json)
    further = tuple(TrainedSpace(**space) for space in trained_on.get("further_spaces", ()))
    if kind == "linear":
        linear = LinearRanker.from_json(json.loads(model))
        return replace(linear, name=name, calibration=calibration, further_spaces=further)
    reranked = trained_on.get("reranked")
    return TreeRanker.from_stored(
        model,
        name=name,
        fingerprint=fingerprint,
        calibration=calibration,
        features=trained_on["features"],
        domains=trained_on["domains"],
        further_spaces=further,
        shipped=LinearRanker.from_json(reranked) if reranked else None,
    )


def active_training(connection: psycopg.Connection[Any], site: str, fingerprint: str) -> dict[str, Any]:
    """What a site's active ranker in spaces with a fingerprint was trained on; {} if there is none."""
    row = _active_row(connection, site, fingerprint)
    return dict(row[-1]) if row is not None else {}


def store_ranker(
    connection: psycopg.Connection[Any],
    site: str,
    ranker: LinearRanker | TreeRanker,
    *,
    name: str | None = None,
    figures: dict[str, Any],
    trained_on: dict[str, Any],
    learned_terms: bytes = b"",
) -> str:
    """Store a site's ranker and make it the active one; earlier ones stay stored.

    Returns its name: the given one, or the site's with a number.
    """
    kind, model, shape = written_ranker(ranker)
    trained_on = {**trained_on, **shape}
    assert ranker.calibration is not None  # noqa: S101 - train() always fits one
    stored_rankers.use_shipped(connection, site, ranker.fingerprint)
    number, numbered = stored_rankers.next_name(connection, site)
    row = (
        _cursor(connection)
        .execute(
            "insert into omop_emb.mapping_ranker "
            "(ranker_id, name, site, fingerprint, kind, model, calibration, figures, trained_on, "
            "learned_terms) overriding system value "
            "values (%(id)s, %(name)s, %(site)s, %(fingerprint)s, %(kind)s, %(model)s, %(calibration)s, "
            "%(figures)s, %(trained_on)s, %(learned)s) returning name",
            {
                "id": number,
                "name": name or numbered,
                "learned": learned_terms,
                "site": site,
                "fingerprint": ranker.fingerprint,
                "kind": kind,
                "model": model,
                "calibration": Jsonb(ranker.calibration.to_json()),
                "figures": Jsonb(figures),
                "trained_on": Jsonb(trained_on),
            },
        )
        .fetchone()
    )
    assert row is not None  # noqa: S101 - returning always gives one
    return str(row[0])


def written_ranker(ranker: LinearRanker | TreeRanker) -> tuple[str, str, dict[str, Any]]:
    """(kind, model, what else it takes to read it) of a ranker, for read_ranker()."""
    further = {"further_spaces": [asdict(space) for space in ranker.further_spaces]}
    if isinstance(ranker, LinearRanker):
        return "linear", json.dumps(ranker.to_json()), further
    features, domains = list(ranker.features), list(ranker.model.domains)
    # Trees know the scores of that one shipped ranker: a later version may ship another.
    shape = {"features": features, "domains": domains, "reranked": ranker.shipped.to_json()}
    return "trees", ranker.model.text, {**shape, **further}


def _cursor(connection: psycopg.Connection[Any]) -> psycopg.Cursor[Any]:
    return connection.cursor(row_factory=tuple_row)


def _active_row(connection: psycopg.Connection[Any], site: str, fingerprint: str) -> tuple[Any, ...] | None:
    """Name, kind, model, calibration and training of a site's active ranker; None if there is none."""
    if not has_mapping_tables(connection):
        return None
    # By its row as JSON, so that a database that is not migrated yet can be mapped with.
    query = (
        "select coalesce(to_jsonb(stored) ->> 'name', site || '-' || ranker_id), kind, model, calibration, "
        "trained_on from omop_emb.mapping_ranker as stored "
        "where site = %(site)s and fingerprint = %(fingerprint)s and is_active"
    )
    return _cursor(connection).execute(query, {"site": site, "fingerprint": fingerprint}).fetchone()
