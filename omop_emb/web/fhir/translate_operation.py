"""$translate: from codes to standard concepts, from concepts to codes, and from texts to suggestions."""

from __future__ import annotations

from collections.abc import Sequence

from omop_emb.service.terminology import CONCEPT_IDS, Translation
from omop_emb.web.fhir import concept_maps
from omop_emb.web.fhir.code_systems import OMOP, CodeSystem, find_system, omop_system, split_canonical
from omop_emb.web.fhir.concept_maps import ConceptMap
from omop_emb.web.fhir.fhir_version import FhirVersion
from omop_emb.web.fhir.inputs import Coding, codings_of
from omop_emb.web.fhir.match_parts import products, relation
from omop_emb.web.fhir.operation import Later, Operation, Resource
from omop_emb.web.fhir.outcome import invalid, missing, not_found, not_supported, shown
from omop_emb.web.fhir.parameters_resource import Part, concept_coding, parameters, part, parts
from omop_emb.web.fhir.text_suggestions import suggestions

_NOTHING = "No translations found"
_CONCEPT = ("sourceCodeableConcept", "codeableConcept")
_TARGETS = ("targetCode", "targetCoding", "targetCodeableConcept")


def translate(operation: Operation) -> Resource | Later:
    """The answer to $translate; that to a text comes later."""
    inputs = operation.inputs
    if inputs.has(*_TARGETS):
        raise not_supported(
            f"Translations go from source to target: give the concept as sourceCode of the system {OMOP}, "
            "and the code system to translate to as targetSystem"
        )
    codings, text = _requested(operation)
    concept_map = _requested_map(operation)
    target = _target(operation, concept_map)
    answers = [_translated(operation, coding, concept_map, target) for coding in codings]
    matches = [match for found, _, _ in answers for match in found]
    problems = list(dict.fromkeys(problem for _, _, problem in answers))
    if not matches and text.strip():
        if target is not None and target.coding != CONCEPT_IDS:
            raise not_supported(f"Texts are translated to {OMOP} only")
        return suggestions(operation, text, problems)
    used = [entry for _, parts_of_one, _ in answers for entry in parts_of_one]
    answer = [part("result", valueBoolean=bool(matches)), *_distinct(matches), *_distinct(used)]
    if not matches:
        answer.append(part("message", valueString="; ".join(problems)))
    return parameters(answer)


def _requested(operation: Operation) -> tuple[list[Coding], str]:
    """The codings to translate, and the text for where they lead nowhere."""
    inputs = operation.inputs
    code, coding = inputs.text("sourceCode", "code"), inputs.coding("sourceCoding", "coding")
    concept = next((found for name in _CONCEPT if (found := inputs.resource(name)) is not None), None)
    text = inputs.text("text")
    given = [value for value in (code, coding, concept, text) if value is not None]
    if not given:
        raise missing(
            "what to translate: sourceCode with its system, sourceCoding, sourceCodeableConcept or text"
        )
    if len(given) > 1:
        raise invalid("Give one of sourceCode, sourceCoding, sourceCodeableConcept and text")
    if code is not None:
        system = inputs.text("sourceSystem", "system")
        if not system:
            raise missing("the code system of the code as system")
        return [Coding(code=code, system=system, version=inputs.text("version"))], ""
    if coding is not None:
        return [coding], ""
    if concept is None:
        if not (text or "").strip():
            raise invalid("The text to translate is empty")
        return [], text or ""
    codings = [one for one in codings_of(concept, _CONCEPT[0]) if one.code and one.system]
    text = concept.get("text")
    if not codings and not (isinstance(text, str) and text.strip()):
        raise invalid("The CodeableConcept must have a coding with system and code, or a text")
    return codings, str(text or "")


def _requested_map(operation: Operation) -> ConceptMap | None:
    if operation.resource_id is not None:
        return concept_maps.by_id(operation.terminology, operation.resource_id)
    if operation.inputs.has("conceptMap"):
        raise not_supported("Concept maps that a client brings along are not supported: name one by url")
    url = operation.inputs.text("url")
    return None if url is None else concept_maps.by_url(operation.terminology, url)


