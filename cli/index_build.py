"""omop-emb index build: embed a vocabulary, or what changed in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from omop_emb.records import counted

from .estimate import approve_cost
from .options import index_type_option, limit_option, option_group, recipe_options
from .progress import build_progress
from .render import echo, format_option, render, render_record

if TYPE_CHECKING:
    from omop_emb import EmbeddingClient, IndexType
    from omop_emb.indexing import BuildOptions, BuildReport, BuildTarget, RecipeChange, SpaceOptions

_REPORT_COLUMNS = (
    *("space_name", "is_dry_run", "vocabulary_release", "new_concepts", "changed_concepts", "embedded"),
    *("embedded_texts", "reused", "unchanged", "updated", "withdrawn_concepts", "withdrawn", "obsolete"),
    *("failed", "seconds", "index_made", "is_active"),
)
_USAGE_COLUMNS = ("requests", "sent_texts", "tokens", "tokens_estimated", "cost_usd")


def _make_space(**values: Any) -> SpaceOptions:
    from omop_emb.indexing import SpaceOptions

    return SpaceOptions(**values)


def _make_options(**values: Any) -> BuildOptions:
    from omop_emb.indexing import BuildOptions

    return BuildOptions(**values)


_run_options = option_group(
    "options",
    _make_options,
    limit_option,
    click.option("--dry-run", is_flag=True, help="Only count what needs to be done."),
    click.option(
        "--allow-shrink", is_flag=True, help="Build the space even if it loses over a fifth of its texts."
    ),
    click.option(
        "--batch-api", is_flag=True, help="Use Gemini's Batch API: within a day, at half the price."
    ),
)
_space_options = option_group(
    "space",
    _make_space,
    click.option(
        "--name", help="The space to build; it is created if it does not exist.  [default: see above]"
    ),
    click.option(
        "--hnsw-m", type=click.IntRange(2, 100), default=16, help="Links per node in a new HNSW index."
    ),
    click.option(
        "--hnsw-ef-construction",
        type=click.IntRange(4, 1000),
        default=64,
        help="Candidates while a new HNSW index is built; at least twice --hnsw-m.",
    ),
    click.option(
        "--first-pass",
        metavar="N|binary|none",
        help="Index only the first N dimensions of a Matryoshka model, or the signs of all (binary): the "
        "index is smaller, and its candidates are compared with full vectors.  [new space: none]",
    ),
    click.option(
        "--partial",
        metavar="DOMAIN,…|auto|none",
        help="Domains that get a separate index, for searches in one domain; auto: domains with many "
        "rows, but not most of them.  [new space: auto]",
    ),
)


@click.command("build")
@index_type_option
@recipe_options
@_space_options
@_run_options
@click.option(
    "--ask-above",
    type=click.FloatRange(min=0),
    default=1.0,
    metavar="USD",
    help="Ask first if embedding costs more than this.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--quantize", is_flag=True, help="Use int8 weights of a local model: faster, in a separate space."
)
@click.option(
    "--document-task",
    envvar="OMOP_EMB_DOCUMENT_EMBEDDING_TASK",
    show_envvar=True,
    metavar="TASK",
    help="Task type for concept texts, such as CLUSTERING instead of search, for models that take one.",
)
@click.option(
    "--query-task",
    envvar="OMOP_EMB_QUERY_EMBEDDING_TASK",
    show_envvar=True,
    metavar="TASK",
    help="The same for query texts; both belong to the space.",
)
@click.option("--cancel-batch", is_flag=True, help="Only cancel the running batch jobs.")
@format_option
@click.pass_context
def build(
    context: click.Context,
    /,
    index_type: IndexType | None,
    recipe: RecipeChange,
    space: SpaceOptions,
    options: BuildOptions,
    ask_above: float,
    yes: bool,
    quantize: bool,
    document_task: str | None,
    query_task: str | None,
    cancel_batch: bool,
    format_: str,
) -> None:
    """Embed what is new or changed in the vocabulary; texts that have a vector are skipped.

    Builds the space named with --name; without it, the space of the model in the variables; without those,
    the active space. A space becomes active if no other is, or if the active one has the same model and
    another release.

    Texts, template and concepts default to those of the space's last build; for a new space, to names and
    English synonyms of standard, valid concepts. You can interrupt the build at any time: the next run
    resumes. Several runs at once, here or on other machines, share the work. Batch jobs continue at the
    provider, and the next run, here or elsewhere, collects them.

    \b
    omop-emb index build
    omop-emb index build --dry-run
    omop-emb index build --domain Condition --domain Drug --texts name
    omop-emb index build --name gemini-2026 --index-type flat
    omop-emb index build --batch-api
    omop-emb index build --first-pass 256 --partial Condition,Drug
    """
    from omop_emb import config
    from omop_emb.database import engine_scope
    from omop_emb.indexing import build_index, build_target
    from omop_emb.providers import int8_model
    from omop_emb.records import EmbeddingRole

    most = None if yes else ask_above
    with engine_scope() as engine:
        model = int8_model(config.model()) if quantize else None
        tasks = {EmbeddingRole.DOCUMENT: document_task, EmbeddingRole.QUERY: query_task}
        chosen = {role: task for role, task in tasks.items() if task}
        target = build_target(engine, name=space.name, index_type=index_type, model=model, tasks=chosen)
        client = target.client
        if cancel_batch:
            _cancel_jobs(engine, target)
            return
        try:
            with build_progress() as on_progress:
                report = build_index(
                    engine,
                    client,
                    index_type=target.index_type,
                    space=space,
                    recipe=recipe,
                    options=options,
                    on_progress=on_progress,
                    approve=lambda preview: approve_cost(client, preview, most, batch_api=options.batch_api),
                )
        except KeyboardInterrupt:
            echo("stopped; what was embedded is saved: run the same command again to resume")
            context.exit(130)
        finally:
            _echo_usage(client)
    if format_ == "table":
        _print_report(report)
    else:
        counts = {column: getattr(report, column) for column in _REPORT_COLUMNS}
        render([{**counts, **_usage(client)}], (*_REPORT_COLUMNS, *_USAGE_COLUMNS), format_)
    if report.failed:
        refused = counted(report.failed, "text was refused by the model", "texts were refused by the model")
        echo(f"{refused}; the next index build tries them again")
        context.exit(3)


def _cancel_jobs(engine: Any, target: BuildTarget) -> None:
    from omop_emb.indexing import cancel_jobs

    cancelled, finished = cancel_jobs(engine, target.client, index_type=target.index_type)
    echo(f"{counted(cancelled, 'batch job was', 'batch jobs were')} cancelled")
    if finished:
        echo(f"{counted(finished, 'is', 'are')} finished: omop-emb index build collects the answers")


def _usage(client: EmbeddingClient) -> dict[str, Any]:
    """What the model was sent, and what that has cost."""
    from omop_emb.embeddings import cost_of

    usage = client.usage
    values = (usage.requests, usage.texts, usage.tokens, usage.estimated_tokens, cost_of(client.model, usage))
    return dict(zip(_USAGE_COLUMNS, values, strict=True))


def _echo_usage(client: EmbeddingClient) -> None:
    from omop_emb.embeddings import money

    usage = _usage(client)
    if not usage["requests"]:
        return
    estimated = f", {usage['tokens_estimated']:,} of them estimated" if usage["tokens_estimated"] else ""
    cost = "" if usage["cost_usd"] is None else f", about {money(usage['cost_usd'])}"
    echo(
        f"sent to {client.model}: {counted(usage['requests'], 'request')}, "
        f"{counted(usage['sent_texts'], 'text')}, "
        f"{counted(usage['tokens'], 'token')}{estimated}{cost}"
    )


def _print_report(report: BuildReport) -> None:
    counts = {
        "new concepts": report.new_concepts,
        "changed concepts": report.changed_concepts,
        "withdrawn concepts": report.withdrawn_concepts,
        "texts to embed" if report.is_dry_run else "texts embedded": report.embedded,
        "of these, distinct": report.embedded_texts,
        "texts with a reused vector": report.reused,
        "texts unchanged": report.unchanged,
        "of these, with new details": report.updated,
        "texts deleted": report.withdrawn + report.obsolete,
        "texts failed": report.failed,
    }
    render_record({name: f"{count:,}" for name, count in counts.items()}, "table")
    if report.is_dry_run:
        if report.loss:
            echo(f"this needs --allow-shrink: {report.loss}")
        echo("nothing was done: run it again without --dry-run")
        return
    active = "active" if report.is_active else f"not active: omop-emb index activate {report.space_name}"
    if report.replaced_space is not None:
        active += f" instead of {report.replaced_space!r}, which has another release"
    echo(f"space {report.space_name!r} is ready after {report.seconds:,.1f} s, and {active}")
