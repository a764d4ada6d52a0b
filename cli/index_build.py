"""omop-emb index build: embed a vocabulary, or what changed in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .estimate import approve_cost
from .options import index_type_option, limit_option, option_group, recipe_options
from .progress import build_progress
from .render import echo, format_option, money, render

if TYPE_CHECKING:
    from omop_emb import EmbeddingClient, IndexType
    from omop_emb.indexing import BuildReport, RecipeChange, SpaceOptions

_REPORT_COLUMNS = (
    *("space_name", "is_dry_run", "vocabulary_release", "new_concepts", "changed_concepts", "embedded"),
    *("embedded_texts", "reused", "unchanged", "updated", "withdrawn_concepts", "withdrawn", "obsolete"),
    *("failed", "seconds", "index_made", "is_active"),
)
_USAGE_COLUMNS = ("requests", "sent_texts", "tokens", "tokens_estimated", "cost_usd")


def _make_space(**values: Any) -> SpaceOptions:
    from omop_emb.indexing import SpaceOptions

    return SpaceOptions(**values)


_space_options = option_group(
    "space",
    _make_space,
    click.option("--name", help="Name of a new space; by default after the model."),
    click.option(
        "--hnsw-m", type=click.IntRange(2, 100), default=16, help="Links of a node in a new HNSW index."
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
        "index is smaller, and its candidates are compared with whole vectors.  [at first: none]",
    ),
    click.option(
        "--partial",
        metavar="DOMAIN,…|auto|none",
        help="Domains with an index of their own, for searches in one of them; auto: those with many rows "
        "that are not most.  [at first: auto]",
    ),
)


@click.command("build")
@index_type_option
@recipe_options
@_space_options
@limit_option
@click.option("--dry-run", is_flag=True, help="Only count what there is to do.")
@click.option(
    "--ask-above",
    type=click.FloatRange(min=0),
    default=1.0,
    metavar="USD",
    help="Ask before embedding costs more than this.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--quantize", is_flag=True, help="Use int8 weights of a local model: faster, in its own space.")
@click.option("--batch-api", is_flag=True, help="Use Gemini's Batch API: within a day, at half the price.")
@click.option("--cancel-batch", is_flag=True, help="Only cancel the running batch jobs.")
@format_option
@click.pass_context
def build(
    context: click.Context,
    /,
    index_type: IndexType,
    recipe: RecipeChange,
    space: SpaceOptions,
    limit: int | None,
    dry_run: bool,
    ask_above: float,
    yes: bool,
    quantize: bool,
    batch_api: bool,
    cancel_batch: bool,
    format_: str,
) -> None:
    """Embed what is new or changed in the vocabulary; texts that have a vector are skipped.

    Texts, template and concepts are by default those of the last build of the space, at first names and
    English synonyms of standard, valid concepts. You can interrupt it at any time: the next run resumes.
    Several runs at once, here or on other machines, share the work. Batch jobs go on at the provider
    meanwhile, and the next run, here or elsewhere, collects them.

    \b
    omop-emb index build
    omop-emb index build --dry-run
    omop-emb index build --domain Condition --domain Drug --texts name
    omop-emb index build --name gemini-2026 --index-type flat
    omop-emb index build --batch-api
    omop-emb index build --first-pass 256 --partial Condition,Drug
    """
    from omop_emb import EmbeddingClient, config
    from omop_emb.database import engine_scope
    from omop_emb.indexing import BuildOptions, build_index
    from omop_emb.providers import int8_model

    client = EmbeddingClient(int8_model(config.model()) if quantize else None)
    if cancel_batch:
        _cancel_jobs(client, index_type)
        return
    most = None if yes else ask_above
    try:
        with build_progress() as on_progress, engine_scope() as engine:
            report = build_index(
                engine,
                client,
                index_type=index_type,
                space=space,
                recipe=recipe,
                options=BuildOptions(limit=limit, dry_run=dry_run, batch_api=batch_api),
                on_progress=on_progress,
                approve=lambda preview: approve_cost(client, preview, most, batch_api=batch_api),
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
        echo(f"{report.failed:,} texts were refused by the model; the next index build tries them again")
        context.exit(3)


def _cancel_jobs(client: EmbeddingClient, index_type: IndexType) -> None:
    from omop_emb.database import engine_scope
    from omop_emb.indexing import cancel_jobs

    with engine_scope() as engine:
        cancelled, finished = cancel_jobs(engine, client, index_type=index_type)
    echo(f"{cancelled:,} batch jobs were cancelled")
    if finished:
        echo(f"{finished:,} are finished: omop-emb index build collects them")


def _usage(client: EmbeddingClient) -> dict[str, Any]:
    """What the model was sent, and what that has cost."""
    from omop_emb.embeddings import cost_of

    usage = client.usage
    values = (usage.requests, usage.texts, usage.tokens, usage.estimated_tokens, cost_of(client.model, usage))
    return dict(zip(_USAGE_COLUMNS, values, strict=True))


def _echo_usage(client: EmbeddingClient) -> None:
    usage = _usage(client)
    if not usage["requests"]:
        return
    estimated = f", {usage['tokens_estimated']:,} of them estimated" if usage["tokens_estimated"] else ""
    cost = "" if usage["cost_usd"] is None else f", about {money(usage['cost_usd'])}"
    echo(
        f"sent to {client.model}: {usage['requests']:,} requests, {usage['sent_texts']:,} texts, "
        f"{usage['tokens']:,} tokens{estimated}{cost}"
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
    rows = [{"result": name, "count": f"{count:,}"} for name, count in counts.items()]
    render(rows, ("result", "count"), "table")
    if report.is_dry_run:
        echo("nothing was done: run it again without --dry-run")
        return
    active = "active" if report.is_active else f"not active: omop-emb index activate {report.space_name}"
    echo(f"space {report.space_name!r} is ready after {report.seconds:,.1f} s, and {active}")
