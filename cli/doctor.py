"""omop-emb doctor: check everything that a search needs."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from .render import format_option, render

if TYPE_CHECKING:
    from omop_emb.service import Finding

_WIDTH = 80  # characters


@click.command("doctor")
@format_option
@click.pass_context
def command(context: click.Context, format_: str) -> None:
    """Check everything that a search needs; exit code 1 if something does not work.

    For versions, extras, variables, server, extension, schema, vocabulary, spaces, model and prefixes, prints
    what was found and what to do. Nothing is created or changed; the model embeds one word.
    """
    from omop_emb.service import State, diagnose

    findings = list(diagnose())
    if format_ == "table":
        for line in _lines(findings):
            click.echo(line)
    else:
        rows = [
            {
                "check": finding.check,
                "state": finding.state.value,
                "details": finding.details,
                "next_step": finding.next_step or None,
            }
            for finding in findings
        ]
        render(rows, ("check", "state", "details", "next_step"), format_)
    context.exit(1 if any(finding.state is State.WRONG for finding in findings) else 0)


def _lines(findings: list[Finding]) -> list[str]:
    """State, check and details in columns, the next step below; long details continue on further lines."""
    width = max(len(finding.check) for finding in findings)
    lines = []
    for finding in findings:
        start = f"{finding.state.value:5}  {finding.check:{width}}  "
        texts = (start, finding.details), (" " * len(start), finding.next_step and f"-> {finding.next_step}")
        for first, text in texts:
            lines += textwrap.wrap(
                text,
                _WIDTH,
                initial_indent=first,
                subsequent_indent=" " * len(start),
                break_long_words=False,
                break_on_hyphens=False,
            )
    return lines
