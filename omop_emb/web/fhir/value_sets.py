"""Value sets: those that a request brings along or names, as sets of concepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from omop_emb.service.terminology import CONCEPT_IDS, ConceptSet, Criterion, SetPart
from omop_emb.web.fhir import implicit_value_sets
from omop_emb.web.fhir.code_systems import OMOP, find_system, split_canonical, system_uri
from omop_emb.web.fhir.inputs import only_one
from omop_emb.web.fhir.operation import Operation
from omop_emb.web.fhir.outcome import FhirError, invalid, not_found, not_supported, shown
from omop_emb.web.fhir.value_set_filters import enumerated, filter_criteria

_MOST_NESTED = 10  # value sets that import each other
_VALID = Criterion(field="invalid_reason", values=("",))


@dataclass(frozen=True, kw_only=True)
class ValueSet:
    """A value set.

    Attributes:
        resource: as it was given, or made for an implicit one.
        concepts: its members.
    """

    resource: Mapping[str, Any]
    concepts: ConceptSet

    @property
    def canonical(self) -> str:
        """Its URL, with its version if it has one."""
        url, version = self.resource.get("url") or "", self.resource.get("version")
        return f"{url}|{version}" if version else str(url)

    @property
    def only_system(self) -> str:
        """The URI of the system that all its codes are of."""
        codings = self.concepts.codings
        if len(codings) != 1:
            raise invalid(f"The system cannot be inferred: the value set has {len(codings)} code systems")
        return OMOP if codings[0] == CONCEPT_IDS else system_uri(codings[0])


def requested_value_set(operation: Operation) -> ValueSet:
    """The value set that an operation is called on: by id, by url, or as a resource."""
    inputs = operation.inputs
    url, resource = inputs.text("url"), inputs.resource("valueSet")
    reader = _Reader(operation, _brought_along(operation))
    if operation.resource_id is not None and url is None and resource is None:
        return reader.read(implicit_value_sets.by_id(operation.terminology, operation.resource_id))
    if resource is not None and url is not None:
        url = None if split_canonical(url)[0] == resource.get("url") else url
    if only_one({"url": url, "valueSet": resource}, "the value set") == "valueSet":
        assert resource is not None  # noqa: S101 - it is the one that is given
        return reader.read(resource)
    assert url is not None  # noqa: S101 - it is the one that is given
    url, version = split_canonical(url)
    return reader.read(reader.find(url, inputs.text("valueSetVersion") or version))


def _brought_along(operation: Operation) -> dict[str, Mapping[str, Any]]:
    """URL -> value set, of those in the parameters tx-resource."""
    given: dict[str, Mapping[str, Any]] = {}
    for resource in operation.inputs.values.get("tx-resource", ()):
        if not isinstance(resource, Mapping):
            raise invalid("The parameter 'tx-resource' must be a resource")
        if resource.get("resourceType") == "ValueSet" and isinstance(resource.get("url"), str):
            given[resource["url"]] = resource
    return given


@dataclass(frozen=True)
class _Reader:
    """Reads value sets, and those that they import."""

    operation: Operation
    brought_along: Mapping[str, Mapping[str, Any]]
    trail: tuple[str, ...] = field(default=())

    def find(self, url: str, version: str | None) -> Mapping[str, Any]:
        """The value set with a URL."""
        resource = self.brought_along.get(url) or implicit_value_sets.by_url(self.operation.terminology, url)
        if resource is None:
            raise not_found(f"A definition for the value set '{shown(url)}' could not be found")
        if version is not None and resource.get("version") not in (version, None):
            raise not_found(
                f"A definition for the value set '{shown(url)}' version '{shown(version)}' could not be "
                f"found. Valid versions: {resource['version']}"
            )
        return resource

    def read(self, resource: Mapping[str, Any]) -> ValueSet:
        """A ValueSet resource as a set of concepts."""
        if resource.get("resourceType") != "ValueSet":
            raise invalid(f"A ValueSet is needed; found {shown(resource.get('resourceType'))}")
        url = resource.get("url")
        if url in self.trail or len(self.trail) > _MOST_NESTED:
            raise FhirError(422, "processing", f"The value set '{shown(url)}' imports itself")
        compose = resource.get("compose")
        if not isinstance(compose, Mapping):
            raise FhirError(
                422, "not-supported", "The value set has no compose, which says what belongs to it"
            )
        inner = _Reader(self.operation, self.brought_along, (*self.trail, url) if url else self.trail)
        include = inner._parts(compose, "include")
        if not include:
            raise invalid("ValueSet.compose.include must have an entry")
        if compose.get("inactive") is False:
            include = tuple(replace(part, criteria=(*part.criteria, _VALID)) for part in include)
        concepts = ConceptSet(include=include, exclude=inner._parts(compose, "exclude"))
        return ValueSet(resource=resource, concepts=concepts)

    def _parts(self, compose: Mapping[str, Any], name: str) -> tuple[SetPart, ...]:
        given = compose.get(name, [])
        where = f"ValueSet.compose.{name}"
        if not isinstance(given, list) or not all(isinstance(entry, Mapping) for entry in given):
            raise invalid(f"{where} must be a list of objects")
        return tuple(self._part(entry, f"{where}[{number}]") for number, entry in enumerate(given))

    def _part(self, entry: Mapping[str, Any], where: str) -> SetPart:
        within = tuple(self._imported(canonical) for canonical in _list_of(entry, "valueSet", str, where))
        system = entry.get("system")
        codes: Sequence[Any] = _list_of(entry, "concept", Mapping, where)
        filters: Sequence[Any] = _list_of(entry, "filter", Mapping, where)
        if system is None:
            if not within or codes or filters:
                raise invalid(f"{where} must have a system, or valueSet alone")
            return SetPart(coding=None, within=within)
        if codes and filters:
            raise invalid(f"{where} must not have both concept and filter")
        found = find_system(self.operation.terminology, str(system))
        version = entry.get("version")
        if found is None or version not in (None, "*", found.version):
            version_text = f" version '{shown(version)}'" if version else ""
            valid = "" if found is None else f". Valid versions: {found.version}"
            text = f"A definition for CodeSystem '{shown(system)}'{version_text} could not be found{valid}"
            raise FhirError(422, "not-found", text)
        if codes:
            criteria = enumerated(found.coding, codes, where)
        else:
            criteria = filter_criteria(self.operation.terminology, found.coding, filters, where)
        return SetPart(coding=found.coding, criteria=criteria, within=within)

    def _imported(self, canonical: str) -> ConceptSet:
        url, version = split_canonical(canonical)
        return self.read(self.find(url, version)).concepts


def _list_of(entry: Mapping[str, Any], name: str, kind: type, where: str) -> list[Any]:
    found = entry.get(name, [])
    if not isinstance(found, list) or not all(isinstance(value, kind) for value in found):
        raise invalid(f"{where}.{name} must be a list of {'strings' if kind is str else 'objects'}")
    return found


def check_expandable(operation: Operation) -> None:
    """Raise FhirError for what this server does not do when it expands."""
    if operation.inputs.flag("excludeNested") is False:
        raise not_supported("Expansions are flat: excludeNested must be true")
