"""omop-emb estimate: what embedding a vocabulary takes, before any of it is spent."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from omop_emb.errors import ConfigurationError

from .options import concept_filter, filter_options, recipe_options
from .render import echo, format_option, render

if TYPE_CHECKING:
    from omop_emb import EmbeddingClient
    from omop_emb.indexing import BuildEstimate, BuildPreview

_COMPARED = ("model", "price", "batch_price", "price_date", "price_source", "cost_usd", "batch_cost_usd")


@click.command("estimate")
@recipe_options
@filter_options
@click.option("--limit", type=click.IntRange(min=1), help="Only so many concepts, those with the lowest ids.")
@click.option(
    "--measure/--no-measure",
    default=None,
    help="Let the model embed 200 of the texts, for its own count of tokens and its speed.  "
    "[default: where that is free]",
)
@click.option("--requests-per-minute", type=click.IntRange(min=1), help="What the provider grants you.")
@click.option("--texts-per-minute", type=click.IntRange(min=1), help="The same in texts.")
@click.option("--tokens-per-minute", type=click.IntRange(min=1), help="The same in tokens.")
@click.option("--compare", is_flag=True, help="What each model of known price asks for these tokens.")
@format_option
def command(
    index_type: str,
    texts: str | None,
    synonym_languages: tuple[int, ...],
    template: str | None,
    limit: int | None,
    measure: bool | None,
    requests_per_minute: int | None,
    texts_per_minute: int | None,
    tokens_per_minute: int | None,
    compare: bool,
    format_: str,
    **filters: Any,
) -> None:
    """What `index build` will take: texts, tokens, price, hours, disk, memory.

    Counts what the space of this model lacks, after filters and each text once. Nothing is written; a paid
    model is asked for nothing unless --measure is given. OMOP_EMB_PRICES names a file of your own prices.

    \b
    omop-emb estimate
    OMOP_EMB_MODEL=openai:text-embedding-3-small omop-emb estimate --tokens-per-minute 1000000
    omop-emb estimate --domain Drug --texts name --compare
    """
    from omop_emb import IndexType
    from omop_emb.database import engine_scope
    from omop_emb.embeddings import price_list
    from omop_emb.indexing import client_for_estimate, estimate_build, preview_build
    from omop_emb.providers import Rate

    client = client_for_estimate()
    rate = Rate(
        requests_per_minute=requests_per_minute,
        texts_per_minute=texts_per_minute,
        tokens_per_minute=tokens_per_minute,
    )
    parts = {
        "texts": texts,
        "template": template,
        "synonym_languages": synonym_languages or None,
        "concept_filter": concept_filter(**filters) if any(filters.values()) else None,
    }
    with engine_scope() as engine:
        preview = preview_build(engine, client.fingerprint, IndexType(index_type), parts, limit=limit)
    # Other models count other tokens than this one: all are compared by the same guess.
    found = estimate_build(
        client, preview, measure=False if compare else measure, rate=None if rate == Rate() else rate
    )
    if compare:
        rows = [
            {
                "model": price.model,
                "price": price.standard,
                "batch_price": price.batch,
                "price_date": price.date,
                "price_source": price.source,
                "cost_usd": found.tokens * price.standard / 1e6,
                "batch_cost_usd": None if price.batch is None else found.tokens * price.batch / 1e6,
            }
            for price in price_list()
        ]
        render(rows, _COMPARED, format_)
    elif format_ == "table":
        render(
            [{"what": what, "estimate": value} for what, value in _told(found)], ("what", "estimate"), "table"
        )
    else:
        row = _plain(found)
        render([row], tuple(row), format_)


def approve_cost(
    client: EmbeddingClient, preview: BuildPreview, ask_above: float | None, *, batch_api: bool = False
) -> None:
    """Tell what a build will take, and ask if it costs more than `ask_above` US dollars (None: never).

    Raises:
        ConfigurationError: there is nobody to ask.
        click.Abort: the answer is no.
    """
    from omop_emb.indexing import estimate_build

    if not preview.plan.to_embed:
        return
    found = estimate_build(client, preview, measure=False)
    cost_usd = found.batch_cost_usd if batch_api else found.cost_usd
    cost = "" if cost_usd is None else f", about {money(cost_usd)}"
    disk = _bytes(found.table_bytes + found.index_bytes)
    memory = f", its index {_bytes(found.index_memory_bytes)} of memory to build" if found.index_bytes else ""
    echo(
        f"to embed: {found.texts:,} texts ({found.different_texts:,} different), about "
        f"{_short(found.tokens)} tokens{cost}; the space then takes about {disk} of disk{memory}"
    )
    if ask_above is None or cost_usd is None or cost_usd <= ask_above:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"embedding would cost about {money(cost_usd)}, and there is no terminal to ask on: "
            "add --yes to agree, or a higher --ask-above"
        )
    click.confirm(f"embed with {found.model} for about {money(cost_usd)}?", abort=True, err=True)


def _plain(found: BuildEstimate) -> dict[str, Any]:
    price = found.price
    row = asdict(found)
    del row["price"]
    return {
        **row,
        "price": price and price.standard,
        "batch_price": price and price.batch,
        "price_date": price and price.date,
        "price_source": price and price.source,
    }


def _told(found: BuildEstimate) -> list[tuple[str, str]]:
    by = (
        f"the model's own count of {found.sample_texts:,} texts"
        if found.tokens_measured
        else "a token per 4 bytes"
    )
    rows = [
        ("model", found.model),
        ("texts to embed", f"{found.texts:,}"),
        ("of these different", f"{found.different_texts:,}"),
        ("tokens", f"{found.tokens:,} ({by})"),
    ]
    if found.price is None:
        rows.append(("price", "free to ask, or not known (see OMOP_EMB_PRICES)"))
    else:
        listed = f"{found.price.standard:g} USD per million tokens"
        rows.append(("price", f"{money(found.cost_usd or 0)} at {listed}"))
        if found.batch_cost_usd is not None:
            rows.append(("price in batches", f"{money(found.batch_cost_usd)}"))
        rows.append(("price listed", f"{found.price.date or 'no date'}, {found.price.source}"))
    rows.append(
        ("time", "not known: give --tokens-per-minute" if found.hours is None else _time(found.hours))
    )
    rows.append(("texts in the space then", f"{found.rows:,}"))
    rows.append(("tables on disk", _bytes(found.table_bytes)))
    if found.index_bytes:
        rows.append(("index on disk", _bytes(found.index_bytes)))
        rows.append(("memory to build the index", _bytes(found.index_memory_bytes)))
    return rows


def money(dollars: float) -> str:
    """US dollars for a person."""
    return f"{dollars:,.2f} USD" if dollars >= 0.01 or not dollars else "less than 0.01 USD"


def _time(hours: float) -> str:
    return f"{hours:,.1f} hours" if hours >= 1 else f"{max(1, round(hours * 60))} minutes"


def _short(number: int) -> str:
    return f"{number / 1e6:,.1f} million" if number >= 1e6 else f"{number:,}"


def _bytes(size: int) -> str:
    value = float(size)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:,.0f} {unit}"
        value /= 1000
    return f"{value:,.1f} GB"
