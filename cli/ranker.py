"""omop-emb ranker: a site's own rankers, listed, switched and dropped."""

from __future__ import annotations

import click

from omop_emb.records import counted

from .render import echo, format_option, render
from .suggestions import Group

_COLUMNS = (
    *("name", "site", "active", "space", "kind", "terms", "trained", "recall@1", "calibration error"),
    *("accepted at 0.95", "precision at 0.95", "note"),
)


@click.group("ranker", cls=Group)
def command() -> None:
    """Manage the rankers that calibrate trained. A site without an active one uses the shipped ranker."""


@command.command("list")
@click.option("--site", help="Only rankers of this site.")
@format_option
def list_(site: str | None, format_: str) -> None:
    """List the rankers: their site and space, what they learned from, and how good they were.

    The figures are cross-validated; accepted and precision are for --accept-precision 0.95.

    \b
    omop-emb ranker list
    omop-emb ranker list --site north --format json
    """
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.mapping.approvals import check_site
    from omop_emb.mapping.ranking import describe_rankers

    with session_scope() as session:
        connection = driver_connection(session)
        if site is not None:
            check_site(connection, site)
        rows = describe_rankers(connection, site)
    if not rows:
        echo("no site has its own ranker, so all use the shipped one: run omop-emb calibrate APPROVED")
    render(rows, _COLUMNS, format_)


@command.command("use")
@click.argument("name")
@click.option(
    "--site", help="With shipped: the site that goes back to the shipped ranker.  [default: default]"
)
@click.option("--space", metavar="NAME", help="With shipped: the space; by default the active one.")
def use(name: str, site: str | None, space: str | None) -> None:
    """Switch a site to its ranker NAME; the NAME shipped means the shipped ranker.

    \b
    omop-emb ranker use north-2
    omop-emb ranker use shipped --site north
    """
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.mapping.ranking import is_shipped_name, switch_to_ranker, switch_to_shipped

    if not is_shipped_name(name) and (site or space):
        raise click.UsageError(f"{name} belongs to one site and space: leave out --site and --space")
    with session_scope() as session:
        connection = driver_connection(session)
        if is_shipped_name(name):
            switch_to_shipped(connection, site or "default", space)
            echo(f"the site {site or 'default'!r} now uses the shipped ranker")
            return
        ranker = switch_to_ranker(connection, name)
    echo(f"the site {ranker.site!r} uses the ranker {name} from now on")
    if ranker.withdrawn_terms:
        echo(
            "it learned from approvals that were withdrawn later: omop-emb calibrate trains one without them"
        )


@command.command("drop")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(name: str, yes: bool) -> None:
    """Delete the ranker NAME; if it was in use, its site goes back to the shipped ranker.

    \b
    omop-emb ranker drop north-2 --yes
    """
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.mapping.ranking import drop_ranker, find_ranker

    with session_scope() as session:
        ranker = find_ranker(driver_connection(session), name)
    in_use = f", which the site {ranker.site!r} uses," if ranker.is_active else ""
    if not yes:
        question = f"drop the ranker {name}{in_use} trained on {counted(ranker.terms or 0, 'term')}?"
        click.confirm(question, abort=True, err=True)
    with session_scope() as session:
        ranker = drop_ranker(driver_connection(session), name)
    back = f"; the site {ranker.site!r} is back to the shipped ranker" if ranker.is_active else ""
    echo(f"the ranker {name} was dropped{back}")
