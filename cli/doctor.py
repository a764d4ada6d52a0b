"""omop-emb doctor: check everything that a search needs."""

from __future__ import annotations

import click

from .render import format_option, render


@click.command("doctor")
@format_option
@click.pass_context
def command(context: click.Context, format_: str) -> None:
    """Check everything that a search needs; exit code 1 if something does not work.

    Versions, extras, settings, server, extension, schema, vocabulary, spaces, model and prefixes: one line
    each, with what to do. Nothing is created or changed; the model embeds one word.
    """
    from omop_emb.service import State, diagnose

    findings = list(diagnose())
    rows = [
        {
            "check": finding.subject,
            "state": finding.state.value,
            "details": finding.found,
            "next_step": finding.advice or None,
        }
        for finding in findings
    ]
    render(rows, ("check", "state", "details", "next_step"), format_)
    context.exit(1 if any(finding.state is State.WRONG for finding in findings) else 0)
