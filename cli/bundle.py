"""omop-emb bundle: what mapping needs, as files for workers without a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from omop_emb.records import counted

from .options import also_space_option, site_option
from .render import echo, format_option, render
from .suggestions import Group

if TYPE_CHECKING:
    from omop_emb.service.bundle import BundleManifest

_COLUMNS = (
    *("digest", "version", "space", "model", "further_spaces", "vocabulary", "concepts", "site"),
    *("approved_names", "ranker", "calibrated", "bytes"),
)
_FOLDER = click.Path(path_type=Path)


@click.group("bundle", cls=Group)
def command() -> None:
    """Bundles: folders with which Spark, Ray or Dask workers map terms without a database."""


@command.command("make")
@click.argument("folder", metavar="DIR", type=_FOLDER)
@site_option
@click.option("--space", "space_name", metavar="NAME", help="The space; by default the active one.")
@also_space_option
@click.option(
    "--no-approvals", is_flag=True, help="Leave out the site's approved names, which may be clinical text."
)
@format_option
def make(
    folder: Path,
    site: str,
    space_name: str | None,
    also_spaces: tuple[str, ...] | None,
    no_approvals: bool,
    format_: str,
) -> None:
    """Write vocabulary, space, approvals and ranker into the new folder DIR.

    It appears complete or not at all. Its digest, by which a job can insist on this bundle, goes to stdout.

    \b
    omop-emb bundle make /shared/athena-2026-09
    omop-emb bundle make /shared/north --site north
    """
    from omop_emb.database import session_scope
    from omop_emb.service.bundle import make_bundle

    with session_scope() as session:
        manifest = make_bundle(
            session,
            folder,
            space_name=space_name,
            also_spaces=also_spaces,
            site=site,
            use_memory=not no_approvals,
        )
    for warning in manifest.warnings:
        echo(f"warning: {warning}")
    if manifest.approved_names:
        names = counted(manifest.approved_names, "approved name")
        echo(f"{folder} holds {names} of the site {site!r}: let only those read it who may read these")
    _show(manifest, format_)


@command.command("check")
@click.argument("folder", metavar="DIR", type=_FOLDER)
@format_option
def check(folder: Path, format_: str) -> None:
    """Compare all files of the bundle DIR with their digests, and say what it holds.

    \b
    omop-emb bundle check /shared/athena-2026-09
    """
    from omop_emb.service.bundle import check_bundle

    _show(check_bundle(folder), format_)


def _show(manifest: BundleManifest, format_: str) -> None:
    values = {name: getattr(manifest, name) for name in _COLUMNS if name != "bytes"}
    values["further_spaces"] = ", ".join(values["further_spaces"])
    render([{**values, "bytes": manifest.size}], _COLUMNS, format_)
