"""omop-emb review: a file of terms reviewed in the browser, and its result as a file."""

from __future__ import annotations

import getpass
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from omop_emb import config
from omop_emb.errors import MissingExtraError
from omop_emb.records import counted

from .options import option_group, site_option
from .reading_options import input_options
from .render import echo, render
from .review_files import export, read_file_back
from .reviewer_options import sign_in_options

if TYPE_CHECKING:
    from omop_emb.mapping.files import ReadOptions
    from omop_emb.service.review import Project
    from omop_emb.web import SignInOptions

_COLUMNS = ("name", "project_id", "file", "terms", "decided", "flagged", "state", "last_decision", "people")
_FEW = (
    "people",
    "last_decision",
    "flagged",
    "file",
    "project_id",
)  # may be left out, the first of them first


class _Format(click.ParamType[str]):
    """The name of an export format; the formats are imported only where one is named."""

    name = "format"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, if there is such a format."""
        from omop_emb.service.review.exports import find_export

        return find_export(str(value)).name

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names that begin so."""
        from omop_emb.service.review.exports import EXPORTS

        return [CompletionItem(one.name) for one in EXPORTS if one.name.startswith(incomplete)]


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What is to be done instead of opening a review."""

    lists: bool
    export: str | None
    output: Path | None
    format_name: str | None
    settings: tuple[str, ...]
    schema: str | None
    read_back: str | None
    delete: str | None
    yes: bool


_task_options = option_group(
    "task",
    _Task,
    click.option("--list", "lists", is_flag=True, help="List all reviews with their progress."),
    click.option("--export", metavar="NAME", help="Write the review with this name to --output."),
    click.option(
        "-o",
        "--output",
        type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
        help="File for --export; - is stdout.",
    ),
    click.option(
        "--format",
        "format_name",
        type=_Format(),
        help="usagi, csv, tsv, xlsx, parquet, source-to-concept-map (also -tsv, -xlsx, -parquet), sssom, "
        "fhir-r4 or fhir-r5.  [default: by the ending of --output]",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="OPTION=VALUE",
        help="An option of the format, as in its form in the browser; repeatable.",
    ),
    click.option(
        "--schema",
        help="Instead of --output: schema of a CDM in the database; --export fills its table "
        "source_to_concept_map.",
    ),
    click.option(
        "--read-back",
        metavar="NAME",
        help="Read decisions back from FILE, an edited export of the review with this name.",
    ),
    click.option("--delete", metavar="NAME", help="Delete the review with this name and all its decisions."),
    click.option("--yes", is_flag=True, help="Do not ask before deleting."),
)


@click.command("review")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--name", default="", show_default=False, help="Name of a new review.  [default: the file's]")
@click.option("--reviewer", help="Name of the person who begins it.  [default: your name on this machine]")
@_task_options
@input_options
@sign_in_options
@site_option
@click.option("--port", default=8077, type=click.IntRange(0, 65535), help="Port; 0 takes a free one.")
def command(
    file: Path | None,
    name: str,
    reviewer: str | None,
    task: _Task,
    reading: ReadOptions,
    sign_in: SignInOptions,
    site: str,
    port: int,
) -> None:
    """Review a file in the browser: FILE is what map reads or wrote, or Usagi's CSV.

    Begins a review, or opens the one that was begun with the same file, and prints a link. The review is
    stored in the database: stop with Ctrl-C, and continue with the same command. Without FILE the link leads
    to all reviews.

    \b
    omop-emb review terms.csv
    omop-emb review hospital.usagi.csv --name hospital
    omop-emb review --list
    omop-emb review --export hospital -o approved.usagi.csv
    omop-emb review --export hospital --schema cdm --set source_vocabulary_id=Hospital
    omop-emb review --read-back hospital filled.xlsx
    omop-emb review --delete hospital
    """
    config.one_blas_thread()
    tasks = [task.lists, task.export is not None, task.delete is not None]
    if sum((file is not None or task.read_back is not None, *tasks)) > 1:
        raise click.UsageError("give one of FILE, --list, --export, --read-back and --delete")
    if task.export is None and (task.output is not None or task.schema is not None):
        raise click.UsageError("--output and --schema are for --export NAME")
    if task.read_back is not None:
        if file is None:
            raise click.UsageError("--read-back needs FILE, the export that people filled in")
        read_file_back(task.read_back, file, reviewer or _own_name())
    elif any(tasks):
        _do(task)
    else:
        _open(file, name, reading, site, reviewer or _own_name(), sign_in, port)


def _do(task: _Task) -> None:
    if task.lists:
        _list()
    elif task.export is not None:
        export(task.export, task.output, task.schema, task.format_name or "", task.settings)
    elif task.delete is not None:
        _delete(task.delete, task.yes)


def _list() -> None:
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.service.review import project_overviews

    with session_scope() as session:
        found = project_overviews(driver_connection(session))
    if not found:
        echo("there is no review yet: omop-emb review FILE begins one")
    rows = [
        {
            "name": one.project.name,
            "project_id": one.project.project_id,
            "file": one.project.file_name,
            "terms": one.project.terms,
            "decided": one.decided,
            "flagged": one.flagged,
            "state": "ready" if one.progress.is_ready else f"{one.progress.mapped:,} mapped",
            "last_decision": one.last_decided_at and one.last_decided_at.strftime("%Y-%m-%d %H:%M"),
            "people": ", ".join(one.reviewers),
        }
        for one in found
    ]
    render(rows, _COLUMNS, "table", optional=_FEW)


def _delete(name: str, yes: bool) -> None:
    from omop_emb.database import driver_connection, session_scope
    from omop_emb.service.review import delete_project, find_project

    with session_scope() as session:
        project = find_project(driver_connection(session), name)
    if not yes:
        click.confirm(
            f"delete the review {name!r} with {counted(project.terms, 'term')} and all decisions?",
            abort=True,
            err=True,
        )
    with session_scope() as session:
        delete_project(driver_connection(session), project.project_id)
    echo(f"review {name!r} deleted; what was approved is still remembered for {project.site!r}")


def _open(
    file: Path | None,
    name: str,
    reading: ReadOptions,
    site: str,
    reviewer: str,
    sign_in: SignInOptions,
    port: int,
) -> None:
    try:
        from omop_emb.web import ServeOptions, run_server
    except ImportError as error:
        raise MissingExtraError("omop-emb review FILE", "web") from error
    page = "review"
    if file is not None:
        page = f"review/{_begin(file, name, reading, site, reviewer).project_id}"
    if not run_server(
        ServeOptions(port=port, site=site, sign_in=sign_in, page=page), on_link=click.echo, on_message=echo
    ):
        # Python would wait for a thread that cannot be cancelled.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _begin(file: Path, name: str, reading: ReadOptions, site: str, reviewer: str) -> Project:
    """The review of a file: a new one, or that which was begun with the same bytes."""
    from omop_emb.database import engine_scope
    from omop_emb.service.review.imports import begin_review, same_file

    with engine_scope() as engine:
        earlier = same_file(engine, file, site=site)
        if earlier is not None and name in ("", earlier.name):
            echo(
                f"review {earlier.name!r} was begun with this file and is opened again; --name OTHER "
                "begins a new one"
            )
            return earlier
        project = begin_review(engine, file, name=name, options=reading, site=site, created_by=reviewer)
        settings: Any = project.settings["file"]
        for line in settings["notes"]:
            echo(line)
        echo(f"review {project.name!r} has begun: its terms appear as they are read and mapped")
        return project


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # without an account, as in some containers
        return "reviewer"
