"""Inputs: the parameters of an operation, from a query string or a Parameters resource."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omop_emb.web.fhir.outcome import FhirError, invalid, not_supported, shown

# What would change an answer and is not done here; to ignore it would give a wrong answer.
_UNSUPPORTED = (
    "codeSystem",
    "context",
    "dependency",
    "dependsOn",
    "exclude-system",
    "reverse",
    "useSupplement",
)


@dataclass(frozen=True, kw_only=True)
class Coding:
    """A code with its system; None is what the client does not say."""

    code: str | None = None
    system: str | None = None
    version: str | None = None
    display: str | None = None

    @classmethod
    def of(cls, value: object, name: str) -> Coding:
        """From a resource's Coding."""
        if not isinstance(value, Mapping):
            raise invalid(f"{name} must be a Coding, an object; found {type(value).__name__}")
        fields = {key: value.get(key) for key in ("code", "system", "version", "display")}
        for key, found in fields.items():
            if found is not None and not isinstance(found, str):
                raise invalid(f"{name}.{key} must be a string; found {type(found).__name__}")
        return cls(**fields)


@dataclass(frozen=True)
class Inputs:
    """The parameters of a request: name -> values, as JSON has them; those of a query string are strings."""

    values: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, query: Iterable[tuple[str, str]], body: object | None = None) -> Inputs:
        """From a query string's pairs and a Parameters resource."""
        values: dict[str, list[Any]] = {}
        for name, text in query:
            values.setdefault(name, []).append(text)
        if body is not None:
            for name, value in _parameters(body):
                values.setdefault(name, []).append(value)
        return cls(values)

    def has(self, *names: str) -> bool:
        """Whether any of some parameters is given."""
        return any(name in self.values for name in names)

    def check_supported(self) -> None:
        """Raise FhirError for a parameter that would change the answer, and does not here."""
        for name in _UNSUPPORTED:
            if self.has(name) and self.values[name] not in ([False], ["false"], [""]):
                raise not_supported(f"The parameter '{name}' is not supported by this server")

    def text(self, *names: str) -> str | None:
        """The string by the first of some names that is given; None if none is."""
        value = self._single(names)
        if value is None or isinstance(value, str):
            return value
        raise invalid(f"The parameter '{names[0]}' must be a string; found {type(value).__name__}")

    def texts(self, name: str) -> list[str]:
        """All strings by a name."""
        values = self.values.get(name, ())
        wrong = [value for value in values if not isinstance(value, str | bool | int | float)]
        if wrong:
            raise invalid(f"The parameter '{name}' must be a string; found {type(wrong[0]).__name__}")
        return [value if isinstance(value, str) else str(value).lower() for value in values]

    def flag(self, name: str) -> bool | None:
        """True or False; None if it is not given."""
        value = self._single((name,))
        if value is None or isinstance(value, bool):
            return value
        if value in ("true", "false"):
            return bool(value == "true")
        raise invalid(f"The parameter '{name}' must be true or false; found '{shown(value)}'")

    def number(self, name: str) -> int | None:
        """A whole number from 0; None if it is not given."""
        value = self._single((name,))
        if value is None:
            return None
        digits = str(value)
        if isinstance(value, bool) or not digits.isascii() or not digits.isdigit() or len(digits) > 10:
            raise invalid(f"The parameter '{name}' must be a whole number from 0; found '{shown(value)}'")
        return int(digits)

    def coding(self, *names: str) -> Coding | None:
        """A Coding, in a query string as SYSTEM|CODE; None if it is not given."""
        value = self._single(names)
        if value is None:
            return None
        if isinstance(value, str):
            system, _, code = value.rpartition("|")
            return Coding(system=system or None, code=code)
        return Coding.of(value, names[0])

    def resource(self, name: str) -> Mapping[str, Any] | None:
        """A resource or a value of several fields; None if it is not given."""
        value = self._single((name,))
        if value is None or isinstance(value, Mapping):
            return value
        raise invalid(f"The parameter '{name}' must be an object; found {type(value).__name__}")

    def _single(self, names: Sequence[str]) -> Any:
        given = [(name, value) for name in names for value in self.values.get(name, ())]
        if len(given) > 1:
            raise invalid(f"Give one '{given[0][0]}'; found {len(given)}")
        return given[0][1] if given else None


def _parameters(body: object) -> Iterable[tuple[str, Any]]:
    """The name and value of each parameter of a Parameters resource."""
    if not isinstance(body, Mapping) or body.get("resourceType") != "Parameters":
        found = body.get("resourceType") if isinstance(body, Mapping) else type(body).__name__
        raise invalid(f"The body must be a Parameters resource; found {shown(found)}")
    parameters = body.get("parameter", [])
    if not isinstance(parameters, list):
        raise invalid("Parameters.parameter must be a list")
    for number, parameter in enumerate(parameters):
        where = f"Parameters.parameter[{number}]"
        if not isinstance(parameter, Mapping) or not isinstance(parameter.get("name"), str):
            raise invalid(f"{where} must be an object with a name")
        values = [
            value
            for key, value in parameter.items()
            if key.startswith("value") or key in ("resource", "part")
        ]
        if len(values) != 1 or values[0] is None:
            raise invalid(f"{where} ('{shown(parameter['name'])}') must have one value; found {len(values)}")
        yield parameter["name"], values[0]


def codings_of(codeable_concept: Mapping[str, Any], name: str) -> list[Coding]:
    """The codings of a CodeableConcept."""
    codings = codeable_concept.get("coding", [])
    if not isinstance(codings, list):
        raise invalid(f"{name}.coding must be a list")
    return [Coding.of(coding, f"{name}.coding[{number}]") for number, coding in enumerate(codings)]


def only_one(given: Mapping[str, object | None], what: str) -> str:
    """The name of the single alternative that is given."""
    names = [name for name, value in given.items() if value is not None]
    if len(names) == 1:
        return names[0]
    alternatives = ", ".join(given)
    if not names:
        raise FhirError(400, "required", f"Give {what}: one of {alternatives}")
    raise invalid(f"Give {what} once: one of {alternatives}; found {' and '.join(names)}")
