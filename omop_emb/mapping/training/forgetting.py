"""Forgetting: approvals withdrawn, and the rankers that learned from them taken out of use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from omop_emb.database.migrations import migrate
from omop_emb.errors import InputError
from omop_emb.mapping.approvals.approval_store import withdraw_approvals
from omop_emb.mapping.approvals.sites import check_site
from omop_emb.mapping.ranking.stored_rankers import retire_rankers


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What was undone."""

    approvals: int  # that were withdrawn
    rankers: list[str]  # that learned from them, and are not used any more


def forget_approvals(
    connection: psycopg.Connection[Any],
    site: str,
    *,
    source_name: str | None = None,
    approved_from: str | None = None,
) -> Forgotten:
    """Withdraw a site's approvals (all, of a name, or from a file) and what was learned from them.

    The caller commits.

    Raises:
        UnknownValueError: there is no such site.
        InputError: it has no such approvals.
    """
    migrate(connection)
    check_site(connection, site)
    terms = withdraw_approvals(connection, site, source_name=source_name, approved_from=approved_from)
    rankers = retire_rankers(connection, site, terms, approved_from)
    if not terms and not rankers:
        what = "that name" if source_name is not None else f"the file {approved_from!r}"
        which = "" if source_name is None and approved_from is None else f" of {what}"
        raise InputError(
            f"the site {site!r} has no approvals{which}: omop-emb memory list --site {site} lists those "
            "that it has"
        )
    return Forgotten(approvals=len(terms), rankers=rankers)
