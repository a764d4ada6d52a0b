"""Generated reference pages: commands, Python API, variables."""

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
_NOTE = "<!-- Generated from the code by `make docs`. Change the code, not this page. -->\n"
_VARIABLES_PAGE = """\
# Variables

{note}
Every setting has a default. Options and arguments override variables. A variable with an empty value
counts as unset.

## Variables of omop-emb

{ours}

The prefixes are read when an `EmbeddingClient` is constructed, and used exactly as given, including a space
at the end. They are part of the [space](../concepts/embedding-spaces.md) that is built with them. A
database URL looks like `postgresql://user:password@host:5432/database`; `postgres://` and
`postgresql+psycopg://` work too.

## Variables of the providers

{theirs}

## Folders

The embedded server keeps its data in `OMOP_EMB_DATA_DIR`. If that is not set, it uses `/var/lib/omop-emb` for
root, and for other users `omop-emb` inside the data folder: `$XDG_DATA_HOME`, or `~/.local/share`. [Cache
files](caches.md) are in `omop-emb` inside `$XDG_CACHE_HOME`, or `~/.cache`, and can be deleted.
"""


def commands() -> Iterator[tuple[str, click.Context]]:
    """Each command's full name, "omop-emb" first, with the context that renders its help."""

    def walk(command: click.Command, name: str, parent: click.Context | None) -> Iterator[Any]:
        # click keeps two columns of the terminal free.
        context = command.make_context(
            name, [], parent=parent, resilient_parsing=True, terminal_width=WIDTH - 2
        )
        yield context.command_path, context
        if isinstance(command, click.Group):
            for child in command.list_commands(context):
                subcommand = command.get_command(context, child)
                assert subcommand is not None
                if not subcommand.hidden:
                    yield from walk(subcommand, child, context)

    yield from walk(import_module("omop_emb.cli.main").cli, "omop-emb", None)


def cli_page() -> str:
    """docs/reference/cli.md: the help of every command."""
    parts = [
        "# Commands\n",
        _NOTE,
        "Data goes to stdout, messages and progress to stderr. Exit codes: 0 done, 1 an error, explained in "
        "one line, 2 wrong usage, 3 finished, but some rows or texts were skipped.\n",
    ]
    for name, context in commands():
        parts += [f"## {name}\n", f"```text\n{context.get_help().rstrip()}\n```\n"]
    return "\n".join(parts)


def python_page() -> str:
    """docs/reference/python-api.md: the public names of `omop_emb`."""
    parts = [
        "# Python API\n",
        _NOTE,
        "Import everything below from `omop_emb`. All errors are subclasses of `OmopEmbError`; the top of "
        "`omop_emb/errors.py` shows the tree.\n",
    ]
    for name in sorted(omop_emb.__all__):
        body = _described(name, getattr(omop_emb, name))
        parts += [f"## {name}\n", f"```text\n{body.rstrip()}\n```\n"]
    return "\n".join(parts)


def _described(name: str, value: Any) -> str:
    if isinstance(value, type) and issubclass(value, Enum):
        values = "\n".join(f"{name}.{member.name} = {member.value!r}" for member in value)
        return f"{_documentation(value)}\n\n{values}"
    if not isinstance(value, type):
        return f"{_signature(name, value)}\n{textwrap.indent(_documentation(value), '    ')}"
    signature = name if issubclass(value, Exception) else _signature(name, value)
    parts = [f"class {signature}\n{textwrap.indent(_documentation(value), '    ')}"]
    members = {name: member for kind in reversed(value.__mro__[:-1]) for name, member in vars(kind).items()}
    for member_name, member in members.items():
        if member_name.startswith("_"):
            continue
        if isinstance(member, property):
            title = member_name
        elif inspect.isfunction(member):
            title = _signature(member_name, member)
        else:
            continue
        described = f"{title}\n{textwrap.indent(_documentation(member), '    ')}"
        parts.append(textwrap.indent(described, "    "))
    return "\n\n".join(parts)


def _documentation(value: Any) -> str:
    return inspect.getdoc(value) or ""


def _signature(name: str, value: Any) -> str:
    """The signature as source code, with one parameter per line if it is long."""
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
    """docs/reference/variables.md: every variable that omop-emb reads."""
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
