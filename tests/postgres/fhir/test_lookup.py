"""$lookup: codes of OMOP and of the vocabularies behind it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from omop_emb.web.fhir.fhir_version import FhirVersion
from tests.postgres.fhir.conftest import FhirClient
from tests.postgres.fhir.fhir_vocabulary import (
    ICD10CM,
    LOINC,
    OMOP,
    RXNORM,
    SNOMED,
    VERSION,
    posted,
    properties,
    value_of,
    values_of,
)

URL = "CodeSystem/$lookup"


def asked(code: str, system: str = OMOP, **other: Any) -> str:
    return f"{URL}?{urlencode({'system': system, 'code': code, **other})}"


@pytest.mark.parametrize("version", FhirVersion)
def test_a_concept_is_described_by_its_properties_and_relationships(
    fhir: FhirClient, version: FhirVersion
) -> None:
    answer = fhir.at(version).post(URL, posted(system=OMOP, code="201826"))
    assert value_of(answer, "name") == "OMOP Concepts"
    assert value_of(answer, "version") == VERSION
    assert value_of(answer, "display") == "Type 2 diabetes mellitus"
    assert properties(answer) == {
        "concept-class-concept-id": ["44819010"],
        "concept-class-id": ["Disorder"],
        "domain-concept-id": ["19"],
        "domain-id": ["Condition"],
        "inactive": [False],
        "Is a": ["201820"],
        "Mapped from": ["201826", "35206882", "45600001"],
        "Maps to": ["201826"],
        "source-concept-code": ["44054006"],
        "standard-concept": ["S"],
        "valid-end-date": ["2099-12-31"],
        "valid-start-date": ["1970-01-01"],
        "vocabulary-concept-id": ["44819097"],
        "vocabulary-id": ["SNOMED"],
    }


@pytest.mark.parametrize(
    ("system", "code", "concept_id", "name"),
    [
        (SNOMED, "44054006", 201826, "Type 2 diabetes mellitus"),
        (ICD10CM, "E11.9", 35206882, "Type 2 diabetes mellitus without complications"),
        (LOINC, "8480-6", 3004249, "Systolic blood pressure"),
        (RXNORM, "6809", 1503297, "metformin"),
        ("http://www.whocc.no/atc", "A10", 21600712, "DRUGS USED IN DIABETES"),
        (f"{OMOP}/CodeSystem/Haus%20Codes", "K 1/2", 2000000001, "Asthme (local)"),
    ],
)
def test_a_code_of_a_source_vocabulary_is_found(
    fhir: FhirClient, system: str, code: str, concept_id: int, name: str
) -> None:
    answer = fhir.get(asked(code, system))
    assert value_of(answer, "display") == name
    assert properties(answer)["concept-id"] == [concept_id]
    assert value_of(answer, "system") == system


def test_a_concept_without_a_name_is_shown_by_its_id(fhir: FhirClient) -> None:
    assert value_of(fhir.get(asked("45880002")), "display") == "45880002"


@pytest.mark.parametrize(
    ("code", "standard", "reason"),
    [
        ("201826", "S", None),
        ("21600712", "C", None),
        ("35206882", "NS", None),
        ("4000001", "NS", ["U"]),
        ("4000002", "NS", ["D"]),
    ],
)
def test_a_concept_says_whether_it_is_standard_and_valid(
    fhir: FhirClient, code: str, standard: str, reason: list[str] | None
) -> None:
    found = properties(fhir.get(asked(code)))
    assert found["standard-concept"] == [standard]
    assert found.get("invalid-reason") == reason


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["domain-id"], {"domain-id": ["Condition"]}),
        (["Is a", "vocabulary-id"], {"Is a": ["201820"], "vocabulary-id": ["SNOMED"]}),
        (["parent"], {"parent": ["201820"]}),
        (["child"], {}),
        (["concept-id"], {"concept-id": [201826]}),
        (["no-such-property"], {}),
    ],
)
def test_only_the_requested_properties_are_answered(
    fhir: FhirClient, wanted: list[str], found: dict[str, list[Any]]
) -> None:
    answer = fhir.post(URL, posted(system=OMOP, code="201826", property=wanted))
    assert properties(answer) == found
    assert value_of(answer, "display") == "Type 2 diabetes mellitus"
    assert values_of(answer, "designation") == []


@pytest.mark.parametrize(
    ("parameters", "designations"),
    [
        ({}, ["en Type 2 diabetes mellitus"]),
        ({"property": "lang.de"}, ["de Diabetes mellitus Typ 2", "de Diabetes mellitus Typ 2 (Störung)"]),
        ({"property": "lang.fr"}, ["fr Diabète de type 2"]),
        (
            {"property": "designation"},
            [
                "en Type 2 diabetes mellitus",
                "en Non-insulin dependent diabetes mellitus",
                "de Diabetes mellitus Typ 2",
                "de Diabetes mellitus Typ 2 (Störung)",
                "fr Diabète de type 2",
            ],
        ),
    ],
)
def test_designations_are_the_name_and_on_request_synonyms(
    fhir: FhirClient, parameters: dict[str, str], designations: list[str]
) -> None:
    answer = fhir.get(asked("201826", **parameters))
    found = [
        f"{value_of(entry, 'language')} {value_of(entry, 'value')}"
        for entry in values_of(answer, "designation")
    ]
    assert sorted(found) == sorted(designations)


@pytest.mark.parametrize(
    ("language", "display"),
    [
        ("de", "Diabetes mellitus Typ 2"),
        ("de-AT", "Diabetes mellitus Typ 2"),
        ("fr;q=0.5, de", "Diabetes mellitus Typ 2"),
        ("es, fr", "Diabète de type 2"),
        ("es", "Type 2 diabetes mellitus"),
        ("en-US, de", "Type 2 diabetes mellitus"),
    ],
)
def test_the_display_is_in_the_requested_language(fhir: FhirClient, language: str, display: str) -> None:
    by_parameter = fhir.get(asked("201826", displayLanguage=language))
    by_header = fhir.answer("GET", asked("201826"), language=language).resource
    assert value_of(by_parameter, "display") == value_of(by_header, "display") == display


@pytest.mark.parametrize(
    "code",
    [
        "0201826",
        "201826.0",
        "201826 ",
        " 201826",
        "2018260",
        "+201826",
        "-1",
        "9" * 10,
        "9" * 40,
        "\uff12\uff10\uff11\uff18\uff12\uff16",  # 201826 in wide digits
        "Diabetes",
        "44054006",
        "500000001",  # a cohort
        "\0",
        "1e3",
    ],
)
def test_a_code_that_is_no_concept_id_to_the_letter_is_not_found(fhir: FhirClient, code: str) -> None:
    status, kind, text = fhir.issue("GET", asked(code))
    assert (status, kind) == (404, "not-found")
    assert text == f"Unable to find code '{code}' in {OMOP} version {VERSION}"
    assert fhir.issue("POST", URL, posted(system=OMOP, code=code)) == (status, kind, text)


@pytest.mark.parametrize(("system", "code"), [(SNOMED, "201826"), (ICD10CM, "E119"), (ICD10CM, "e11.9")])
def test_a_code_of_another_spelling_is_not_found(fhir: FhirClient, system: str, code: str) -> None:
    assert fhir.issue("GET", asked(code, system))[:2] == (404, "not-found")


@pytest.mark.parametrize(
    ("parameters", "status", "kind"),
    [
        ({}, 400, "required"),
        ({"system": OMOP}, 400, "required"),
        ({"code": "201826"}, 400, "required"),
        ({"system": OMOP, "code": ""}, 400, "required"),
        ({"system": "http://example.org/codes", "code": "1"}, 404, "not-found"),
        ({"system": "http://hl7.org/fhir/sid/icd-9-cm", "code": "250"}, 404, "not-found"),
        ({"system": f"{OMOP}/", "code": "201826"}, 404, "not-found"),
        ({"system": OMOP, "code": "201826", "version": "20200101"}, 404, "not-found"),
        ({"system": f"{OMOP}|20200101", "code": "201826"}, 404, "not-found"),
        ({"system": OMOP, "code": ["201826", "317009"]}, 400, "invalid"),
        ({"system": OMOP, "code": 201826}, 400, "invalid"),
        ({"system": OMOP, "code": "201826", "coding": {"code": "317009"}}, 400, "invalid"),
        ({"coding": {"code": "201826"}}, 400, "required"),
        ({"coding": {"system": OMOP, "code": 1}}, 400, "invalid"),
        ({"system": OMOP, "code": "201826", "useSupplement": "http://example.org"}, 400, "not-supported"),
        ({"system": OMOP, "code": "201826", "displayLanguage": "Deutsch!"}, 400, "invalid"),
    ],
)
def test_a_request_that_cannot_be_answered_is_an_outcome(
    fhir: FhirClient, parameters: dict[str, Any], status: int, kind: str
) -> None:
    assert fhir.issue("POST", URL, posted(**parameters))[:2] == (status, kind)


@pytest.mark.parametrize(
    "parameters",
    [
        {"system": OMOP, "code": "201826", "version": VERSION},
        {"system": f"{OMOP}|{VERSION}", "code": "201826"},
        {"coding": {"system": OMOP, "code": "201826", "version": VERSION}},
        {"coding": {"system": OMOP, "code": "201826", "display": "Something else"}},
    ],
)
def test_a_code_may_be_given_in_any_form(fhir: FhirClient, parameters: dict[str, Any]) -> None:
    assert value_of(fhir.post(URL, posted(**parameters)), "display") == "Type 2 diabetes mellitus"


def test_a_code_is_looked_up_in_the_system_that_is_called(fhir: FhirClient) -> None:
    assert value_of(fhir.get("CodeSystem/SNOMED/$lookup?code=44054006"), "system") == SNOMED


@pytest.mark.parametrize(
    "url",
    [
        f"{URL}?coding={OMOP}|201826",
        "CodeSystem/omop/$lookup?code=201826",
        f"{URL}?system={OMOP}&code=201826&system-version={OMOP}|{VERSION}",
    ],
)
def test_a_query_may_name_a_coding_or_a_code_system(fhir: FhirClient, url: str) -> None:
    assert value_of(fhir.get(url), "code") == "201826"
