"""omop-emb models: what is known about embedding models."""

from __future__ import annotations

import click

from .render import format_option, render


@click.group("models")
def command() -> None:
    """Known embedding models: dimensions, limits, and how they tell documents from queries."""


@command.command("list")
@format_option
def list_(format_: str) -> None:
    """List the known models; others work too, with what you state."""
    from omop_emb.embeddings import known_models

    rows = [{**vars(known), "matryoshka": " ".join(map(str, known.matryoshka))} for known in known_models()]
    render(rows, ("name", "dimensions", "matryoshka", "max_tokens", "role", "price"), format_)


@command.command()
@click.argument("model")
@format_option
def show(model: str, format_: str) -> None:
    """Show one model, such as ollama:nomic-embed-text, with its exact prefixes or task types."""
    from omop_emb.embeddings import find_model, known_models
    from omop_emb.errors import UnknownValueError

    known = find_model(model)
    if known is None:
        near = [entry.name for entry in known_models() if model.partition(":")[2] in entry.name]
        raise UnknownValueError("known model", model, near[:3])
    listed = {
        key: " ".join(map(str, value)) if isinstance(value, tuple) else value
        for key, value in vars(known).items()
    }
    render(
        [
            {"property": key, "value": repr(value) if key in ("document", "query") else value}
            for key, value in listed.items()
        ],
        ("property", "value"),
        format_,
    )
