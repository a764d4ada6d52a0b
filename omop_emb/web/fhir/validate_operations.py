"""$validate-code: whether codes exist in a code system, and whether they are in a value set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from omop_emb.web.fhir.code_systems import split_canonical
from omop_emb.web.fhir.coding_check import CheckedCoding, check_coding
from omop_emb.web.fhir.inputs import Coding, codings_of, only_one
from omop_emb.web.fhir.operation import Operation
from omop_emb.web.fhir.outcome import Issue, invalid, missing, outcome, shown
from omop_emb.web.fhir.parameters_resource import Part, code_part, parameters, part, uri_part
from omop_emb.web.fhir.terminology_resources import system_of_id
from omop_emb.web.fhir.value_sets import ValueSet, requested_value_set

_CONCEPT = "CodeableConcept"


def validate_in_code_system(operation: Operation) -> dict[str, Any]:
    """The answer to CodeSystem/$validate-code."""
    inputs = operation.inputs
    url = inputs.text("url", "system")
    called_on = system_of_id(operation)
    if url is None and called_on is not None:
        url = called_on.uri
    checked = _checked(operation, _requested(operation, url), url)
    given = inputs.resource("codeableConcept")
    if given is None:
        (only,) = checked
        return _answer(only, only.issues, only.is_valid)
    best = next((one for one in checked if one.is_valid), None)
    return _concept_answer(given, checked, best, [issue for one in checked for issue in one.issues])


def validate_in_value_set(operation: Operation) -> dict[str, Any]:
    """The answer to ValueSet/$validate-code."""
    inputs = operation.inputs
    value_set = requested_value_set(operation)
    system = inputs.text("system")
    if system is None and inputs.has("code"):
        if inputs.flag("inferSystem") is not True:
            raise missing("the system of the code, or inferSystem")
        system = value_set.only_system
    checked = _checked(operation, _requested(operation, system), None)
    members = [one for one in checked if _is_member(operation, value_set, one)]
    given = inputs.resource("codeableConcept")
    if given is None:
        (only,) = checked
        issues = list(only.issues)
        if only.concept is not None and not members:
            issues.insert(0, _not_in_value_set(only, value_set))
        return _answer(only, issues, only.is_valid and bool(members), in_value_set=bool(members))
    best = next((one for one in members if one.is_valid), None)
    issues = [issue for one in checked for issue in one.issues]
    if not members:
        outside = [one for one in checked if one.concept is not None]
        issues = [
            Issue(
                code="code-invalid",
                text=f"No valid coding was found for the value set '{value_set.canonical}'",
                kind="not-in-vs",
                message_id="TX_GENERAL_CC_ERROR_MESSAGE",
            ),
            *(
                replace(_not_in_value_set(one, value_set), severity="information", kind="this-code-not-in-vs")
                for one in outside
            ),
            *issues,
        ]
    return _concept_answer(given, checked, best, issues, in_value_set=bool(members))


def _requested(operation: Operation, system: str | None) -> list[tuple[Coding, str]]:
    """The codings to check, each with its path."""
    inputs = operation.inputs
    code, coding = inputs.text("code"), inputs.coding("coding")
    concept = inputs.resource("codeableConcept")
    kind = only_one({"code": code, "coding": coding, "codeableConcept": concept}, "what to validate")
    if kind == "code":
        if system is None:
            raise missing("the code system of the code as url")
        version = inputs.text("version", "systemVersion")
        return [(Coding(code=code, system=system, version=version, display=inputs.text("display")), "")]
    if kind == "coding":
        assert coding is not None  # noqa: S101 - it is the one that is given
        return [(coding, "Coding")]
    codings = codings_of(concept or {}, _CONCEPT)
    if not codings:
        raise invalid("The CodeableConcept has no coding")
    return [(one, f"{_CONCEPT}.coding[{number}]") for number, one in enumerate(codings)]


def _checked(
    operation: Operation, codings: Sequence[tuple[Coding, str]], url: str | None
) -> list[CheckedCoding]:
    for coding, path in codings:
        if url is not None and coding.system and split_canonical(coding.system)[0] != split_canonical(url)[0]:
            raise invalid(f"{path}.system '{shown(coding.system)}' is not the code system '{shown(url)}'")
    return [check_coding(operation, coding, path) for coding, path in codings]


def _is_member(operation: Operation, value_set: ValueSet, checked: CheckedCoding) -> bool:
    if checked.concept is None or checked.system is None:
        return False
    active_only = operation.inputs.flag("activeOnly") is True
    return operation.terminology.has(
        value_set.concepts, checked.system.coding, checked.concept, valid_only=active_only
    )


def _not_in_value_set(checked: CheckedCoding, value_set: ValueSet) -> Issue:
    coding = checked.coding
    named = f" ('{shown(coding.display)}')" if coding.display else ""
    return Issue(
        code="code-invalid",
        text=f"The provided code '{coding.system}#{coding.code}{named}' was not found in the value set "
        f"'{value_set.canonical}'",
        kind="not-in-vs",
        message_id="None_of_the_provided_codes_are_in_the_value_set_one",
        location=checked.at("code"),
    )


def _answer(
    checked: CheckedCoding, issues: Sequence[Issue], is_valid: bool, *, in_value_set: bool = True
) -> dict[str, Any]:
    """The answer for one code or coding."""
    answer = [part("result", valueBoolean=is_valid), *_code_parts(checked)]
    if checked.unknown_system:
        answer.append(part("x-caused-by-unknown-system", valueCanonical=checked.unknown_system))
    outside = None if in_value_set or checked.concept is None else checked
    return parameters(answer + _issue_parts(issues, outside))


def _concept_answer(
    given: Mapping[str, Any],
    checked: Sequence[CheckedCoding],
    best: CheckedCoding | None,
    issues: Sequence[Issue],
    *,
    in_value_set: bool = True,
) -> dict[str, Any]:
    """The answer for a CodeableConcept, which is valid if one of its codings is."""
    answer = [
        part("result", valueBoolean=best is not None),
        part("codeableConcept", valueCodeableConcept=given),
    ]
    if best is not None:
        # What is wrong with the other codings does not make the concept invalid.
        issues = [replace(one, severity="warning") if one.severity == "error" else one for one in issues]
        answer += _code_parts(best)
    elif in_value_set:
        misnamed = next((one for one in checked if one.concept is not None), None)
        answer += [] if misnamed is None else _code_parts(misnamed)
    answer += [
        part("x-caused-by-unknown-system", valueCanonical=one.unknown_system)
        for one in checked
        if one.unknown_system
    ]
    outside = None if in_value_set else next((one for one in checked if one.concept is not None), None)
    return parameters(answer + _issue_parts(issues, outside))


def _code_parts(checked: CheckedCoding) -> list[Part]:
    """The code, its system and version, and its display."""
    found = [
        code_part("code", checked.coding.code) if checked.coding.code else None,
        uri_part("system", checked.coding.system) if checked.coding.system else None,
        part("version", valueString=checked.version) if checked.version else None,
        part("display", valueString=checked.display) if checked.display else None,
    ]
    return [one for one in found if one is not None]


def _issue_parts(issues: Sequence[Issue], outside: CheckedCoding | None) -> list[Part]:
    """The issues, and a message that sums them up."""
    if not issues:
        return []
    texts = [issue.text for issue in issues if issue.severity == "error"]
    texts = texts or [issue.text for issue in issues]
    if outside is not None:
        texts.insert(0, f"Code '{outside.coding.code}' is not in the value set")
    return [
        part("issues", resource=outcome(issues)),
        part("message", valueString="; ".join(texts)),
    ]
