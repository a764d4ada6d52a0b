"""Capabilities: what the server can do, as CapabilityStatement and TerminologyCapabilities."""

from __future__ import annotations

from typing import Any

import omop_emb
from omop_emb.web.fhir.code_systems import CodeSystem, omop_system, system_of
from omop_emb.web.fhir.fhir_version import FhirVersion
from omop_emb.web.fhir.operation import Operation
from omop_emb.web.fhir.outcome import invalid, shown
from omop_emb.web.fhir.parameters_resource import parameters, part

FORMATS = ("application/fhir+json", "application/json", "json")
# Of each resource: its operations. All can be read by id and searched by url.
OPERATIONS = {
    "CodeSystem": ("lookup", "validate-code"),
    "ValueSet": ("expand", "validate-code"),
    "ConceptMap": ("translate",),
}
_DATE = "2026-11-28"  # of the last change to this file
_INSTANTIATES = "http://hl7.org/fhir/CapabilityStatement/terminology-server"
_EXPANSION_PARAMETERS = (
    "activeOnly",
    "count",
    "displayLanguage",
    "filter",
    "includeDefinition",
    "includeDesignations",
    "offset",
    "tx-resource",
)


def metadata(operation: Operation) -> dict[str, Any]:
    """The answer to GET /metadata."""
    mode = operation.inputs.text("mode") or "full"
    if mode == "terminology":
        return _terminology(operation)
    if mode not in ("full", "normative"):
        raise invalid(f"mode must be full, normative or terminology; found '{shown(mode)}'")
    return {
        **_described("CapabilityStatement", operation),
        "instantiates": [_INSTANTIATES],
        "fhirVersion": operation.version.number,
        "format": list(FORMATS),
        "rest": [
            {
                "mode": "server",
                "resource": [_resource(name, operations) for name, operations in OPERATIONS.items()],
                "interaction": [{"code": "batch"}],
                "operation": [
                    {
                        "name": "versions",
                        "definition": "http://hl7.org/fhir/OperationDefinition/CapabilityStatement-versions",
                    }
                ],
            }
        ],
    }


def versions(operation: Operation) -> dict[str, Any]:
    """The answer to $versions: the versions of FHIR that the address answers in, and the default."""
    spoken = operation.version.spoken
    listed = [part("version", valueCode=version) for version in spoken]
    return parameters([*listed, part("default", valueCode=spoken[-1])])


def _described(kind: str, operation: Operation) -> dict[str, Any]:
    version = omop_emb.__version__
    return {
        "resourceType": kind,
        "url": f"{operation.base_url}/metadata{'' if kind == 'CapabilityStatement' else '?mode=terminology'}",
        "version": version,
        "name": "OmopEmb" if kind == "CapabilityStatement" else "OmopEmbTerminology",
        "title": "omop-emb: OMOP's concepts and mappings",
        "status": "active",
        "experimental": False,
        "date": _DATE,
        "kind": "instance",
        "software": {"name": "omop-emb", "version": version},
        "implementation": {
            "description": "Terminology server for the OMOP vocabulary of this site",
            "url": operation.base_url,
        },
    }


def _resource(name: str, operations: tuple[str, ...]) -> dict[str, Any]:
    return {
        "type": name,
        "interaction": [{"code": "read"}, {"code": "search-type"}],
        "searchParam": [{"name": "url", "type": "uri"}],
        "operation": [
            {"name": operation, "definition": f"http://hl7.org/fhir/OperationDefinition/{name}-{operation}"}
            for operation in operations
        ],
    }


def _terminology(operation: Operation) -> dict[str, Any]:
    terminology = operation.terminology
    systems = [omop_system(terminology)]
    systems += [system_of(terminology, vocabulary) for vocabulary in terminology.loaded_vocabularies]
    return {
        **_described("TerminologyCapabilities", operation),
        "lockedDate": False,
        "codeSystem": [_code_system(system, operation.version) for system in systems],
        "expansion": {
            "hierarchical": False,
            "paging": True,
            "incomplete": False,
            "parameter": [{"name": name} for name in _EXPANSION_PARAMETERS],
            "textFilter": "All words, in any order and case, must occur in the name or in one synonym.",
        },
        "codeSearch": "in-compose-or-expansion",
        "validateCode": {"translations": True},
        "translation": {"needsMap": False},
    }


def _code_system(system: CodeSystem, version: FhirVersion) -> dict[str, Any]:
    entry: dict[str, Any] = {"uri": system.uri}
    if system.version:
        entry["version"] = [{"code": system.version, "isDefault": True}]
    return entry if version.is_r4 else {**entry, "content": "complete"}
