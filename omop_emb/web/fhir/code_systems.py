"""Code systems: those that this server has, by their URIs and versions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from omop_emb.service.code_system_uris import OMOP as OMOP, system_uri as system_uri, vocabulary_of
from omop_emb.service.terminology import CONCEPT_IDS, Terminology
from omop_emb.web.fhir.outcome import not_found, shown


@dataclass(frozen=True, kw_only=True)
class CodeSystem:
    """A code system that this server has.

    Attributes:
        coding: CONCEPT_IDS, or the OMOP vocabulary that has the codes.
        version: as clients name it; None where the release does not say.
    """

    uri: str
    coding: str
    name: str
    version: str | None

    @property
    def canonical(self) -> str:
        """The URI with the version."""
        return f"{self.uri}|{self.version}" if self.version else self.uri


def omop_system(terminology: Terminology) -> CodeSystem:
    """The code system of OMOP's concept ids."""
    return CodeSystem(uri=OMOP, coding=CONCEPT_IDS, name="OMOP Concepts", version=terminology.version)


def system_of(terminology: Terminology, coding: str) -> CodeSystem:
    """The code system of a coding."""
    if coding == CONCEPT_IDS:
        return omop_system(terminology)
    listed = terminology.vocabularies.get(coding)
    return CodeSystem(
        uri=system_uri(coding),
        coding=coding,
        name=(listed and listed.name) or coding,
        version=listed.version if listed else None,
    )


def find_system(terminology: Terminology, uri: str) -> CodeSystem | None:
    """The code system with a URI; None if this server has no code of it."""
    if uri == OMOP:
        return omop_system(terminology)
    vocabulary = vocabulary_of(uri)
    if vocabulary is None or vocabulary not in terminology.loaded_vocabularies:
        return None
    return system_of(terminology, vocabulary)


def check_versions(terminology: Terminology, canonicals: Iterable[str]) -> None:
    """Raise FhirError if a system is to be used in a version that this server does not have."""
    for canonical in canonicals:
        url, version = split_canonical(canonical)
        system = find_system(terminology, url)
        if system is not None and version not in (None, system.version):
            raise not_found(
                f"A definition for CodeSystem '{system.uri}' version '{shown(version)}' could not be found. "
                f"Valid versions: {system.version}"
            )


def split_canonical(canonical: str) -> tuple[str, str | None]:
    """URL and version of a canonical "URL|VERSION"."""
    url, _, version = canonical.partition("|")
    return url, version or None
