"""Mapped terms as lines of JSON and back: for journals, and for programs that want everything."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from omop_emb.mapping.records import (
    Candidate,
    Contribution,
    Decision,
    Form,
    MappedTerm,
    PathStep,
    Provenance,
    Retriever,
    SourceTerm,
)


def to_json(mapped: MappedTerm) -> str:
    """A mapped term as one line of JSON, with everything in it."""
    values = asdict(mapped)
    values["decision"] = mapped.decision.value
    for written, candidate in zip(values["candidates"], mapped.candidates, strict=True):
        written["retrievers"] = {who.value: score for who, score in candidate.retrievers.items()}
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"), default=_number)


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


def _number(value: Any) -> Any:
    """A number of numpy's, such as a score, as Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a {type(value).__name__} in a mapped term")


def _candidate(values: dict[str, Any]) -> Candidate:
    return Candidate(
        **{
            **values,
            "form": Form(**values["form"]),
            "retrievers": {Retriever(who): score for who, score in values["retrievers"].items()},
            "path": tuple(PathStep(**step) for step in values["path"]),
            "flags": tuple(values["flags"]),
            "contributions": tuple(Contribution(**entry) for entry in values["contributions"]),
        }
    )
