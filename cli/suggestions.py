"""Suggestions: what a mistyped command or value was probably meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

import click

_CUTOFF = 0.6  # difflib's similarity, 0 to 1


class Group(click.Group):
    """A group of commands that suggests one for a mistyped name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, but the error names commands that are alike, here or in a group below."""
        name = args[0]
        if name.startswith("-") or self.get_command(ctx, name) is not None or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        found = alike(name, self.list_commands(ctx))
        if not found:
            below = dict(self._below(ctx))
            found = [below[path] for path in below if path == name.lower()] or [
                below[path] for path in alike(name, below)
            ]
        hint = f"did you mean {' or '.join(found)}?" if found else f"{ctx.command_path} --help lists them"
        raise click.UsageError(f"there is no command {name!r}; {hint}", ctx)

    def _below(self, ctx: click.Context) -> Iterator[tuple[str, str]]:
        """The commands of groups in this one: their own name, and with the group's."""
        for group_name in self.list_commands(ctx):
            group = self.get_command(ctx, group_name)
            if isinstance(group, click.Group):
                for name in group.list_commands(ctx):
                    yield name, f"{group_name} {name}"


class Choice(click.Choice[str]):
    """One of several values, in capitals or not; the error says which value was probably meant."""

    def __init__(self, choices: Iterable[str]) -> None:
        """Take the values as they are to be written."""
        super().__init__(tuple(choices), case_sensitive=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The value in the spelling of the choices."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            found = alike(str(value), self.choices)
            if not found:
                raise
            raise click.BadParameter(
                f"{error.message} Did you mean {' or '.join(found)}?", ctx, param
            ) from error


def alike(name: str, known: Iterable[str]) -> list[str]:
    """The known names that a mistyped one may stand for, the likeliest first."""
    by_key = {_key(one): one for one in known}
    key = _key(name)
    begins = [one for one in by_key if len(key) > 2 and one.startswith(key)]
    close = difflib.get_close_matches(key, by_key, n=3, cutoff=_CUTOFF)
    return [by_key[one] for one in dict.fromkeys([*begins, *close])]


def _key(name: str) -> str:
    return name.lower().replace("_", "-").replace(" ", "-")
