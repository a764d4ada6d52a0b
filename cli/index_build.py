"""omop-emb index build: embed a vocabulary, or what changed of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .estimate import approve_cost, money
from .options import concept_filter, filter_options, recipe_options
from .progress import reporter
from .render import echo, format_option, render

if TYPE_CHECKING:
    from omop_emb import EmbeddingClient

_COLUMNS = (
    "space_name",
    "is_dry_run",
    "vocabulary_release",
    "new_concepts",
    "changed_concepts",
    "embedded",
    "embedded_texts",
    "reused",
    "unchanged",
    "updated",
    "withdrawn_concepts",
    "withdrawn",
    "obsolete",
    "failed",
    "seconds",
    "index_made",
    "is_active",
)
_SPENT = ("requests", "sent_texts", "tokens", "tokens_estimated", "cost_usd")


@click.command("build")
@click.option("--name", help="The space's name, if this makes it; by default after the model.")
@recipe_options
@filter_options
@click.option("--limit", type=click.IntRange(min=1), help="Only so many concepts, those with the lowest ids.")
@click.option("--dry-run", is_flag=True, help="Only say what there is to do.")
@click.option("--hnsw-m", type=click.IntRange(2, 100), default=16, show_default=True, help="Links of a node.")
@click.option(
    "--hnsw-ef-construction",
    type=click.IntRange(4, 1000),
    default=64,
    show_default=True,
    help="Candidates while the index is made; at least twice --hnsw-m.",
)
@click.option(
    "--ask-above",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="USD",
    help="Ask before embedding costs more than this.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--quantize", is_flag=True, help="Int8 weights of a local model: faster, and a space of their own."
)
@click.option("--batch-api", is_flag=True, help="By Gemini's Batch API: within a day, at half the price.")
@click.option("--cancel-batch", is_flag=True, help="Only cancel the batch jobs that are under way.")
@click.option(
    "--first-pass",
    metavar="N|binary|none",
    help="Let the index be over the first N dimensions of a Matryoshka model, or the signs of all (binary): "
    "it is smaller, and its candidates are compared in full.  [at first: none]",
)
@click.option(
    "--partial",
    metavar="DOMAIN,…|auto|none",
    help="Domains that get an index of their own, for searches in one of them; auto: those with many rows "
    "that are not most.  [at first: auto]",
)
@format_option
@click.pass_context
def build(
    context: click.Context,
    /,
    name: str | None,
    index_type: str,
    texts: str | None,
    synonym_languages: tuple[int, ...],
    template: str | None,
    limit: int | None,
    dry_run: bool,
    hnsw_m: int,
    hnsw_ef_construction: int,
    ask_above: float,
    yes: bool,
    quantize: bool,
    batch_api: bool,
    cancel_batch: bool,
    first_pass: str | None,
    partial: str | None,
    format_: str,
    **filters: Any,
) -> None:
    """Embed what is new or changed in the vocabulary; what has its vector is left alone.

    Texts, template and concepts are as the space was last built, unless said otherwise; at first names and
    English synonyms of standard, valid concepts. It may be interrupted anywhere and goes on at its next run;
    several at a time, here or on other machines, share the work. Batch jobs go on at the provider meanwhile,
    and the next run, here or elsewhere, collects them.

    \b
    omop-emb index build
    omop-emb index build --dry-run
    omop-emb index build --domain Condition --domain Drug --texts name
    omop-emb index build --name gemini-2026 --index-type flat
    omop-emb index build --batch-api
    omop-emb index build --first-pass 256 --partial Condition,Drug
    """
    from omop_emb import EmbeddingClient, IndexType, config
    from omop_emb.database import engine_scope
    from omop_emb.indexing import build_index
    from omop_emb.providers import int8_model

    client = EmbeddingClient(int8_model(config.model()) if quantize else None)
    if cancel_batch:
        _cancel(client, IndexType(index_type))
        return
    said = any(filters.values())
    try:
        with reporter() as progress, engine_scope() as engine:
            report = build_index(
                engine,
                client,
                index_type=IndexType(index_type),
                name=name,
                texts=texts,
                template=template,
                synonym_languages=synonym_languages or None,
                concept_filter=concept_filter(**filters) if said else None,
                limit=limit,
                dry_run=dry_run,
                hnsw_m=hnsw_m,
                hnsw_ef_construction=hnsw_ef_construction,
                batch_api=batch_api,
                first_pass=first_pass,
                partial=partial,
                progress=progress,
                approve=lambda preview: approve_cost(
                    client, preview, None if yes else ask_above, batch_api=batch_api
                ),
            )
    except KeyboardInterrupt:
        echo("stopped; what was embedded is kept: run the same command again to go on")
        context.exit(130)
    finally:
        _tell_spent(client)
    if format_ == "table":
        _tell(report)
    else:
        did = {column: getattr(report, column) for column in _COLUMNS}
        render([{**did, **_spent(client)}], (*_COLUMNS, *_SPENT), format_)
    if report.failed:
        echo(
            f"{report.failed:,} texts were refused by the model and kept out; "
            "the next index build tries them again"
        )
        context.exit(3)


def _cancel(client: EmbeddingClient, index_type: Any) -> None:
    from omop_emb.database import engine_scope
    from omop_emb.indexing import cancel_jobs

    with engine_scope() as engine:
        cancelled, finished = cancel_jobs(engine, client, index_type=index_type)
    echo(f"{cancelled:,} batch jobs were cancelled")
    if finished:
        echo(f"{finished:,} are finished: omop-emb index build collects them")


def _spent(client: EmbeddingClient) -> dict[str, Any]:
    """What was asked of the model, and what that has cost."""
    from omop_emb.embeddings import cost_of

    usage = client.usage
    cost_usd = cost_of(client.model, usage)
    values = (usage.requests, usage.texts, usage.tokens, usage.estimated_tokens, cost_usd)
    return dict(zip(_SPENT, values, strict=True))


def _tell_spent(client: EmbeddingClient) -> None:
    spent = _spent(client)
    if not spent["requests"]:
        return
    counted = "" if not spent["tokens_estimated"] else f", {spent['tokens_estimated']:,} of them estimated"
    cost = "" if spent["cost_usd"] is None else f", about {money(spent['cost_usd'])}"
    echo(
        f"asked of {client.model}: {spent['requests']:,} requests, {spent['sent_texts']:,} texts, "
        f"{spent['tokens']:,} tokens{counted}{cost}"
    )


def _tell(report: Any) -> None:
    rows = [
        ("concepts new", report.new_concepts),
        ("concepts changed", report.changed_concepts),
        ("concepts withdrawn", report.withdrawn_concepts),
        ("texts to embed" if report.is_dry_run else "texts embedded", report.embedded),
        ("of these different", report.embedded_texts),
        ("texts with a vector from here", report.reused),
        ("texts unchanged", report.unchanged),
        ("of these with new details", report.updated),
        ("texts no longer used", report.withdrawn + report.obsolete),
        ("texts failed", report.failed),
    ]
    render([{"what": what, "count": f"{count:,}"} for what, count in rows], ("what", "count"), "table")
    if report.is_dry_run:
        echo("nothing was done: leave --dry-run out to do it")
        return
    active = "active" if report.is_active else f"not active: omop-emb index activate {report.space_name}"
    echo(f"space {report.space_name!r} is ready after {report.seconds:,.1f} s, and {active}")