def _target(operation: Operation, concept_map: ConceptMap | None) -> CodeSystem | None:
    """The system to translate to; None if the request leaves that open."""
    uri = operation.inputs.text("targetSystem", "targetsystem")
    scope = operation.inputs.text("targetScope", "target")
    if uri is None and scope is not None:
        uri = scope.removesuffix("?fhir_vs")
        if uri == scope:
            raise not_supported(
                "A target value set must be all of a code system, SYSTEM?fhir_vs: use targetSystem"
            )
    if uri is None:
        return concept_map.target if concept_map else None
    url, _ = split_canonical(uri)
    system = find_system(operation.terminology, url)
    if system is None:
        raise not_found(f"A definition for CodeSystem '{shown(url)}' could not be found")
    if concept_map is not None and concept_map.target != system:
        raise invalid(f"The concept map {concept_map.url} does not lead to {system.uri}")
    return system


def _translated(
    operation: Operation, coding: Coding, concept_map: ConceptMap | None, target: CodeSystem | None
) -> tuple[list[Part], list[Part], str]:
    """The matches of a coding, the systems and maps that were used, and why there are no matches."""
    terminology = operation.terminology
    url, version = split_canonical(coding.system or "")
    source = find_system(terminology, url)
    if source is None:
        problem = f"A definition for CodeSystem '{shown(url)}' could not be found"
        if operation.inputs.has(*_CONCEPT):
            return [], [], problem  # another coding, or the text, may lead somewhere
        raise not_found(problem)
    version = coding.version or version
    if source.coding == CONCEPT_IDS and version not in (None, source.version):
        raise not_found(
            f"A definition for CodeSystem '{source.uri}' version '{shown(version)}' could not be found. "
            f"Valid versions: {source.version}"
        )
    if concept_map is not None and concept_map.source != source:
        raise invalid(f"The concept map {concept_map.url} does not begin at {source.uri}")
    used = [part("used-system", valueUri=source.canonical)]
    concept = terminology.find(source.coding, coding.code or "")
    if concept is None:
        return [], used, f"Unknown code '{shown(coding.code)}' in the CodeSystem '{source.uri}'"
    target = target or omop_system(terminology)
    if target.coding == CONCEPT_IDS:
        translations = terminology.standard_targets(concept)
        is_omop = source.coding == CONCEPT_IDS
        followed = (
            concept_maps.to_standard(terminology)
            if is_omop
            else concept_maps.from_vocabulary(terminology, source.coding)
        )
        origin = followed.canonical
    else:
        translations = terminology.codes_in(concept, target.coding)
        followed = concept_maps.to_vocabulary(terminology, target.coding)
        # HL7's tests expect the vocabulary's concept without "to-", and no version.
        origin = followed.url.replace("/to-", "/") + "|"
    if not translations:
        return [], used, _NOTHING
    used.append(part("used-conceptmap", valueUri=followed.canonical))
    return [_match(operation.version, one, target, origin, translations) for one in translations], used, ""


def _match(
    version: FhirVersion, one: Translation, target: CodeSystem, origin: str, all_of: Sequence[Translation]
) -> Part:
    concept = one.concept
    code = str(concept.concept_id) if target.coding == CONCEPT_IDS else concept.concept_code
    coding = concept_coding(target.uri, code or "", concept.concept_name)
    return parts(
        "match",
        part("concept", valueCoding=coding),
        part("originMap", valueCanonical=origin),
        *relation(version, _relationship(one, all_of)),
        *products(version, one.mapped_values),
    )


def _relationship(one: Translation, all_of: Sequence[Translation]) -> str:
    """How a source stands to its target.

    OMOP does not say whether a target of Maps to means the same or more; as in HL7's guide, the only one
    counts as equivalent. One of several, or one with a value beside it, means less than the source.
    """
    if one.is_same:
        return "equivalent"
    if one.is_reversed:
        return "related-to"
    return "source-is-narrower-than-target" if len(all_of) > 1 or one.mapped_values else "equivalent"


def _distinct(given: Sequence[Part]) -> list[Part]:
    found: list[Part] = []
    for entry in given:
        if entry not in found:
            found.append(entry)
    return found
