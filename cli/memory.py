"""omop-emb memory: remember, list and forget the mappings that a site has approved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from omop_emb.records import counted

from .options import approved_options
from .render import echo, format_option, render
from .suggestions import Group

if TYPE_CHECKING:
    from omop_emb.mapping.approvals import ApprovedColumns

_COLUMNS = ("source_code", "source_name", "concept_id", "concept_name", "approved_from", "approved_at")
_SITE_COLUMNS = ("site", "approvals", "names", "files", "last_approved", "rankers", "active_rankers")
_site = click.option("--site", default="default", help="Name of the site.")


@click.group("memory", cls=Group)
def command() -> None:
    """Manage a site's approved mappings, whose names map then finds like the vocabulary's."""


@command.command("remember")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@_site
@approved_options
def remember(files: tuple[str, ...], site: str, columns: ApprovedColumns) -> None:
    """Remember what a person approved in each FILE: Usagi's APPROVED rows, or a table's approved rows.

    A table marks them in a column such as reviewed, which map leaves empty for a reviewer to fill in.

    Approvals survive index build and new vocabularies, and are not part of an index export.

    \b
    omop-emb memory remember approved.usagi.csv
    omop-emb memory remember review.csv --site north
    omop-emb memory remember source_to_concept_map.csv --all-approved
    """
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.mapping.approvals import read_approved, remember_file, unknown_site_note

    read = [(file, read_approved(file, columns)) for file in files]  # perhaps from a pipe, for which it waits
    with session_scope() as session:
        connection = driver_connection(session)
        site_note = unknown_site_note(connection, site)
        done = [remember_file(connection, site, file, approved) for file, approved in read]
    if site_note:
        echo(site_note)
    for one in done:
        for problem in one.problems:
            echo(f"{one.file}, {problem}; left out")
        if more := one.problems.total - len(one.problems):
            echo(f"{one.file}: {more:,} more such rows left out")
        if one.unknown:
            echo(
                f"{one.file}: {counted(one.unknown, 'target is', 'targets are')} no longer in the vocabulary"
            )
        if one.not_standard:
            targets = counted(one.not_standard, "target is not standard", "targets are not standard")
            echo(f"{one.file}: {targets}; map offers what replaces or follows it")
        echo(one.note)
        echo(
            f"{one.file}: {counted(one.approvals, 'approved mapping')}, {one.added:,} of them new to {site!r}"
        )


@command.command("list")
@click.option("--site", help="List the approvals of this site instead of the sites.")
@format_option
def list_(site: str | None, format_: str) -> None:
    """List the sites with their number of approvals, or with --site its approvals, oldest first.

    \b
    omop-emb memory list
    omop-emb memory list --site default --format csv
    """
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.mapping.approvals import check_site, list_approvals, list_sites

    with session_scope() as session:
        connection = driver_connection(session)
        if site is None:
            sites = [vars(one) for one in list_sites(connection)]
        else:
            check_site(connection, site)
            rows = list_approvals(connection, site)
    if site is None:
        if not sites:
            echo("no site has approved anything yet: run omop-emb memory remember FILE")
        render(sites, _SITE_COLUMNS, format_)
        return
    if not rows:
        echo(f"{site!r} has no approvals: run omop-emb memory remember FILE --site {site}")
    render(rows, _COLUMNS, format_, optional=("approved_at", "approved_from", "source_code"))


@command.command("forget")
@_site
@click.option("--name", help="Only approvals of this source name.")
@click.option("--file", "file_", type=click.Path(path_type=Path), help="Only approvals from this file.")
@click.option("--all", "everything", is_flag=True, help="All approvals of the site.")
def forget(site: str, name: str | None, file_: Path | None, everything: bool) -> None:
    """Withdraw approvals and what was learned from them; remember brings the approvals back.

    map no longer finds their names, and a ranker that learned from any of them is no longer used.

    \b
    omop-emb memory forget --name "GLUC POC"
    omop-emb memory forget --file approved.usagi.csv
    """
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.mapping.training import forget_approvals

    if (name is None and file_ is None) != everything:
        raise click.UsageError("say which approvals to withdraw: --name, --file or --all")
    with session_scope() as session:
        done = forget_approvals(
            driver_connection(session),
            site,
            source_name=name,
            approved_from=None if file_ is None else file_.name,
        )
    echo(f"withdrawn from {site!r}: {counted(done.approvals, 'approval')}")
    for ranker in done.rankers:
        echo(
            f"the ranker {ranker} learned from them and is no longer used: run omop-emb calibrate "
            f"APPROVED --site {site} to train another, or omop-emb ranker use {ranker} to use it anyway"
        )
