"""omop-emb demo: messy source terms mapped to a sample vocabulary, and what to try next."""

from __future__ import annotations

import shutil
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omop_emb.records import counted

from .render import echo, format_option, render

if TYPE_CHECKING:
    from omop_emb.service import DemoHit, DemoResult

_COLUMNS = ("term", "concept_id", "concept_name", "probability", "correct")
_MORE_COLUMNS = (
    "domain_id", "matched_text", "decision", "reason", "expected_concept_id", "expected_rank", "kind"
)  # fmt: skip
_LINK = "http://127.0.0.1:8077/?token=…"  # of the search page; each start has a new token
_WIDTHS = {"term": 20, "concept_name": 24}  # so that the table is 80 characters wide


@click.command("demo")
@click.option("--plain", is_flag=True, help="Print without colours.")
@format_option
def command(format_: str, plain: bool) -> None:
    """Map messy source terms to a sample vocabulary.

    Starts the embedded PostgreSQL, loads the packaged sample vocabulary, embeds it with the packaged model
    into a FLAT and an HNSW space, and maps terms as hospitals write them. A second run skips what is done. If
    the server holds your own data, the demo starts a separate server.

    The last column says whether the first candidate is the concept that the term's author meant.
    """
    from omop_emb.service import run_demo

    started = time.monotonic()
    result = run_demo(echo)
    seconds = time.monotonic() - started
    rows: list[dict[str, Any]] = [_row(hit) for hit in result.hits]
    if format_ == "table":
        rows = [row | {name: _shortened(row[name], width) for name, width in _WIDTHS.items()} for row in rows]
    render(
        rows,
        _COLUMNS if format_ == "table" else (*_COLUMNS, *_MORE_COLUMNS),
        format_,
        optional=("concept_id",),
    )
    _echo_summary(result, seconds, plain=plain)


def _row(hit: DemoHit) -> dict[str, Any]:
    best = hit.mapped.best
    return {
        "term": hit.term.source_term,
        "concept_id": None if best is None else best.concept_id,
        "concept_name": "" if best is None else best.concept_name,
        "domain_id": None if best is None else best.domain_id,
        "probability": hit.mapped.probability,
        "matched_text": "" if best is None else best.matched_text,
        "correct": hit.is_correct,
        "decision": hit.mapped.decision.value,
        "reason": hit.mapped.reason,
        "expected_concept_id": hit.term.concept_id,
        "expected_rank": hit.rank,
        "kind": hit.term.kind,
    }


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _echo_summary(result: DemoResult, seconds: float, *, plain: bool) -> None:
    """Five lines: what was shown, how sure it is, with what, where it is, and what comes next."""
    without = len(result.hits) - result.expected
    agree = sum(hit.hnsw_agrees for hit in result.hits)
    program = f"{result.command_prefix}{_program()}"
    has_pages = find_spec("fastapi") is not None  # of the extra `web`
    first = f"{result.correct_within(1)} of {result.expected} terms have the expected concept first"
    search, serve = f"{program} search HTN T2DM -k 3", f"{program} serve"
    following = f"{_bold(serve, plain)}; its link is {_LINK}" if has_pages else _bold(search, plain)
    for line in (
        "",
        f"{_bold(first, plain)}, {result.correct_within(10)} in the first ten.",
        f"{without} have no concept in the sample. Nothing is accepted without a person.",
        f"HNSW and exact search agree on {agree} of {len(result.hits)}; "
        f"{counted(result.texts, 'text')}, {result.embedded:,} embedded in {seconds:.1f} s.",
        f"The data is in {result.data_dir}; stop it with {program} db stop",
        f"Next: {following}",
    ):
        echo(line)


def _bold(text: str, plain: bool) -> str:
    """Text in bold green, where stderr is a terminal; click removes the colour elsewhere."""
    return text if plain else click.style(text, fg="green", bold=True)


def _program() -> str:
    """How to run this program from the current folder."""
    program = Path(sys.argv[0])
    on_path = shutil.which("omop-emb")
    if on_path is not None and program.exists() and Path(on_path).samefile(program):
        return "omop-emb"
    here = Path.cwd()
    return str(program.relative_to(here) if program.is_relative_to(here) else program)
