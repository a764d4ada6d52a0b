"""Stored rankers: a site's rankers listed, switched, dropped, and taken out of use by what was withdrawn."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row, tuple_row

from omop_emb.database.migrations import migrate
from omop_emb.errors import InputError, UnknownValueError
from omop_emb.mapping.approvals.sites import check_site
from omop_emb.spaces import registry

SHIPPED = "shipped"
"""How the names of shipped rankers begin; no site's ranker may be named so."""

_HASH_BYTES = 8
_LISTED = """
select ranker_id, name, site, fingerprint, kind, is_active, created_at, withdrawn_terms,
       (trained_on ->> 'terms')::integer as terms, figures
from omop_emb.mapping_ranker
where %(site)s::text is null or site = %(site)s
order by site, ranker_id
"""


@dataclass(frozen=True, kw_only=True)
class StoredRanker:
    """A site's ranker in the database.

    Attributes:
        fingerprint: digest of the space that it was trained in.
        kind: "linear" (the shipped ranker, calibrated for the site) or "trees".
        is_active: whether its site uses it in that space.
        withdrawn_terms: how many of the terms it learned from were withdrawn since.
        terms: how many it learned from.
        figures: what cross-validation measured, by ranker.
    """

    ranker_id: int
    name: str
    site: str
    fingerprint: str
    kind: str
    is_active: bool
    created_at: datetime
    withdrawn_terms: int
    terms: int | None
    figures: dict[str, dict[str, float]]


def list_rankers(connection: psycopg.Connection[Any], site: str | None = None) -> list[StoredRanker]:
    """The rankers of a site, or of all, oldest first."""
    migrate(connection)
    cursor = connection.cursor(row_factory=class_row(StoredRanker))
    return cursor.execute(_LISTED, {"site": site}).fetchall()


def describe_rankers(connection: psycopg.Connection[Any], site: str | None = None) -> list[dict[str, Any]]:
    """The rankers of a site, or of all, as rows: where each is used, and what cross-validation measured."""
    spaces = {space.fingerprint.digest: space.name for space in registry.all_spaces(connection)}
    rows = []
    for ranker in list_rankers(connection, site):
        own = "own ranker with memory" if ranker.kind == "trees" else "shipped ranker with memory"
        figures = ranker.figures.get(own, {})
        rows.append(
            {
                "name": ranker.name,
                "site": ranker.site,
                "active": ranker.is_active,
                "space": spaces.get(ranker.fingerprint, f"none ({ranker.fingerprint[:12]})"),
                "kind": ranker.kind,
                "terms": ranker.terms,
                "trained": ranker.created_at.date().isoformat(),
                **{name: figures.get(name) for name in ("recall@1", "calibration error")},
                **{name: figures.get(name) for name in ("accepted at 0.95", "precision at 0.95")},
                "note": ("it learned from approvals that were withdrawn later")
                if ranker.withdrawn_terms
                else "",
            }
        )
    return rows


def check_name(connection: psycopg.Connection[Any], name: str) -> None:
    """Raise InputError if a ranker cannot have this name."""
    if not name.strip() or name != name.strip() or is_shipped_name(name):
        raise InputError(f"a ranker's name must not be empty or begin with {SHIPPED!r}; found {name!r}")
    if any(ranker.name == name for ranker in list_rankers(connection)):
        raise InputError(f"there already is a ranker {name!r}: choose another name, or drop it first")


def next_name(connection: psycopg.Connection[Any], site: str) -> tuple[int, str]:
    """The number of a site's next ranker, never given before, and the name that it has from it."""
    taken = {ranker.name for ranker in list_rankers(connection)}
    own = f"site-{site}" if site.casefold().startswith(SHIPPED) else site
    while True:
        row = connection.execute(
            "select nextval(pg_get_serial_sequence('omop_emb.mapping_ranker', 'ranker_id'))"
        ).fetchone()
        assert row is not None  # noqa: S101 - nextval always gives one
        number = int(row[0])
        if f"{own}-{number}" not in taken:
            return number, f"{own}-{number}"


