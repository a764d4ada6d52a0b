"""$validate-code: in code systems and in value sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pytest

from omop_emb.web.fhir.fhir_version import FhirVersion
from tests.postgres.fhir.conftest import FhirClient
from tests.postgres.fhir.fhir_vocabulary import (
    ICD10CM,
    OMOP,
    SNOMED,
    VERSION,
    filtered,
    listed,
    posted,
    value_of,
    value_set,
)

SYSTEM, SET = "CodeSystem/$validate-code", "ValueSet/$validate-code"
DRUGS, ROUTES = f"{OMOP}/ValueSet/Drug", f"{OMOP}/ValueSet/Route"
OTHER = "http://example.org/codes"


def issues(answer: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Severity, HL7's kind and place of the issues."""
    found = value_of(answer, "issues") or {"issue": []}
    return [
        (issue["severity"], issue["details"]["coding"][0]["code"], issue.get("expression", [""])[0])
        for issue in found["issue"]
    ]


def coding(code: str, system: str = OMOP, **other: str) -> dict[str, str]:
    return {"system": system, "code": code, **other}


def concept(*codings: dict[str, str], text: str = "") -> dict[str, Any]:
    return {"coding": list(codings), **({"text": text} if text else {})}


@pytest.mark.parametrize("version", FhirVersion)
@pytest.mark.parametrize(
    ("parameters", "display"),
    [
        ({"url": OMOP, "code": "201826"}, "Type 2 diabetes mellitus"),
        ({"system": OMOP, "code": "201826"}, "Type 2 diabetes mellitus"),
        ({"url": f"{OMOP}|{VERSION}", "code": "201826"}, "Type 2 diabetes mellitus"),
        ({"url": OMOP, "code": "201826", "version": VERSION}, "Type 2 diabetes mellitus"),
        ({"url": OMOP, "code": "0"}, "No matching concept"),
        ({"url": SNOMED, "code": "44054006"}, "Type 2 diabetes mellitus"),
        ({"coding": coding("E11.9", ICD10CM)}, "Type 2 diabetes mellitus without complications"),
        ({"coding": coding("1503297", display="METFORMIN ")}, "metformin"),
        ({"coding": coding("317009", display="bronchial  asthma")}, "Asthma"),
        ({"coding": coding("201826", display="Diabète de type 2")}, "Type 2 diabetes mellitus"),
        ({"codeableConcept": concept(coding("317009"))}, "Asthma"),
        ({"codeableConcept": concept(coding("1", OTHER), coding("317009"))}, "Asthma"),
        ({"codeableConcept": concept(coding("999999"), coding("317009"))}, "Asthma"),
        ({"url": OMOP, "code": "201826", "displayLanguage": "de"}, "Diabetes mellitus Typ 2"),
    ],
)
def test_a_code_that_exists_is_valid(
    fhir: FhirClient, version: FhirVersion, parameters: dict[str, Any], display: str
) -> None:
    answer = fhir.at(version).post(SYSTEM, posted(**parameters))
    assert value_of(answer, "result") is True
    assert value_of(answer, "display") == display


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"url": OMOP, "code": "0201826"}, [("error", "invalid-code", "code")]),
        ({"url": OMOP, "code": "201826 "}, [("error", "invalid-code", "code")]),
        ({"url": OMOP, "code": "9" * 30}, [("error", "invalid-code", "code")]),
        ({"url": OMOP, "code": "500000001"}, [("error", "invalid-code", "code")]),
        ({"url": OMOP, "code": ""}, [("error", "invalid-code", "code")]),
        ({"url": SNOMED, "code": "201826"}, [("error", "invalid-code", "code")]),
        ({"url": OTHER, "code": "1"}, [("error", "not-found", "system")]),
        ({"url": OMOP, "code": "201826", "version": "1"}, [("error", "not-found", "system")]),
        ({"url": OMOP, "code": "201826", "display": "Asthma"}, [("error", "invalid-display", "display")]),
        ({"coding": coding("7")}, [("error", "invalid-code", "Coding.code")]),
        ({"coding": {"code": "7"}}, [("error", "invalid-data", "Coding.system")]),
        (
            {"codeableConcept": concept(coding("7"), coding("1", OTHER))},
            [
                ("error", "invalid-code", "CodeableConcept.coding[0].code"),
                ("error", "not-found", "CodeableConcept.coding[1].system"),
            ],
        ),
    ],
)
def test_a_code_that_is_wrong_is_invalid_and_says_where(
    fhir: FhirClient, parameters: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    answer = fhir.post(SYSTEM, posted(**parameters))
    assert value_of(answer, "result") is False
    assert issues(answer) == expected
    assert value_of(answer, "message")


@pytest.mark.parametrize("code", ["4000001", "4000002"])
def test_a_concept_that_is_no_longer_valid_is_a_code_with_a_warning(fhir: FhirClient, code: str) -> None:
    answer = fhir.post(SYSTEM, posted(url=OMOP, code=code))
    assert value_of(answer, "result") is True
    assert issues(answer) == [("warning", "code-comment", "code")]
    assert "should be reviewed" in value_of(answer, "message")


def test_what_is_wrong_with_another_coding_is_a_warning_where_one_is_valid(fhir: FhirClient) -> None:
    codings = concept(coding("7"), coding("1", OTHER), coding("317009"), coding("201826", display="Asthma"))
    answer = fhir.post(SYSTEM, posted(codeableConcept=codings))
    assert (value_of(answer, "result"), value_of(answer, "code")) == (True, "317009")
    assert issues(answer) == [
        ("warning", "invalid-code", "CodeableConcept.coding[0].code"),
        ("warning", "not-found", "CodeableConcept.coding[1].system"),
        ("warning", "invalid-display", "CodeableConcept.coding[3].display"),
    ]


def test_a_wrong_display_may_be_only_a_warning(fhir: FhirClient) -> None:
    given = posted(url=OMOP, code="201826", display="Asthma", lenient_display_validation=True)
    answer = fhir.post(SYSTEM, given)
    assert value_of(answer, "result") is True
    assert issues(answer) == [("warning", "invalid-display", "display")]


@pytest.mark.parametrize(
    ("parameters", "is_member"),
    [
        ({"url": DRUGS, "system": OMOP, "code": "1503297"}, True),
        ({"url": f"{DRUGS}|{VERSION}", "system": OMOP, "code": "1503297"}, True),
        ({"url": DRUGS, "code": "1503297", "inferSystem": True}, True),
        ({"url": DRUGS, "coding": coding("1503297", display="metformin")}, True),
        ({"url": DRUGS, "codeableConcept": concept(coding("317009"), coding("1503297"))}, True),
        ({"url": DRUGS, "system": OMOP, "code": "21600712"}, False),  # a classification
        ({"url": ROUTES, "system": OMOP, "code": "1503297"}, False),
        ({"url": ROUTES, "coding": coding("1503297")}, False),
        ({"url": ROUTES, "codeableConcept": concept(coding("1503297"))}, False),
        ({"url": DRUGS, "coding": coding("6809", "http://www.nlm.nih.gov/research/umls/rxnorm")}, False),
        ({"url": f"{OMOP}/ValueSet/Condition%2FDevice", "system": OMOP, "code": "45880001"}, True),
        ({"url": f"{OMOP}/ValueSet/Condition/Device", "system": OMOP, "code": "45880001"}, True),
        ({"url": f"{OMOP}/ValueSet/vocabulary-ICD10CM", "system": OMOP, "code": "35206882"}, True),
        ({"url": f"{OMOP}?fhir_vs", "system": OMOP, "code": "35206882"}, True),
        ({"url": f"{ICD10CM}?fhir_vs", "system": ICD10CM, "code": "E11.9"}, True),
        ({"url": f"{ICD10CM}?fhir_vs", "system": OMOP, "code": "35206882"}, False),
        ({"url": f"{OMOP}?fhir_vs", "system": OMOP, "code": "4000001"}, True),
        ({"url": f"{OMOP}?fhir_vs", "system": OMOP, "code": "4000001", "activeOnly": True}, False),
    ],
)
def test_a_code_is_looked_for_in_a_value_set(
    fhir: FhirClient, parameters: dict[str, Any], is_member: bool
) -> None:
    answer = fhir.post(SET, posted(**parameters))
    assert value_of(answer, "result") is is_member
    if not is_member:
        assert "not-in-vs" in [kind for _, kind, _ in issues(answer)]


@pytest.mark.parametrize("given_as", ["valueSet", "tx-resource"])
@pytest.mark.parametrize(
    ("code", "is_member"), [("1503297", True), ("1503298", False), ("317009", True), ("201826", False)]
)
def test_a_value_set_may_come_with_the_request(
    fhir: FhirClient, given_as: str, code: str, is_member: bool
) -> None:
    url = "http://example.org/ValueSet/mine"
    mine = value_set(filtered("domain = Drug"), listed("317009"), exclude=[listed("1503298")], url=url)
    parameters = {"valueSet": mine} if given_as == "valueSet" else {"url": url, "tx_resource": mine}
    answer = fhir.post(SET, posted(system=OMOP, code=code, **parameters))
    assert value_of(answer, "result") is is_member


def test_a_code_that_does_not_exist_is_not_said_to_be_outside_of_a_value_set(fhir: FhirClient) -> None:
    answer = fhir.post(SET, posted(url=DRUGS, system=OMOP, code="0201826"))
    assert value_of(answer, "result") is False
    assert issues(answer) == [("error", "invalid-code", "code")]


@pytest.mark.parametrize(
    ("url", "parameters", "status", "kind"),
    [
        (SYSTEM, {}, 400, "required"),
        (SYSTEM, {"url": OMOP}, 400, "required"),
        (SYSTEM, {"code": "1"}, 400, "required"),
        (SYSTEM, {"url": OMOP, "code": "1", "coding": coding("1")}, 400, "invalid"),
        (SYSTEM, {"url": SNOMED, "coding": coding("201826")}, 400, "invalid"),
        (SYSTEM, {"codeableConcept": {"text": "asthma"}}, 400, "invalid"),
        (SYSTEM, {"codeableConcept": {"coding": "asthma"}}, 400, "invalid"),
        (
            SYSTEM,
            {"url": OMOP, "code": "1", "lenient_display_validation": "perhaps", "display": "x"},
            200,
            "",
        ),
        (SET, {"system": OMOP, "code": "1503297"}, 400, "required"),
        (SET, {"url": DRUGS, "code": "1503297"}, 400, "required"),
        (SET, {"url": f"{OMOP}/ValueSet/Drugs", "system": OMOP, "code": "1503297"}, 404, "not-found"),
        (SET, {"url": f"{DRUGS}|1999", "system": OMOP, "code": "1503297"}, 404, "not-found"),
        (SET, {"url": DRUGS, "system": OMOP, "code": "1", "valueSetVersion": "1999"}, 404, "not-found"),
        (SET, {"url": "http://example.org/ValueSet/x", "coding": coding("1")}, 404, "not-found"),
        (SET, {"url": DRUGS, "context": "Patient.name", "coding": coding("1")}, 400, "not-supported"),
    ],
)
def test_a_request_that_cannot_be_answered_is_an_outcome(
    fhir: FhirClient, url: str, parameters: dict[str, Any], status: int, kind: str
) -> None:
    answer = fhir.answer("POST", url, posted(**parameters))
    assert answer.status == status
    if kind:
        assert answer.resource["issue"][0]["code"] == kind


@pytest.mark.parametrize(
    ("url", "result"),
    [
        (f"{SYSTEM}?{urlencode({'url': OMOP, 'code': '201826'})}", True),
        ("CodeSystem/omop/$validate-code?code=201826", True),
        ("CodeSystem/omop/$validate-code?code=7", False),
        (f"{SYSTEM}?{urlencode({'coding': f'{SNOMED}|44054006'})}", True),
        (f"{SET}?{urlencode({'url': DRUGS, 'system': OMOP, 'code': '1503297'})}", True),
        (f"ValueSet/Drug/$validate-code?{urlencode({'system': OMOP, 'code': '1503297'})}", True),
        (f"ValueSet/Condition-Device/$validate-code?{urlencode({'system': OMOP, 'code': '1503297'})}", False),
    ],
)
def test_a_query_may_ask_as_well(fhir: FhirClient, url: str, result: bool) -> None:
    assert value_of(fhir.get(url), "result") is result
