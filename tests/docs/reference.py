"""Writes the reference pages that follow from the code: commands, Python, variables."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable, Iterator
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

import click

import omop_emb
from omop_emb.config import VARIABLES, Variable

ROOT = Path(__file__).parents[2]
WIDTH = 110
_NOTE = "<!-- Written by `make docs` from the code; a test compares. Change the code, not this page. -->\n"
_VARIABLES_PAGE = """\
# Variables

{note}
Every setting has a default. Options and arguments win over variables. A variable that is set to nothing
counts as not set, but for the two prefixes, where an empty text is a choice.

## omop-emb's own

{ours}

The prefixes are read when an `EmbeddingClient` is constructed, and used exactly as given: mind the space at
the end of one. They are part of the [space](../concepts/embedding-spaces.md) that is built with them. A
database URL looks like `postgresql://user:password@host:5432/database`; `postgres://` and
`postgresql+psycopg://` are taken too.

## The providers' own

{theirs}

## Folders

The embedded server keeps its data in `OMOP_EMB_DATA_DIR`; if that is not set, as root in
`/var/lib/omop-emb`, otherwise in `omop-emb` inside the user's data folder: `$XDG_DATA_HOME`, or
`~/.local/share`. What can be made again is cached in `omop-emb` inside `$XDG_CACHE_HOME`, or `~/.cache`.
"""


def commands() -> Iterator[tuple[str, click.Context]]:
    """Each command's full name, "omop-emb" first, and a context that renders its help."""

    def below(command: click.Command, name: str, parent: click.Context | None) -> Iterator[Any]:
        # click keeps two columns of the terminal free.
        context = command.make_context(
            name, [], parent=parent, resilient_parsing=True, terminal_width=WIDTH - 2
        )
        yield context.command_path, context
        if isinstance(command, click.Group):
            for child in command.list_commands(context):
                found = command.get_command(context, child)
                assert found is not None
                if not found.hidden:
                    yield from below(found, child, context)

    yield from below(import_module("omop_emb.cli.main").cli, "omop-emb", None)


def cli_page() -> str:
    """docs/reference/cli.md: the help of every command."""
    parts = [
        "# Commands\n",
        _NOTE,
        "stdout is data, stderr is talk. Exit codes: 0 done, 1 an error told in one line, 2 wrong usage, "
        "3 finished with rows kept out.\n",
    ]
    for name, context in commands():
        parts += [f"## {name}\n", f"```text\n{context.get_help().rstrip()}\n```\n"]
    return "\n".join(parts)


def python_page() -> str:
    """docs/reference/python-api.md: what `from omop_emb import …` offers."""
    parts = [
        "# Python\n",
        _NOTE,
        "Everything below is imported from `omop_emb`. All errors are subclasses of `OmopEmbError`; its tree "
        "stands at the top of `omop_emb/errors.py`.\n",
    ]
    for name in sorted(omop_emb.__all__):
        body = _described(name, getattr(omop_emb, name))
        parts += [f"## {name}\n", f"```text\n{body.rstrip()}\n```\n"]
    return "\n".join(parts)


def _described(name: str, value: Any) -> str:
    if isinstance(value, type) and issubclass(value, Enum):
        members = "\n".join(f"{name}.{member.name} = {member.value!r}" for member in value)
        return f"{_documentation(value)}\n\n{members}"
    if not isinstance(value, type):
        return f"{_signature(name, value)}\n{textwrap.indent(_documentation(value), '    ')}"
    signature = name if issubclass(value, Exception) else _signature(name, value)
    parts = [f"class {signature}\n{textwrap.indent(_documentation(value), '    ')}"]
    held_by = {name: held for kind in reversed(value.__mro__[:-1]) for name, held in vars(kind).items()}
    for member, held in held_by.items():
        if member.startswith("_"):
            continue
        if isinstance(held, property):
            title = member
        elif inspect.isfunction(held):
            title = _signature(member, held)
        else:
            continue
        described = f"{title}\n{textwrap.indent(_documentation(held), '    ')}"
        parts.append(textwrap.indent(described, "    "))
    return "\n\n".join(parts)


def _documentation(value: Any) -> str:
    return inspect.getdoc(value) or ""


def _signature(name: str, value: Any) -> str:
    """A signature as it would be written, one parameter a line where it is long."""
    signature = inspect.signature(value)
    if isinstance(value, type):
        signature = signature.replace(return_annotation=inspect.Signature.empty)
    parameters = [item for item in signature.parameters.values() if item.name != "self"]
    short = f"{name}{signature.replace(parameters=parameters)}".replace("'", "")
    if len(short) <= WIDTH - 10:
        return short
    lines: list[str] = []
    for before, item in zip([None, *parameters], parameters, strict=False):
        starts = item.kind is item.KEYWORD_ONLY and (before is None or before.kind is not item.KEYWORD_ONLY)
        if starts and (before is None or before.kind is not item.VAR_POSITIONAL):
            lines.append("    *,")
        lines.append(f"    {item},".replace("'", ""))
    returned = signature.return_annotation
    arrow = "" if returned is inspect.Signature.empty else f" -> {returned}".replace("'", "")
    return "\n".join([f"{name}(", *lines, f"){arrow}"])


def variables_page() -> str:
    """docs/reference/variables.md: every variable that is read."""
    ours = [variable for variable in VARIABLES if variable.name.startswith("OMOP_EMB_")]
    theirs = [variable for variable in VARIABLES if not variable.name.startswith("OMOP_EMB_")]
    return _VARIABLES_PAGE.format(note=_NOTE, ours=_table(ours), theirs=_table(theirs))


def _table(variables: Iterable[Variable]) -> str:
    rows = [f"| `{variable.name}` | {variable.meaning} |" for variable in variables]
    return "\n".join(["| variable | meaning |", "|---|---|", *rows])


PAGES = {
    "docs/reference/cli.md": cli_page,
    "docs/reference/python-api.md": python_page,
    "docs/reference/variables.md": variables_page,
}

if __name__ == "__main__":
    for path, page in PAGES.items():
        (ROOT / path).write_text(page())
