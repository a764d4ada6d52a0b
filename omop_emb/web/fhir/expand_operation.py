"""$expand: the members of a value set, page by page."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from omop_emb.service.terminology import CONCEPT_IDS, CodedConcept
from omop_emb.web.fhir.code_systems import OMOP, system_of, system_uri
from omop_emb.web.fhir.languages import display, is_english, language_tag
from omop_emb.web.fhir.operation import Operation
from omop_emb.web.fhir.outcome import FhirError
from omop_emb.web.fhir.parameters_resource import Part, part
from omop_emb.web.fhir.value_sets import check_expandable, requested_value_set

MOST_MEMBERS = 10_000
"""Members in one answer."""


def expand(operation: Operation) -> dict[str, Any]:
    """The answer to $expand: the value set with an expansion instead of its definition."""
    inputs, terminology = operation.inputs, operation.terminology
    check_expandable(operation)
    value_set = requested_value_set(operation)
    text, active_only = inputs.text("filter") or "", inputs.flag("activeOnly")
    count, offset = inputs.number("count"), inputs.number("offset")
    page = terminology.page(
        value_set.concepts,
        text=text,
        valid_only=active_only is True,
        limit=MOST_MEMBERS if count is None else min(count, MOST_MEMBERS),
        offset=offset or 0,
    )
    if count is None and page.total - (offset or 0) > MOST_MEMBERS:
        raise FhirError(
            422,
            "too-costly",
            f"The expansion has {page.total:,} members, and at most {MOST_MEMBERS:,} fit into an answer: "
            "ask for pages with count and offset, or give a filter",
        )
    systems = [system_of(terminology, coding) for coding in value_set.concepts.codings]
    applied = [part("used-codesystem", valueUri=system.canonical) for system in systems]
    applied += _applied(text, active_only, count, offset)
    expansion: dict[str, Any] = {
        "identifier": f"urn:uuid:{uuid4()}",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "total": page.total,
        "parameter": applied,
    }
    if count is not None or offset is not None:
        expansion["offset"] = offset or 0
    contains = [_member(operation, member) for member in page.members]
    if contains:
        expansion["contains"] = contains
    described = {name: value for name, value in value_set.resource.items() if name not in ("id", "expansion")}
    if inputs.flag("includeDefinition") is not True:
        described.pop("compose", None)
    return {**described, "expansion": expansion}


def _applied(text: str, active_only: bool | None, count: int | None, offset: int | None) -> Iterable[Part]:
    """The parameters that shaped an expansion."""
    if text:
        yield part("filter", valueString=text)
    if active_only is not None:
        yield part("activeOnly", valueBoolean=active_only)
    if count is not None:
        yield part("count", valueInteger=min(count, MOST_MEMBERS))
    if offset is not None:
        yield part("offset", valueInteger=offset)


def _member(operation: Operation, member: CodedConcept) -> dict[str, Any]:
    coding, concept = member
    by_id = coding == CONCEPT_IDS
    entry: dict[str, Any] = {
        "system": OMOP if by_id else system_uri(coding),
        "code": str(concept.concept_id) if by_id else concept.concept_code,
    }
    if concept.invalid_reason is not None:
        entry["inactive"] = True
    wants_designations = operation.inputs.flag("includeDesignations") is True
    needs_synonyms = wants_designations or not all(map(is_english, operation.languages[:1]))
    synonyms = operation.terminology.synonyms(concept) if needs_synonyms else []
    name, _ = display(concept, synonyms, operation.languages)
    if name:
        entry["display"] = name
    if wants_designations and synonyms:
        entry["designation"] = [
            {"value": synonym.text}
            if (tag := language_tag(synonym)) is None
            else {"language": tag, "value": synonym.text}
            for synonym in synonyms
        ]
    return entry