def find_ranker(connection: psycopg.Connection[Any], name: str) -> StoredRanker:
    """The ranker of that name; UnknownValueError names those that exist."""
    rankers = list_rankers(connection)
    for ranker in rankers:
        if ranker.name == name:
            return ranker
    raise UnknownValueError("ranker", name, [ranker.name for ranker in rankers][-3:])


def is_shipped_name(name: str) -> bool:
    """Whether a name means the shipped ranker, of whatever version."""
    return name.casefold().startswith(SHIPPED)


def switch_to_shipped(connection: psycopg.Connection[Any], site: str, space: str | None = None) -> None:
    """Let a site use the shipped ranker in a space, by default the active one; the caller commits."""
    check_site(connection, site)
    chosen = registry.active_space(connection) if space is None else registry.space_by_name(connection, space)
    if not use_shipped(connection, site, chosen.fingerprint.digest):
        raise InputError(f"the site {site!r} already uses the shipped ranker in the space {chosen.name!r}")


def switch_to_ranker(connection: psycopg.Connection[Any], name: str) -> StoredRanker:
    """Make a ranker the one that its site uses in its space; the caller commits."""
    ranker = find_ranker(connection, name)
    use_shipped(connection, ranker.site, ranker.fingerprint)
    connection.execute(
        "update omop_emb.mapping_ranker set is_active = true where ranker_id = %(id)s",
        {"id": ranker.ranker_id},
    )
    return ranker


def use_shipped(connection: psycopg.Connection[Any], site: str, fingerprint: str) -> int:
    """Let a site use the shipped ranker in a space; the caller commits. Returns how many were in use."""
    return connection.execute(
        "update omop_emb.mapping_ranker set is_active = false "
        "where site = %(site)s and fingerprint = %(fingerprint)s and is_active",
        {"site": site, "fingerprint": fingerprint},
    ).rowcount


def drop_ranker(connection: psycopg.Connection[Any], name: str) -> StoredRanker:
    """Delete a ranker; its site goes back to the shipped one if it was in use. The caller commits."""
    ranker = find_ranker(connection, name)
    connection.execute(
        "delete from omop_emb.mapping_ranker where ranker_id = %(id)s", {"id": ranker.ranker_id}
    )
    return ranker


def hash_terms(terms: Iterable[tuple[str, str]]) -> bytes:
    """What is stored of the terms that a ranker learned from, given as code and name."""
    return b"".join(sorted({_hash_term(code, name) for code, name in terms}))


def retire_rankers(
    connection: psycopg.Connection[Any], site: str, terms: Collection[tuple[str, str]], file: str | None
) -> list[str]:
    """Take a site's rankers out of use that learned from withdrawn terms, or from a file; the caller commits.

    Returns their names; those that were not in use are only marked.
    """
    withdrawn = {_hash_term(code, name) for code, name in terms}
    rows = connection.cursor(row_factory=tuple_row).execute(
        "select ranker_id, name, learned_terms, trained_on -> 'files' from omop_emb.mapping_ranker "
        "where site = %(site)s order by ranker_id",
        {"site": site},
    )
    retired = []
    for ranker_id, name, learned, files in rows.fetchall():
        hashes = bytes(learned)
        parts = {hashes[at : at + _HASH_BYTES] for at in range(0, len(hashes), _HASH_BYTES)}
        count = len(parts & withdrawn)
        if not count and file not in (files or {}):
            continue
        retired.append(name)
        connection.execute(
            "update omop_emb.mapping_ranker set is_active = false, "
            "withdrawn_terms = withdrawn_terms + %(count)s where ranker_id = %(id)s",
            {"id": ranker_id, "count": max(count, 1)},
        )
    return retired


def _hash_term(code: str, name: str) -> bytes:
    return hashlib.sha256(f"{code}\0{name}".encode()).digest()[:_HASH_BYTES]
