"""Concept maps: from each vocabulary to standard concepts, and from OMOP's concepts to each vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from omop_emb.service.terminology import Terminology
from omop_emb.web.fhir.code_systems import OMOP, CodeSystem, omop_system, split_canonical, system_of
from omop_emb.web.fhir.fhir_version import FhirVersion
from omop_emb.web.fhir.implicit_value_sets import resource_id
from omop_emb.web.fhir.outcome import not_found, shown

_BASE = f"{OMOP}/ConceptMap/"
_STANDARD = "to-standard"


@dataclass(frozen=True, kw_only=True)
class ConceptMap:
    """A concept map: `source` and `target` are its code systems."""

    identifier: str
    title: str
    source: CodeSystem
    target: CodeSystem
    version: str | None

    @property
    def url(self) -> str:
        """Its URL."""
        return _BASE + self.identifier

    @property
    def canonical(self) -> str:
        """Its URL with its version."""
        return f"{self.url}|{self.version}" if self.version else self.url

    def resource(self, version: FhirVersion) -> dict[str, Any]:
        """It as a resource; its mappings are too many to be listed, $translate gives each."""
        scope = ("sourceUri", "targetUri") if version.is_r4 else ("sourceScopeUri", "targetScopeUri")
        stated = {"version": self.version} if self.version else {}
        return {
            "resourceType": "ConceptMap",
            "id": resource_id(self.identifier),
            "url": self.url,
            **stated,
            "name": "".join(
                word.capitalize() for word in resource_id(self.identifier).replace(".", "-").split("-")
            ),
            "title": self.title,
            "status": "active",
            "experimental": False,
            scope[0]: f"{self.source.uri}?fhir_vs",
            scope[1]: f"{self.target.uri}?fhir_vs",
        }


def to_standard(terminology: Terminology) -> ConceptMap:
    """The map from OMOP's concepts to standard ones."""
    omop = omop_system(terminology)
    return ConceptMap(
        identifier=_STANDARD,
        title="Concepts to standard concepts",
        source=omop,
        target=omop,
        version=omop.version,
    )


def to_vocabulary(terminology: Terminology, vocabulary_id: str) -> ConceptMap:
    """The map from OMOP's concepts to the codes of a vocabulary."""
    omop = omop_system(terminology)
    return ConceptMap(
        identifier=f"to-{_key(terminology, vocabulary_id)}",
        title=f"Concepts to codes of {vocabulary_id}",
        source=omop,
        target=system_of(terminology, vocabulary_id),
        version=omop.version,
    )


def from_vocabulary(terminology: Terminology, vocabulary_id: str) -> ConceptMap:
    """The map from the codes of a vocabulary to standard concepts."""
    omop = omop_system(terminology)
    return ConceptMap(
        identifier=f"from-{_key(terminology, vocabulary_id)}",
        title=f"Codes of {vocabulary_id} to standard concepts",
        source=system_of(terminology, vocabulary_id),
        target=omop,
        version=omop.version,
    )


def all_of(terminology: Terminology) -> Iterator[ConceptMap]:
    """The maps of all vocabularies that have concepts."""
    yield to_standard(terminology)
    for vocabulary in terminology.loaded_vocabularies:
        yield to_vocabulary(terminology, vocabulary)
        yield from_vocabulary(terminology, vocabulary)


def by_url(terminology: Terminology, canonical: str) -> ConceptMap:
    """The map with a URL; a version in it is not compared, as HL7's tests expect."""
    url, _ = split_canonical(canonical)
    if url.startswith(_BASE):
        return by_id(terminology, url.removeprefix(_BASE))
    raise not_found(f"A definition for the concept map '{shown(url)}' could not be found")


def by_id(terminology: Terminology, identifier: str) -> ConceptMap:
    """The map with an id: "to-" or "from-" and a vocabulary, by its concept id or its own."""
    if identifier == _STANDARD:
        return to_standard(terminology)
    direction, _, key = unquote(identifier).partition("-")
    for vocabulary in terminology.loaded_vocabularies:
        if key in (_key(terminology, vocabulary), vocabulary, resource_id(vocabulary)):
            if direction == "to":
                return to_vocabulary(terminology, vocabulary)
            if direction == "from":
                return from_vocabulary(terminology, vocabulary)
    raise not_found(f"There is no ConceptMap '{shown(identifier)}'")


def _key(terminology: Terminology, vocabulary_id: str) -> str:
    listed = terminology.vocabularies.get(vocabulary_id)
    concept_id = listed.concept_id if listed else None
    return str(concept_id) if concept_id else resource_id(vocabulary_id)
