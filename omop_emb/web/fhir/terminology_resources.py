"""Resources: code systems, value sets and concept maps, to be read by id and searched by url."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from omop_emb.service.terminology import CONCEPT_IDS, Terminology
from omop_emb.web.fhir import concept_maps, implicit_value_sets
from omop_emb.web.fhir.code_systems import (
    CodeSystem,
    find_system,
    omop_system,
    split_canonical,
    system_of,
)
from omop_emb.web.fhir.implicit_value_sets import resource_id
from omop_emb.web.fhir.operation import Operation
from omop_emb.web.fhir.outcome import FhirError, not_found, shown
from omop_emb.web.fhir.value_set_filters import HIERARCHY_OPERATORS, OPERATORS, PROPERTIES

OMOP_ID = "omop"
_SEARCHED_BY = ("url", "_id", "_count", "_offset")
_MOST_ENTRIES = 1_000
_PROPERTIES = (
    ("concept-class-concept-id", "code", "Concept that stands for the concept class"),
    ("concept-class-id", "code", "Concept class"),
    ("concept-id", "integer", "Concept id, where the code is a source vocabulary's"),
    ("domain-concept-id", "code", "Concept that stands for the domain"),
    ("domain-id", "code", "Domain"),
    ("inactive", "boolean", "Always false: invalid-reason says whether a concept is valid"),
    ("invalid-reason", "string", "D for a concept that was withdrawn, U for one that was replaced"),
    ("source-concept-code", "Coding", "Code in the vocabulary that the concept comes from"),
    ("standard-concept", "code", "S for standard, C for classification, NS for neither"),
    ("valid-end-date", "dateTime", "Last day on which the concept is valid"),
    ("valid-start-date", "dateTime", "First day on which the concept is valid"),
    ("vocabulary-concept-id", "code", "Concept that stands for the vocabulary"),
    ("vocabulary-id", "string", "Vocabulary"),
)


def read(kind: str, operation: Operation) -> dict[str, Any]:
    """The resource of a kind with an id."""
    identifier = operation.resource_id or ""
    if kind == "ValueSet":
        return implicit_value_sets.by_id(operation.terminology, identifier)
    if kind == "ConceptMap":
        return concept_maps.by_id(operation.terminology, identifier).resource(operation.version)
    return _code_system(operation.terminology, _system_by_id(operation.terminology, identifier))


def search(kind: str, operation: Operation) -> dict[str, Any]:
    """A Bundle of the resources of a kind: all, or that with a URL."""
    inputs = operation.inputs
    url, count, offset = inputs.text("url"), inputs.number("_count"), inputs.number("_offset") or 0
    found = list(_SEARCHES[kind](operation, url))
    identifier = inputs.text("_id")
    if identifier is not None:
        found = [resource for resource in found if resource["id"] == identifier]
    limit = _MOST_ENTRIES if count is None else min(count, _MOST_ENTRIES)
    bundle: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": len(found),
        "link": [{"relation": "self", "url": _self_link(kind, operation)}],
    }
    entries = [
        {
            "fullUrl": f"{operation.base_url}/{kind}/{resource['id']}",
            "resource": resource,
            "search": {"mode": "match"},
        }
        for resource in found[offset : offset + limit]
    ]
    return {**bundle, "entry": entries} if entries else bundle


def _self_link(kind: str, operation: Operation) -> str:
    pairs = [(name, text) for name in _SEARCHED_BY for text in operation.inputs.texts(name)]
    query = "&".join(f"{quote(name)}={quote(text, safe='')}" for name, text in pairs)
    return f"{operation.base_url}/{kind}" + (f"?{query}" if query else "")


def _code_systems(operation: Operation, url: str | None) -> Iterator[dict[str, Any]]:
    terminology = operation.terminology
    systems = _systems(terminology)
    if url is not None:
        address, version = split_canonical(url)
        system = find_system(terminology, address)
        systems = iter([system] if system and version in (None, system.version) else [])
    for system in systems:
        yield _code_system(terminology, system)


def _value_sets(operation: Operation, url: str | None) -> Iterator[dict[str, Any]]:
    terminology = operation.terminology
    if url is None:
        yield from implicit_value_sets.all_of(terminology)
        return
    address, version = split_canonical(url)
    found = implicit_value_sets.by_url(terminology, address)
    if found is not None and version in (None, found.get("version")):
        yield found


def _concept_maps(operation: Operation, url: str | None) -> Iterator[dict[str, Any]]:
    if url is None:
        for concept_map in concept_maps.all_of(operation.terminology):
            yield concept_map.resource(operation.version)
        return
    try:
        yield concept_maps.by_url(operation.terminology, url).resource(operation.version)
    except FhirError:
        return


_SEARCHES: Mapping[str, Callable[[Operation, str | None], Iterator[dict[str, Any]]]] = {
    "CodeSystem": _code_systems,
    "ValueSet": _value_sets,
    "ConceptMap": _concept_maps,
}


def _systems(terminology: Terminology) -> Iterator[CodeSystem]:
    yield omop_system(terminology)
    for vocabulary in terminology.loaded_vocabularies:
        yield system_of(terminology, vocabulary)


def _system_by_id(terminology: Terminology, identifier: str) -> CodeSystem:
    for system in _systems(terminology):
        if identifier in (_system_id(system), system.coding):
            return system
    raise not_found(f"There is no CodeSystem '{shown(identifier)}'")


def _system_id(system: CodeSystem) -> str:
    return OMOP_ID if system.coding == CONCEPT_IDS else resource_id(system.coding)


def _code_system(terminology: Terminology, system: CodeSystem) -> dict[str, Any]:
    """A code system as a resource; its codes are too many to be listed."""
    is_omop = system.coding == CONCEPT_IDS
    resource: dict[str, Any] = {
        "resourceType": "CodeSystem",
        "id": _system_id(system),
        "url": system.uri,
        "name": "OMOPConcepts" if is_omop else "Vocabulary" + "".join(filter(str.isalnum, system.coding)),
        "title": system.name,
        "status": "active",
        "experimental": False,
        "caseSensitive": True,
        "valueSet": f"{system.uri}?fhir_vs",
        "content": "not-present",
        "filter": [
            {"code": name, "operator": list(OPERATORS), "value": f"A value of the property {name}"}
            for name in PROPERTIES
        ],
        "property": [
            {"code": name, "description": description, "type": kind}
            for name, kind, description in _PROPERTIES
        ],
    }
    resource["filter"].append(
        {"code": "concept", "operator": list(HIERARCHY_OPERATORS), "value": "A code of this system"}
    )
    if is_omop:
        resource["count"] = terminology.count_concepts()
        resource["publisher"] = "Observational Health Data Sciences and Informatics (OHDSI)"
    if system.version:
        resource["version"] = system.version
    return resource


def check_kind(kind: str) -> None:
    """Raise FhirError for a type of resource that this server does not have."""
    if kind not in _SEARCHES:
        raise not_found(f"This server has {', '.join(_SEARCHES)}; found '{shown(kind)}'")


def system_of_id(operation: Operation) -> CodeSystem | None:
    """The code system that an operation is called on; None if it is called on the type."""
    if operation.resource_id is None:
        return None
    return _system_by_id(operation.terminology, operation.resource_id)
