"""Answers: Parameters resources and their parts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

Part = dict[str, Any]
_CODE, _URI = re.compile(r"\S+(\s\S+)*"), re.compile(r"\S+")


def part(name: str, **value: Any) -> Part:
    """A parameter with one value, given as valueCode="1" or resource={…}."""
    return {"name": name, **value}


def code_part(name: str, code: str) -> Part:
    """A parameter with a code as a client sent it, which need not have the form of one."""
    return part(name, valueCode=code) if _CODE.fullmatch(code) else part(name, valueString=code)


def uri_part(name: str, uri: str) -> Part:
    """A parameter with a URI as a client sent it, which need not have the form of one."""
    return part(name, valueUri=uri) if _URI.fullmatch(uri) else part(name, valueString=uri)


def concept_coding(system: str, code: str, display: str) -> dict[str, str]:
    """A Coding; a concept may have no name."""
    return {"system": system, "code": code, **({"display": display} if display else {})}


def parts(name: str, *inner: Part, **other: Any) -> Part:
    """A parameter that has parts, in alphabetical order."""
    return {**other, "name": name, "part": sorted(inner, key=_order)}


def parameters(given: Iterable[Part]) -> dict[str, Any]:
    """A Parameters resource, in alphabetical order of its names."""
    return {"resourceType": "Parameters", "parameter": sorted(given, key=_order)}


def _order(entry: Part) -> str:
    return str(entry["name"])
