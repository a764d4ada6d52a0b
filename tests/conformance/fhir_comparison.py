"""Comparison of an answer with the one that HL7's tests for terminology servers expect.

The rules are those of the tests' own readme: the order in arrays does not matter, "$uuid$" and the like stand
for any value of a kind, and entries and properties may be marked as optional.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_TEMPLATES = {
    "$$": r".*",
    "$date$": r"\d{4}(-\d\d(-\d\d)?)?",
    "$id$": r"[A-Za-z0-9\-.]{1,64}",
    "$instant$": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)",
    "$semver$": r"\d+\.\d+(\.\d+)?(-.+)?",
    "$string$": r"\S(.*\S)?",
    "$token$": r"[A-Za-z0-9\-.]+",
    "$url$": r"(https?://|urn:)\S+",
    "$uuid$": r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
}
_OPTIONAL, _PROPERTIES, _COUNTED = "$optional$", "$optional-properties$", "$count-arrays$"


@dataclass(frozen=True)
class Comparison:
    """Compares answers of a server that speaks a version of FHIR, such as "5.0.0"."""

    fhir_version: str
    modes: frozenset[str] = frozenset({"omop"})

    def difference(self, expected: Any, actual: Any, path: str = "") -> str:
        """Where an answer differs from what is expected, and how; "" if it does not."""
        if isinstance(expected, Mapping) and isinstance(actual, Mapping):
            return self._objects(expected, actual, path)
        if isinstance(expected, list) and isinstance(actual, list):
            return self._arrays(expected, actual, path)
        if isinstance(expected, str) and isinstance(actual, str):
            return "" if self._texts(expected, actual) else f"{path}: expected {expected!r}, found {actual!r}"
        if type(expected) is type(actual) and expected == actual:
            return ""
        return f"{path}: expected {expected!r}, found {actual!r}"

    def _objects(self, expected: Mapping[str, Any], actual: Mapping[str, Any], path: str) -> str:
        optional = set(expected.get(_PROPERTIES, ()))
        names = [name for name in expected if name not in (_OPTIONAL, _PROPERTIES, _COUNTED)]
        for name in names:
            where = f"{path}.{name}".lstrip(".")
            if name not in actual:
                if name in optional or "*" in optional or self._may_be_empty(expected[name]):
                    continue
                return f"{where}: expected, and not found"
            if name in expected.get(_COUNTED, ()):
                if len(expected[name]) != len(actual[name]):
                    return f"{where}: expected {len(expected[name])} entries, found {len(actual[name])}"
            elif difference := self.difference(expected[name], actual[name], where):
                return difference
        unexpected = sorted(actual.keys() - set(names))
        return f"{path}.{unexpected[0]}".lstrip(".") + ": found, and not expected" if unexpected else ""

    def _arrays(self, expected: Sequence[Any], actual: Sequence[Any], path: str) -> str:
        """Each entry of an answer is matched with an expected one, whatever the order."""
        left = list(actual)
        for number, entry in enumerate(expected):
            where = f"{path}[{number}]{_named(entry)}"
            differences = [self.difference(entry, other, where) for other in left]
            if "" in differences:
                del left[differences.index("")]
            elif not self._is_optional(entry):
                # The difference that lies deepest is that of the entry which was meant.
                return max(differences, key=len, default="") or f"{where}: expected, and not found"
        return f"{path}: found {left[0]!r}, which is not expected" if left else ""

    def _texts(self, expected: str, actual: str) -> bool:
        expected = expected.replace("$version$", self.fhir_version)
        if expected in _TEMPLATES:
            return re.fullmatch(_TEMPLATES[expected], actual, re.DOTALL) is not None
        _, _, values = expected.strip("$").partition(":")
        if expected.startswith("$choice:"):
            return actual in values.split("|")
        if expected.startswith("$fragments:"):
            return all(fragment.lower() in actual.lower() for fragment in values.split("|"))
        if expected.startswith("$external:"):
            fragments = values.partition(":")[2]
            return all(fragment.lower() in actual.lower() for fragment in fragments.split("|"))
        return expected == actual

    def _is_optional(self, entry: Any) -> bool:
        """Whether an entry of an array may be left out of an answer in this version and these modes."""
        condition = entry.get(_OPTIONAL) if isinstance(entry, Mapping) else None
        if not isinstance(condition, str):
            return condition is True
        if condition.startswith("warning:"):
            return True
        if condition.startswith("version:"):
            return self.fhir_version.startswith(condition.removeprefix("version:"))
        return condition.removeprefix("!") not in self.modes

    def _may_be_empty(self, expected: Any) -> bool:
        return isinstance(expected, list) and all(self._is_optional(entry) for entry in expected)


def _named(entry: Any) -> str:
    return f"({entry['name']})" if isinstance(entry, Mapping) and "name" in entry else ""
