"""omop-emb estimate: what embedding a vocabulary will take, before anything is spent."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from omop_emb.errors import ConfigurationError
from omop_emb.records import counted

from .options import index_type_option, limit_option, recipe_options
from .render import echo, format_option, render, render_record

if TYPE_CHECKING:
    from omop_emb import EmbeddingClient, IndexType
    from omop_emb.indexing import BuildEstimate, BuildPreview, RecipeChange

_UNKNOWN_PRICE = "not known: set it in the file that OMOP_EMB_PRICES names"
_COMPARED_COLUMNS = (
    *("model", "price", "batch_price", "price_date", "price_source", "cost_usd", "batch_cost_usd"),
)
_OPTIONAL_COLUMNS = ("price_source", "price_date", "batch_price", "price", "batch_cost_usd")


@click.command("estimate")
@index_type_option
@recipe_options
@limit_option
@click.option(
    "--measure/--no-measure",
    default=None,
    help="Let the model embed 200 of the texts, to measure its token count and its speed.  [default: if "
    "it is free]",
)
@click.option(
    "--requests-per-minute", type=click.IntRange(min=1), help="The provider's limit on your requests."
)
@click.option("--texts-per-minute", type=click.IntRange(min=1), help="The limit in texts.")
@click.option("--tokens-per-minute", type=click.IntRange(min=1), help="The limit in tokens.")
@click.option("--compare", is_flag=True, help="Compare the prices of all models for these tokens.")
@format_option
def command(
    index_type: IndexType | None,
    recipe: RecipeChange,
    limit: int | None,
    measure: bool | None,
    requests_per_minute: int | None,
    texts_per_minute: int | None,
    tokens_per_minute: int | None,
    compare: bool,
    format_: str,
) -> None:
    """Estimate what `index build` will take: texts, tokens, price, hours, disk, memory.

    Counts the texts that index build would embed, after filters, each text once. Nothing is written, and a
    paid model is not called without --measure. OMOP_EMB_PRICES names a file with your own prices.

    \b
    omop-emb estimate
    OMOP_EMB_MODEL=openai:text-embedding-3-small omop-emb estimate --tokens-per-minute 1000000
    omop-emb estimate --domain Drug --texts name --compare
    """
    from omop_emb.database import engine_scope
    from omop_emb.indexing import (
        build_target,
        client_for_estimate,
        compare_prices,
        estimate_build,
        preview_build,
    )
    from omop_emb.providers import Rate

    rate = Rate(
        requests_per_minute=requests_per_minute,
        texts_per_minute=texts_per_minute,
        tokens_per_minute=tokens_per_minute,
    )
    with engine_scope() as engine:
        target = build_target(engine, index_type=index_type, new_client=client_for_estimate)
        client = target.client
        preview = preview_build(
            engine, client.fingerprint, index_type=target.index_type, recipe=recipe, limit=limit
        )
    # Models count tokens differently: a comparison uses the same guess for all of them.
    estimate = estimate_build(
        client, preview, measure=False if compare else measure, rate=None if rate == Rate() else rate
    )
    if compare:
        render(compare_prices(estimate.tokens), _COMPARED_COLUMNS, format_, optional=_OPTIONAL_COLUMNS)
    elif format_ == "table":
        _print_estimate(estimate)
    else:
        row = vars(estimate)
        render([row], tuple(row), format_)
    _warn_of_memory(estimate, preview.index_memory_limit_bytes)


def approve_cost(
    client: EmbeddingClient, preview: BuildPreview, ask_above: float | None, *, batch_api: bool
) -> None:
    """Print what a build will take, and ask if it costs more than `ask_above` US dollars (None: never).

    Raises:
        ConfigurationError: there is nobody to ask.
        click.Abort: the answer is no.
    """
    from omop_emb.embeddings import money
    from omop_emb.indexing import estimate_build

    if not preview.plan.to_embed:
        return
    estimate = estimate_build(client, preview, measure=False)
    cost_usd = estimate.batch_cost_usd if batch_api else estimate.cost_usd
    millions = estimate.tokens / 1e6
    tokens = f"{millions:,.1f} million" if millions >= 1 else f"{estimate.tokens:,}"
    # Of a free model this would be a guess, where omop-emb estimate asks the model.
    cost = "" if cost_usd is None else f", about {tokens} tokens, about {money(cost_usd)}"
    if cost_usd is None and not estimate.is_free:
        cost = f", about {tokens} tokens at a price that is {_UNKNOWN_PRICE}"
    disk = _bytes(estimate.table_bytes + estimate.index_bytes)
    memory = f", and {_bytes(estimate.index_memory_bytes)} of memory to build its index"
    echo(
        f"to embed: {counted(estimate.texts, 'text')} ({estimate.distinct_texts:,} distinct){cost}; "
        f"the space then takes about {disk} of disk{memory if estimate.index_bytes else ''}"
    )
    _warn_of_memory(estimate, preview.index_memory_limit_bytes)
    if ask_above is None or cost_usd is None or cost_usd <= ask_above:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"embedding would cost about {money(cost_usd)}, and there is no terminal to ask on: "
            "add --yes to agree, or a higher --ask-above"
        )
    click.confirm(f"embed with {estimate.model} for about {money(cost_usd)}?", abort=True, err=True)


def _print_estimate(estimate: BuildEstimate) -> None:
    from omop_emb.embeddings import money

    price = estimate.price
    counted_by = (
        f"the model's own count of {counted(estimate.sample_texts, 'text')}"
        if estimate.tokens_measured
        else "a token per 4 bytes"
    )
    values = {
        "model": estimate.model,
        "texts to embed": f"{estimate.texts:,}",
        "of these, distinct": f"{estimate.distinct_texts:,}",
        "tokens": f"{estimate.tokens:,} ({counted_by})" if estimate.tokens else "0",
    }
    if price is None:
        values["price"] = "free" if estimate.is_free else _UNKNOWN_PRICE
    else:
        values["price"] = f"{money(estimate.cost_usd or 0)} at {price:g} USD per million tokens"
        if estimate.batch_cost_usd is not None:
            values["price in batches"] = money(estimate.batch_cost_usd)
        values["price listed"] = f"{estimate.price_date or 'no date'}, {estimate.price_source}"
    values["time"] = _duration(estimate.hours)
    values["texts in the space then"] = f"{estimate.rows:,}"
    values["tables on disk"] = _bytes(estimate.table_bytes)
    if estimate.index_bytes:
        values["index on disk"] = _bytes(estimate.index_bytes)
        values["memory to build the index"] = _bytes(estimate.index_memory_bytes)
    values["memory of the first map"] = _bytes(estimate.mapping_memory_bytes)
    render_record(values, "table")


def _warn_of_memory(estimate: BuildEstimate, index_limit: int) -> None:
    """Say what will not fit into memory, before it starts."""
    from omop_emb.machine import available_memory_bytes

    free = available_memory_bytes()
    if estimate.index_memory_bytes > index_limit:
        echo(
            f"warning: building the index needs {_bytes(estimate.index_memory_bytes)} of memory, and "
            f"{_bytes(index_limit)} can be used: it will take many times as long; choose --index-type flat, "
            "a model of fewer dimensions or index build --first-pass, or use a machine with more memory"
        )
    if estimate.mapping_memory_bytes > free:
        echo(
            "warning: the first map or search after a load needs about "
            f"{_bytes(estimate.mapping_memory_bytes)} of memory, and {_bytes(free)} are free here: "
            "use a machine with more memory, or load fewer vocabularies"
        )


def _duration(hours: float | None) -> str:
    if hours is None:
        return "not known: give --tokens-per-minute"
    return f"{hours:,.1f} hours" if hours >= 1 else f"{max(1, round(hours * 60))} minutes"


def _bytes(size: int) -> str:
    value = float(size)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:,.0f} {unit}"
        value /= 1000
    return f"{value:,.1f} GB"
