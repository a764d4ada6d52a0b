"""Mapped terms as lines of JSON and back: for journals, and for programs that want everything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from omop_emb.mapping.records import (
    Candidate,
    Contribution,
    Decision,
    MappedTerm,
    PathStep,
    Provenance,
    Retriever,
    SourceTerm,
    Variant,
)


def to_json(mapped: MappedTerm) -> str:
    """A mapped term as one line of JSON, with everything in it."""
    return json.dumps(mapped, ensure_ascii=False, separators=(",", ":"), default=_plain)


def from_json(line: str) -> MappedTerm:
    """The mapped term that to_json made the line of.

    Raises:
        ValueError, KeyError, TypeError: to_json did not make it.
    """
    values = json.loads(line)
    term = values["term"]
    return MappedTerm(
        **{
            **values,
            "term": SourceTerm(**{**term, "further_names": tuple(term["further_names"])}),
            "candidates": tuple(_candidate(written) for written in values["candidates"]),
            "decision": Decision(values["decision"]),
            "provenance": Provenance(**values["provenance"]),
            "by_code": tuple(values["by_code"]),
            "previous": tuple(values["previous"]),
        }
    )


def _plain(value: Any) -> Any:
    """What JSON does not know as something that it does; a tenth of the time that asdict takes."""
    if isinstance(value, Candidate):
        scores = {who.value: score for who, score in value.retrievers.items()}
        return {**vars(value), "retrievers": scores}
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return {entry.name: getattr(value, entry.name) for entry in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "item"):
        return value.item()  # a number of numpy's
    raise TypeError(f"a {type(value).__name__} in a mapped term")


def _candidate(values: dict[str, Any]) -> Candidate:
    return Candidate(
        **{
            **values,
            "variant": Variant(**values["variant"]),
            "retrievers": {Retriever(who): score for who, score in values["retrievers"].items()},
            "path": tuple(PathStep(**step) for step in values["path"]),
            "flags": tuple(values["flags"]),
            "contributions": tuple(Contribution(**entry) for entry in values["contributions"]),
        }
    )
