"""Reading settings: how a review's file is read, as JSON beside the review."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from omop_emb.mapping.files.columns import Columns
from omop_emb.mapping.files.read_options import ReadOptions


def reading_to_json(options: ReadOptions) -> dict[str, Any]:
    """The options as values of JSON."""
    return asdict(options)


def reading_from_json(values: Mapping[str, Any]) -> ReadOptions:
    """The options of reading_to_json()."""
    columns = values["columns"]
    tuples = {name: tuple(columns[name]) for name in ("names", "context", "unused")}
    return ReadOptions(**{**values, "columns": Columns(**{**columns, **tuples})})
