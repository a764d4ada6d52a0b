"""omop-emb memory: remember, list and forget the mappings that a site has approved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import approved_options
from .render import echo, format_option, render

if TYPE_CHECKING:
    from omop_emb.mapping.approvals import ApprovedColumns

_COLUMNS = ("source_code", "source_name", "concept_id", "concept_name", "approved_from", "approved_at")
_site = click.option("--site", default="default", help="Name of the site.")


@click.group("memory")
def command() -> None:
    """Approved mappings of a site, whose names map then finds like those of the vocabulary."""


@command.command("remember")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@_site
@approved_options
def remember(files: tuple[str, ...], site: str, columns: ApprovedColumns) -> None:
    """Remember what a person approved in each FILE: Usagi's APPROVED rows, or those that a table approves.

    A table says so in a column such as reviewed, which map writes empty and a reviewer fills.

    They survive index build and new vocabularies, and are not part of an index export.

    \b
    omop-emb memory remember approved.usagi.csv
    omop-emb memory remember review.csv --site north
    omop-emb memory remember source_to_concept_map.csv --all-approved
    """
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.mapping.approvals import remember_file

    with session_scope() as session:
        done = [remember_file(driver_connection(session), site, file, columns) for file in files]
    for one in done:
        for problem in one.problems:
            echo(f"{one.file}, {problem}; left out")
        if one.unknown:
            echo(f"{one.file}: {one.unknown:,} targets are no longer in the vocabulary")
        echo(one.note)
        echo(f"{one.file}: {one.approvals:,} approved mappings, {one.added:,} of them new to {site!r}")


@command.command("list")
@_site
@format_option
def list_(site: str, format_: str) -> None:
    """List what a site has approved, oldest first.

    \b
    omop-emb memory list --format csv
    """
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.mapping.approvals import list_approvals

    with session_scope() as session:
        rows = list_approvals(driver_connection(session), site)
    if not rows:
        echo(f"{site!r} has approved nothing yet: run omop-emb memory remember FILE")
    render(rows, _COLUMNS, format_)


@command.command("forget")
@_site
@click.option("--name", help="Only approvals of this source name.")
@click.option("--file", "file_", type=click.Path(path_type=Path), help="Only approvals from this file.")
@click.option("--all", "everything", is_flag=True, help="All approvals of the site.")
def forget(site: str, name: str | None, file_: Path | None, everything: bool) -> None:
    """Withdraw approvals, so that map no longer finds their names; remember brings them back.

    \b
    omop-emb memory forget --name "GLUC POC"
    omop-emb memory forget --file approved.usagi.csv
    """
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.mapping.approvals import withdraw_approvals

    if (name is None and file_ is None) != everything:
        raise click.UsageError("say which approvals: --name, --file, or else --all")
    with session_scope() as session:
        count = withdraw_approvals(
            driver_connection(session),
            site,
            source_name=name,
            approved_from=None if file_ is None else file_.name,
        )
    echo(f"{count:,} approvals of {site!r} were withdrawn")
