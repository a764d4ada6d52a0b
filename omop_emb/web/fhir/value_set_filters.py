"""Value set filters: the properties of concepts that a value set may be made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omop_emb.service.terminology import CONCEPT_IDS, NON_STANDARD, Criterion, Terminology
from omop_emb.web.fhir.outcome import FhirError, invalid, shown

# Property of FHIR -> field of a concept; $lookup's names of the properties mean the same.
PROPERTIES = {
    "domain": "domain_id",
    "vocabulary": "vocabulary_id",
    "concept-class": "concept_class_id",
    "standard-concept": "standard_concept",
    "invalid-reason": "invalid_reason",
}
OPERATORS = ("=", "in", "not-in")
HIERARCHY_OPERATORS = ("is-a", "descendent-of")
_ALIASES = {
    "domain-id": "domain",
    "vocabulary-id": "vocabulary",
    "concept-class-id": "concept-class",
    "standard": "standard-concept",
}
_STANDARD = ("S", "C", NON_STANDARD)
_INVALID = ("D", "U")


def enumerated(coding: str, concepts: Sequence[Mapping[str, Any]], where: str) -> tuple[Criterion, ...]:
    """The criterion of a list of codes; those that do not exist are no members."""
    codes = [concept.get("code") for concept in concepts]
    if not all(isinstance(code, str) for code in codes):
        raise invalid(f"{where}.concept must have codes, which are strings")
    if coding != CONCEPT_IDS:
        known = tuple(str(code) for code in codes if "\0" not in str(code))
        return (Criterion(field="concept_code", values=known),)
    return (
        Criterion(field="concept_id", values=tuple(int(str(code)) for code in codes if _is_concept_id(code))),
    )


def filter_criteria(
    terminology: Terminology, coding: str, filters: Sequence[Mapping[str, Any]], where: str
) -> tuple[Criterion, ...]:
    """The criteria of filters, all of which must hold.

    A filter by domain takes the standard concepts, as HL7's tests expect, unless another filter says which.
    """
    criteria = [
        _criterion(terminology, coding, entry, f"{where}.filter[{number}]")
        for number, entry in enumerate(filters)
    ]
    fields = {criterion.field for criterion in criteria}
    if "domain_id" in fields and "standard_concept" not in fields:
        criteria.append(Criterion(field="standard_concept", values=("S",)))
    return tuple(criteria)


def _criterion(terminology: Terminology, coding: str, entry: Mapping[str, Any], where: str) -> Criterion:
    given = [entry.get(name) for name in ("property", "op", "value")]
    if not all(isinstance(text, str) and text for text in given):
        raise invalid(f"{where} must have property, op and value, which are strings")
    name, operator, value = map(str, given)
    name = _ALIASES.get(name, name)
    if name in ("concept", "code") and operator in HIERARCHY_OPERATORS:
        return _hierarchy(terminology, coding, operator, value, where)
    if name not in PROPERTIES or operator not in OPERATORS:
        raise FhirError(
            422,
            "not-supported",
            f"The filter '{shown(name)} {shown(operator)} {shown(value)}' is not supported: use "
            f"{', '.join(PROPERTIES)} with {', '.join(OPERATORS)}; "
            f"concept with {', '.join(HIERARCHY_OPERATORS)}",
        )
    values = [value] if operator == "=" else [text.strip() for text in value.split(",")]
    for text in values:
        _check_value(terminology, name, text, where)
    return Criterion(field=PROPERTIES[name], values=tuple(values), negated=operator == "not-in")


def _check_value(terminology: Terminology, name: str, value: str, where: str) -> None:
    existing: Sequence[str]
    if name == "domain":
        existing = terminology.domains
    elif name == "vocabulary":
        existing = sorted({*terminology.vocabularies, *terminology.loaded_vocabularies})
    elif name == "concept-class":
        existing = terminology.concept_classes
    else:
        existing = _STANDARD if name == "standard-concept" else _INVALID
    if value not in existing:
        closest = terminology.closest(value, existing) or (existing if len(existing) < 5 else [])
        hint = f"; did you mean {' or '.join(map(repr, closest))}?" if closest else ""
        raise FhirError(422, "code-invalid", f"{where}: there is no {name} {shown(value)!r}{hint}")


def _hierarchy(terminology: Terminology, coding: str, operator: str, value: str, where: str) -> Criterion:
    """The descendants of a concept, or these and itself."""
    concept = terminology.find(coding, value)
    if concept is None:
        raise FhirError(422, "code-invalid", f"{where}: there is no concept {shown(value)!r}")
    is_self = operator == "is-a"
    return Criterion(field="ancestor or self" if is_self else "ancestor", values=(concept.concept_id,))


def _is_concept_id(code: object) -> bool:
    text = str(code)
    return text.isascii() and text.isdigit() and len(text) <= 10 and str(int(text)) == text
