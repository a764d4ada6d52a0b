"""Data files of mapping: word lists and settings in the package, each read once."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any


def _read_text(name: str) -> str:
    return (resources.files("omop_emb") / "data" / "mapping" / name).read_text(encoding="utf-8")


@cache
def read_table(name: str) -> list[dict[str, str]]:
    """The rows of a tab-separated file, by column; lines that begin with # are comments."""
    lines = [line for line in _read_text(name).splitlines() if line and not line.startswith("#")]
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
    return [{key: value.strip() for key, value in row.items()} for row in rows]


def read_name_groups(name: str) -> Iterator[list[str]]:
    """The names of each line of a list: one, a tab, and others that mean the same, separated by "|"."""
    lines = (line for line in _read_text(name).splitlines() if line and not line.startswith("#"))
    next(lines)
    return (line.replace("\t", "|").split("|") for line in lines)


@cache
def read_toml(name: str) -> dict[str, Any]:
    """The contents of a TOML file."""
    return tomllib.loads(_read_text(name))
