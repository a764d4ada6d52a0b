"""omop-emb demo: messy source terms mapped to a sample vocabulary, and what to try next."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .render import echo, format_option, render

if TYPE_CHECKING:
    from omop_emb.service import DemoHit, DemoResult

_COLUMNS = ("term", "concept_id", "concept_name", "domain_id", "probability", "matched_text", "as_meant")
_MORE_COLUMNS = ("decision", "reason", "meant_concept_id", "meant_rank", "kind")
_WIDTHS = {"concept_name": 46, "matched_text": 30}  # names of drugs and genes can be wider than a screen


@click.command("demo")
@format_option
def command(format_: str) -> None:
    """Map messy source terms to a sample vocabulary, from an empty machine.

    Starts the embedded PostgreSQL, loads the packaged sample vocabulary, embeds it with the packaged model
    into a FLAT and an HNSW space, and maps terms as hospitals write them. A second run skips what is done. If
    the server holds data of yours, the demo uses a server of its own.

    The last column says whether the first candidate is the concept that the term's author meant.
    """
    from omop_emb.service import run_demo

    started = time.monotonic()
    result = run_demo(echo)
    seconds = time.monotonic() - started
    rows: list[dict[str, Any]] = [_row(hit) for hit in result.hits]
    if format_ == "table":
        rows = [row | {name: _shortened(row[name], width) for name, width in _WIDTHS.items()} for row in rows]
    render(rows, _COLUMNS if format_ == "table" else (*_COLUMNS, *_MORE_COLUMNS), format_)
    _echo_summary(result, seconds)


def _row(hit: DemoHit) -> dict[str, Any]:
    best = hit.mapped.best
    return {
        "term": hit.term.source_term,
        "concept_id": None if best is None else best.concept_id,
        "concept_name": "" if best is None else best.concept_name,
        "domain_id": None if best is None else best.domain_id,
        "probability": hit.mapped.probability,
        "matched_text": "" if best is None else best.matched_text,
        "as_meant": hit.as_meant,
        "decision": hit.mapped.decision.value,
        "reason": hit.mapped.reason,
        "meant_concept_id": hit.term.concept_id,
        "meant_rank": hit.rank,
        "kind": hit.term.kind,
    }


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _echo_summary(result: DemoResult, seconds: float) -> None:
    without = len(result.hits) - result.meant
    agree = sum(hit.hnsw_agrees for hit in result.hits)
    for line in (
        "",
        f"{result.among_first(1)} of {result.meant} terms have the concept that was meant first, "
        f"{result.among_first(10)} among the first ten.",
        f"{without} terms have no concept in the sample; their candidates have a low probability.",
        "Nothing is accepted automatically: every term goes to review, with its probability of being right.",
        "Searches through the HNSW index find the same nearest concept as exact ones for "
        f"{agree} of {len(result.hits)}.",
        f"{result.concepts:,} concepts, {result.texts:,} texts in each of two spaces, {result.embedded:,} "
        f"embedded this time, {seconds:.1f} s.",
        f"The database is in {result.data_dir}; its server runs until {result.prefix}{_program()} db stop.",
        "",
        "Try next:",
        f'  {result.prefix}{_program()} search "water tablets" --domain Drug',
        f'  {result.prefix}{_program()} search "high blood pressure" --format json',
        f"  {result.prefix}{_program()} map TERMS.csv -o mapped.csv --review-queue review.csv",
        f"  {result.prefix}{_program()} doctor",
    ):
        echo(line)


def _program() -> str:
    """How to run this program from the current folder."""
    program = Path(sys.argv[0])
    on_path = shutil.which("omop-emb")
    if on_path is not None and program.exists() and Path(on_path).samefile(program):
        return "omop-emb"
    here = Path.cwd()
    return str(program.relative_to(here) if program.is_relative_to(here) else program)
