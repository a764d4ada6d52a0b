"""omop-emb models: what is known about embedding models."""

from __future__ import annotations

import click

from .render import format_option, render, render_record
from .suggestions import Group


@click.group("models", cls=Group)
def command() -> None:
    """Show known embedding models: dimensions, limits, prefixes or task types, prices."""


@command.command("list")
@format_option
def list_(format_: str) -> None:
    """List the known models; other models work too."""
    from omop_emb.embeddings import known_models

    rows = [{**vars(known), "matryoshka": " ".join(map(str, known.matryoshka))} for known in known_models()]
    render(
        rows,
        ("name", "dimensions", "matryoshka", "max_tokens", "role", "price"),
        format_,
        optional=("matryoshka", "role", "price", "max_tokens"),
    )


@command.command()
@click.argument("model")
@format_option
def show(model: str, format_: str) -> None:
    """Show one model, such as ollama:nomic-embed-text, with its exact prefixes or task types."""
    from omop_emb.embeddings import find_model, known_models
    from omop_emb.errors import UnknownValueError

    known = find_model(model)
    if known is None:
        similar = [entry.name for entry in known_models() if model.partition(":")[2] in entry.name]
        raise UnknownValueError("known model", model, similar[:3])
    values = {
        name: " ".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in vars(known).items()
        if name != "parts"
    }
    values["reads"] = known.reads
    if known.parts is not None:
        values |= {"reads_date": known.parts.date, "reads_source": known.parts.source}
    if format_ == "table":
        # Quoted, because the space at the end of a prefix counts.
        values |= {name: repr(values[name]) for name in ("document", "query")}
    render_record(values, format_)
