"""Sites: those that have approved something or trained a ranker, with how much."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row, tuple_row

from omop_emb.database.migrations import migrate
from omop_emb.errors import UnknownValueError

_KNOWN = (
    "select site from omop_emb.mapping_memory union select site from omop_emb.mapping_ranker order by site"
)
_SITES = """
select site, approvals, names, files, last_approved::date::text as last_approved,
       coalesce(rankers, 0) as rankers, coalesce(active_rankers, '') as active_rankers
from (
    select site, count(*) filter (where withdrawn_at is null) as approvals,
           count(distinct source_name) filter (where withdrawn_at is null) as names,
           count(distinct approved_from) filter (where withdrawn_at is null) as files,
           max(approved_at) filter (where withdrawn_at is null) as last_approved
    from (
        select site, source_name, approved_from, approved_at, withdrawn_at from omop_emb.mapping_memory
        union all
        select distinct site, null, null, null::timestamptz, now() from omop_emb.mapping_ranker
    ) as of_sites
    group by site
) as memory
left join (
    select site, count(*) as rankers, string_agg(name, ', ' order by name) filter (where is_active)
           as active_rankers
    from omop_emb.mapping_ranker group by site
) as trained using (site)
order by site
"""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A site, and what it has in the database."""

    site: str
    approvals: int  # of a name for a concept, without those withdrawn
    names: int
    files: int  # that they came with
    last_approved: str | None  # the day
    rankers: int
    active_rankers: str  # their names; "" if the shipped one ranks everywhere


def list_sites(connection: psycopg.Connection[Any]) -> list[Site]:
    """All sites by name, with what each has."""
    migrate(connection)
    return connection.cursor(row_factory=class_row(Site)).execute(_SITES).fetchall()


def check_site(connection: psycopg.Connection[Any], site: str) -> None:
    """Raise UnknownValueError, with the sites that there are, if a site has neither approvals nor rankers."""
    known = _known_sites(connection)
    if site not in known:
        raise UnknownValueError("site", site, _nearest(site, known))


def unknown_site_note(connection: psycopg.Connection[Any], site: str) -> str:
    """A line for the user if a site has neither approvals nor rankers while others have, else ""."""
    known = _known_sites(connection)
    if not known or site in known:
        return ""
    shown = ", ".join(repr(name) for name in (_nearest(site, known) or known)[:5])
    return f"the site {site!r} is new: nothing has been approved or trained for it; other sites are {shown}"


def _known_sites(connection: psycopg.Connection[Any]) -> list[str]:
    cursor = connection.cursor(row_factory=tuple_row)
    tables = cursor.execute("select to_regclass('omop_emb.mapping_ranker') is not null").fetchone()
    if tables is None or not tables[0]:
        return []
    return [site for (site,) in cursor.execute(_KNOWN)]


def _nearest(site: str, known: Sequence[str]) -> list[str]:
    by_key = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(site.casefold(), by_key, n=3, cutoff=0.4)
    return [by_key[key] for key in close] or list(known[:3])
