"""$lookup: the properties, relationships and designations of a code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from omop_emb.records import Concept
from omop_emb.service.terminology import CONCEPT_IDS
from omop_emb.web.fhir.code_systems import OMOP, CodeSystem, find_system, split_canonical, system_uri
from omop_emb.web.fhir.inputs import Coding, only_one
from omop_emb.web.fhir.languages import ENGLISH, display, has_language, language_tag
from omop_emb.web.fhir.operation import Operation
from omop_emb.web.fhir.outcome import missing, not_found, shown
from omop_emb.web.fhir.parameters_resource import Part, concept_coding, parameters, part, parts
from omop_emb.web.fhir.terminology_resources import system_of_id

# FHIR's own names for the hierarchy.
_HIERARCHY = {"parent": "Is a", "child": "Subsumes"}
_PREFERRED = {
    "system": "http://terminology.hl7.org/CodeSystem/hl7TermMaintInfra",
    "code": "preferredForLanguage",
    "display": "Preferred For Language",
}


def lookup(operation: Operation) -> dict[str, Any]:
    """The answer to $lookup; FhirError for a code or system that does not exist."""
    system, coding = requested_code(operation)
    code = coding.code or ""
    concept = operation.terminology.find(system.coding, code)
    if concept is None:
        version = f" version {system.version}" if system.version else ""
        raise not_found(f"Unable to find code '{shown(code)}' in {system.uri}{version}")
    wanted = operation.inputs.texts("property")
    synonyms = operation.terminology.synonyms(concept)
    name, _ = display(concept, synonyms, operation.languages)
    answer = [
        part("name", valueString=system.name),
        part("display", valueString=name),
        part("code", valueCode=code),
        part("system", valueUri=system.uri),
        part("abstract", valueBoolean=False),
    ]
    if system.version:
        answer.append(part("version", valueString=system.version))
    answer += _designations(operation, concept, wanted)
    answer += sorted(_properties(operation, system, concept, wanted), key=_code_of)
    return parameters(answer)


def requested_code(operation: Operation) -> tuple[CodeSystem, Coding]:
    """The system and the code that $lookup is asked for."""
    inputs = operation.inputs
    code, coding = inputs.text("code"), inputs.coding("coding")
    if only_one({"code": code, "coding": coding}, "what to look up") == "code":
        coding = Coding(code=code, system=inputs.text("system"), version=inputs.text("version"))
    assert coding is not None  # noqa: S101 - one of the two is given
    called_on = system_of_id(operation)
    if called_on is not None and coding.system is None:
        coding = Coding(code=coding.code, system=called_on.uri, version=coding.version)
    if not coding.system:
        raise missing(f"the system of the code, such as {OMOP}")
    if not coding.code:
        raise missing("a code")
    url, version = split_canonical(coding.system)
    system = find_system(operation.terminology, url)
    if system is None:
        raise not_found(f"A definition for CodeSystem '{shown(url)}' could not be found")
    version = coding.version or version
    if version is not None and version != system.version:
        raise not_found(
            f"A definition for CodeSystem '{system.uri}' version '{shown(version)}' could not be found. "
            f"Valid versions: {system.version}"
        )
    return system, coding


def _designations(operation: Operation, concept: Concept, wanted: Sequence[str]) -> Iterator[Part]:
    """The name, and on request the synonyms: all, or those of a language.

    HL7's tests expect the name alone where nothing is asked for.
    """
    languages = [name.removeprefix("lang.") for name in wanted if name.startswith("lang.")]
    if not wanted or "designation" in wanted or ENGLISH in languages:
        yield parts(
            "designation",
            part("language", valueCode=ENGLISH),
            part("use", valueCoding=_PREFERRED),
            part("value", valueString=concept.concept_name or str(concept.concept_id)),
        )
    languages += () if wanted else operation.languages
    for synonym in operation.terminology.synonyms(concept):
        if "designation" in wanted or any(has_language(synonym, language) for language in languages):
            tag = language_tag(synonym)
            language = [part("language", valueCode=tag)] if tag else []
            yield parts("designation", *language, part("value", valueString=synonym.text))


def _properties(
    operation: Operation, system: CodeSystem, concept: Concept, wanted: Sequence[str]
) -> Iterator[Part]:
    terminology = operation.terminology
    properties = terminology.properties(concept)
    values: dict[str, dict[str, Any]] = {
        "inactive": {"valueBoolean": False},  # as HL7's tests demand of invalid concepts, too
        "standard-concept": {"valueCode": concept.standard_concept or "NS"},
        "source-concept-code": {"valueCoding": _source_code(concept)},
    }
    if system.coding != CONCEPT_IDS or "concept-id" in wanted:
        values["concept-id"] = {"valueInteger": concept.concept_id}
    stated: tuple[tuple[str, str, object], ...] = (
        ("concept-class-id", "valueCode", concept.concept_class_id),
        ("concept-class-concept-id", "valueCode", properties.concept_class_concept_id),
        ("domain-id", "valueCode", concept.domain_id),
        ("domain-concept-id", "valueCode", properties.domain_concept_id),
        ("invalid-reason", "valueString", concept.invalid_reason),
        ("valid-end-date", "valueDate", properties.valid_end),
        ("valid-start-date", "valueDate", properties.valid_start),
        ("vocabulary-id", "valueString", concept.vocabulary_id),
        ("vocabulary-concept-id", "valueCode", properties.vocabulary_concept_id),
    )
    values |= {name: {kind: str(value)} for name, kind, value in stated if value not in (None, "")}
    yield from (_property(name, value) for name, value in values.items() if not wanted or name in wanted)
    names = {_HIERARCHY.get(name, name): name for name in wanted}
    for relation in terminology.related(concept, names.keys() if wanted else None):
        shown_name = names.get(relation.relationship, relation.relationship)
        for related in relation.concepts:
            coding = concept_coding(OMOP, str(related.concept_id), related.concept_name)
            yield _property(shown_name, {"valueCoding": coding})
        if relation.total > len(relation.concepts):
            left_out = f"{relation.relationship}: {relation.total - len(relation.concepts)} more"
            yield _property("left-out", {"valueString": left_out})


def _source_code(concept: Concept) -> dict[str, str]:
    return {"system": system_uri(concept.vocabulary_id or ""), "code": concept.concept_code or ""}


def _property(code: str, value: dict[str, Any]) -> Part:
    return parts("property", part("code", valueCode=code), part("value", **value))


def _code_of(entry: Part) -> str:
    return str(entry["part"][0]["valueCode"]).lower()
