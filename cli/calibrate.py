"""omop-emb calibrate: train a site's own ranker on its approved mappings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from omop_emb.records import counted

from .map_options import asking, translate_options
from .options import training_options
from .render import echo, format_option, render

if TYPE_CHECKING:
    from omop_emb.mapping.approvals import ApprovedColumns
    from omop_emb.mapping.judge import TranslationJob

_COLUMNS = (
    *("ranker", "recall@1", "recall@10", "MRR", "calibration error", "coverage at 0.95"),
    *("accepted at 0.95", "precision at 0.95", "accepted at 0.98", "precision at 0.98"),
)


@click.command("calibrate")
@click.argument("files", nargs=-1, required=True, metavar="APPROVED…")
@click.option("--site", default="default", help="Name of the site whose ranker is trained.")
@click.option("--name", help="Name of the ranker; by default the site's name with a number.")
@click.option(
    "--also-space",
    "also_spaces",
    multiple=True,
    metavar="NAME",
    help="Also learn with this space, which is then searched too; repeatable.",
)
@click.option("--no-remember", is_flag=True, help="Do not add the approved names to the site's memory.")
@translate_options
@click.option("--yes", is_flag=True, help="Do not ask about the cost of generative models.")
@training_options
@format_option
def command(
    files: tuple[str, ...],
    site: str,
    name: str | None,
    also_spaces: tuple[str, ...],
    no_remember: bool,
    translate: TranslationJob | None,
    yes: bool,
    columns: ApprovedColumns,
    format_: str,
) -> int:
    """Train a site's ranker and probabilities for the active space from its approved mappings.

    APPROVED is Usagi's file (its APPROVED rows), or a table with concept ids and a column that says what a
    person decided, such as map's output after a person filled in its column reviewed. From terms without a
    match, the ranker learns when to say so. The printed metrics come from cross-validation, on terms that the
    ranker had not seen.

    \b
    omop-emb calibrate approved.usagi.csv
    omop-emb calibrate review.csv
    omop-emb calibrate gold.csv --all-approved
    omop-emb calibrate wards.usagi.csv laboratory.usagi.csv --site north
    omop-emb calibrate gold.csv --also-space multilingual
    omop-emb map terms.csv -o mapped.csv --site north --accept-precision 0.95
    """
    from omop_emb.database import waiting_session
    from omop_emb.mapping.training import Training, train

    training = Training(
        site=site,
        name=name,
        remember=not no_remember,
        translate=translate,
        also_spaces=also_spaces,
        columns=columns,
    )
    with waiting_session() as session:
        trained = train(session, files, training, on_message=echo, confirm=asking(is_asked=not yes))
    for line in (*trained.notes, *(f"{problem}; skipped" for problem in trained.problems)):
        echo(line)
    echo(
        f"ranker {trained.name} learned from {counted(trained.terms, 'term')} with a match and "
        f"{trained.no_match:,} without, and is now in use; "
        f"{counted(trained.remembered, 'approved name is', 'approved names are')} new in the memory"
    )
    rows = [{"ranker": one.ranker, **one.metrics} for one in trained.cross_validations]
    render(rows, _COLUMNS, format_)
    return 3 if trained.problems else 0
