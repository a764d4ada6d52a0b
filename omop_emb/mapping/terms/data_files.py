"""The readable data files that normalisation is made of, read once."""

from __future__ import annotations

import csv
import tomllib
from functools import cache
from importlib import resources
from typing import Any


def _text(name: str) -> str:
    return (resources.files("omop_emb") / "data" / "mapping" / name).read_text(encoding="utf-8")


@cache
def table(name: str) -> list[dict[str, str]]:
    """The rows of a tab-separated file of data/mapping, by column; lines that begin with # are notes."""
    lines = [line for line in _text(name).splitlines() if line and not line.startswith("#")]
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
    return [{key: value.strip() for key, value in row.items()} for row in rows]


@cache
def settings(name: str) -> dict[str, Any]:
    """The contents of a TOML file of data/mapping."""
    return tomllib.loads(_text(name))
