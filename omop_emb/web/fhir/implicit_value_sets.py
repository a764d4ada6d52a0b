"""Implicit value sets: one for each domain and each vocabulary, which no client has to send."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from omop_emb.service.terminology import CONCEPT_IDS, Terminology
from omop_emb.web.fhir.code_systems import OMOP, find_system
from omop_emb.web.fhir.outcome import not_found, shown

_BASE = f"{OMOP}/ValueSet/"
_VOCABULARY = "vocabulary-"
_ALL = "?fhir_vs"
_NOT_OF_AN_ID = re.compile(r"[^A-Za-z0-9.-]")


def resource_id(name: str) -> str:
    """A name as the id of a resource, which has letters, digits, hyphens and dots only."""
    return _NOT_OF_AN_ID.sub("-", name)[:64]


def by_url(terminology: Terminology, url: str) -> dict[str, Any] | None:
    """The implicit value set with a URL: of a domain, a vocabulary, or all codes of a system (?fhir_vs)."""
    if url.endswith(_ALL):
        return _of_system(terminology, url.removesuffix(_ALL))
    name = unquote(url.removeprefix(_BASE)) if url.startswith(_BASE) else ""
    return _named(terminology, name) if name else None


def by_id(terminology: Terminology, identifier: str) -> dict[str, Any]:
    """The implicit value set with an id."""
    found = _named(terminology, unquote(identifier))
    if found is None:
        raise not_found(f"There is no ValueSet '{shown(identifier)}'")
    return found


def all_of(terminology: Terminology) -> Iterator[dict[str, Any]]:
    """The value sets of all domains, and of all vocabularies that have concepts."""
    for domain in terminology.domains:
        yield _of_domain(terminology, domain)
    for vocabulary in terminology.loaded_vocabularies:
        yield _of_vocabulary(terminology, vocabulary)


def _named(terminology: Terminology, name: str) -> dict[str, Any] | None:
    domain = _match(name, terminology.domains)
    if domain is not None:
        return _of_domain(terminology, domain)
    if name.startswith(_VOCABULARY):
        vocabulary = _match(name.removeprefix(_VOCABULARY), terminology.loaded_vocabularies)
        return None if vocabulary is None else _of_vocabulary(terminology, vocabulary)
    return None


def _match(name: str, existing: Any) -> str | None:
    """The existing name that is meant: to the letter, or as an id."""
    if name in existing:
        return name
    return next((other for other in existing if resource_id(other) == name), None)


def _of_domain(terminology: Terminology, domain: str) -> dict[str, Any]:
    filters = [{"property": "domain", "op": "=", "value": domain}]
    title = f"Standard concepts of the domain {domain}"
    return _resource(terminology, resource_id(domain), _BASE + quote(domain, safe=""), title, OMOP, filters)


def _of_vocabulary(terminology: Terminology, vocabulary: str) -> dict[str, Any]:
    filters = [{"property": "vocabulary", "op": "=", "value": vocabulary}]
    name = _VOCABULARY + vocabulary
    title = f"Concepts of the vocabulary {vocabulary}"
    return _resource(terminology, resource_id(name), _BASE + quote(name, safe=""), title, OMOP, filters)


def _of_system(terminology: Terminology, uri: str) -> dict[str, Any] | None:
    system = find_system(terminology, uri)
    if system is None:
        return None
    identifier = resource_id("all" if system.coding == CONCEPT_IDS else f"all-{system.coding}")
    return _resource(terminology, identifier, uri + _ALL, f"All codes of {system.name}", uri, [])


def _resource(
    terminology: Terminology,
    identifier: str,
    url: str,
    title: str,
    system: str,
    filters: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    include: dict[str, Any] = {"system": system}
    if filters:
        include["filter"] = list(filters)
    version = {"version": terminology.version} if terminology.version else {}
    return {
        "resourceType": "ValueSet",
        "id": identifier,
        "url": url,
        **version,
        "name": "OMOP" + re.sub(r"[^A-Za-z0-9]", "", identifier.title()),
        "title": title,
        "status": "active",
        "experimental": False,
        "compose": {"include": [include]},
    }
