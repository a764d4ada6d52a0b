"""omop-emb index verify: whether a space is what it should be."""

from __future__ import annotations

from dataclasses import asdict

import click

from .render import echo, format_option, render

_COLUMNS = ("check", "ok", "found", "what_to_do")


@click.command("verify")
@click.argument("name", required=False)
@click.option(
    "--sample",
    type=click.IntRange(min=0),
    default=200,
    show_default=True,
    help="How many of its texts are embedded again; 0 asks no model.",
)
@format_option
@click.pass_context
def verify(context: click.Context, /, name: str | None, sample: int, format_: str) -> None:
    """Check the space NAME, by default the active one; exit code 1 if something is wrong.

    Rows and texts, hashes, dimensions and norms, its index, the loaded vocabulary, a sample of its texts
    embedded again, and how many of the 10 nearest its HNSW index finds. Nothing is written.

    \b
    omop-emb index verify
    omop-emb index verify gemini-2026 --sample 50 --format json
    """
    from omop_emb.database import engine_scope
    from omop_emb.indexing import verify_index

    with engine_scope() as engine:
        checks = list(verify_index(engine, name, sample=sample))
    render([asdict(check) for check in checks], _COLUMNS, format_)
    wrong = sum(not check.ok for check in checks)
    if wrong:
        echo(f"{wrong} of {len(checks)} checks failed")
        context.exit(1)
