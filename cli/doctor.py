"""omop-emb doctor: what is there, and what to do about what is not."""

from __future__ import annotations

import click

from .render import format_option, render

_COLUMNS = ("subject", "state", "found", "advice")


@click.command("doctor")
@format_option
@click.pass_context
def command(context: click.Context, format_: str) -> None:
    r"""Look at everything that a search needs; exit code 1 if something does not work.

    Versions, extras, settings, server, extension, schema, vocabulary, spaces, model and prefixes: a line
    each, with what to do. Nothing is made or changed; the model embeds one word.
    """
    from omop_emb.service import State, diagnose

    findings = list(diagnose())
    render(
        [
            {
                "subject": finding.subject,
                "state": finding.state.value,
                "found": finding.found,
                "advice": finding.advice or None,
            }
            for finding in findings
        ],
        _COLUMNS,
        format_,
    )
    context.exit(1 if any(finding.state is State.WRONG for finding in findings) else 0)
