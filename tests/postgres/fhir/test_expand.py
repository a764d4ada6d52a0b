"""$expand: members of value sets, by filter, list, import and page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pytest

from omop_emb.web.fhir import expand_operation
from omop_emb.web.fhir.fhir_version import FhirVersion
from tests.postgres.fhir.conftest import FhirClient
from tests.postgres.fhir.fhir_vocabulary import (
    ICD10CM,
    OMOP,
    RXNORM,
    SNOMED,
    VERSION,
    filtered,
    listed,
    posted,
    value_set,
)

URL = "ValueSet/$expand"
DRUG = f"{OMOP}/ValueSet/Drug"


def codes(answer: Mapping[str, Any]) -> list[str]:
    return [member["code"] for member in answer["expansion"].get("contains", [])]


def expanded(fhir: FhirClient, *include: Mapping[str, Any], **other: Any) -> list[str]:
    return codes(fhir.post(URL, posted(valueSet=value_set(*include, **other))))


@pytest.mark.parametrize("version", FhirVersion)
def test_an_implicit_value_set_holds_the_standard_concepts_of_a_domain(
    fhir: FhirClient, version: FhirVersion
) -> None:
    answer = fhir.at(version).get(f"{URL}?{urlencode({'url': DRUG})}")
    assert answer["url"] == DRUG
    assert answer["version"] == VERSION
    assert answer["expansion"]["total"] == 2
    assert answer["expansion"]["contains"] == [
        {"system": OMOP, "code": "1503297", "display": "metformin"},
        {"system": OMOP, "code": "1503298", "display": "metformin 500 MG Oral Tablet"},
    ]
    assert answer["expansion"]["parameter"] == [{"name": "used-codesystem", "valueUri": f"{OMOP}|{VERSION}"}]


@pytest.mark.parametrize(
    ("include", "members"),
    [
        ([filtered("domain = Drug")], ["1503297", "1503298"]),
        ([filtered("domain-id = Drug")], ["1503297", "1503298"]),
        ([filtered("domain in Drug,Route")], ["1503297", "1503298", "4132161"]),
        ([filtered("domain = Drug", "standard-concept = C")], ["21600712"]),
        ([filtered("domain = Drug", "standard-concept in S,C")], ["1503297", "1503298", "21600712"]),
        ([filtered("domain = Drug", "vocabulary = ATC")], []),
        ([filtered("vocabulary = ICD10CM")], ["35206882", "45547622", "45600001", "45600002"]),
        ([filtered("vocabulary = ICD10CM", "standard-concept = S")], []),
        ([filtered("vocabulary = SNOMED", "standard-concept = NS")], ["4000001", "4000002"]),
        ([filtered("vocabulary = SNOMED", "standard-concept not-in S,C")], ["4000001", "4000002"]),
        ([filtered("concept-class = Ingredient")], ["1503297"]),
        ([filtered("concept-class in Ingredient,Clinical Drug")], ["1503297", "1503298"]),
        ([filtered("invalid-reason = U")], ["4000001"]),
        ([filtered("concept is-a 201820")], ["201820", "201826"]),
        ([filtered("concept descendent-of 201820")], ["201826"]),
        ([filtered("concept is-a 21600712", "domain = Drug")], ["1503297", "1503298"]),
        ([listed("201826", "317009", "999999", "0317009", "x")], ["201826", "317009"]),
        ([listed("201826"), listed("317009"), listed("201826")], ["201826", "317009"]),
        ([listed("201826"), filtered("domain = Route")], ["201826", "4132161"]),
        ([{"system": RXNORM}], ["6809", "860975"]),
        ([{"system": RXNORM, **filtered("concept-class = Ingredient")}], ["6809"]),
        ([listed("6809", "1503297", system=RXNORM)], ["6809"]),
        ([listed("317009"), listed("E11.9", system=ICD10CM)], ["317009", "E11.9"]),
        ([{"system": SNOMED, **filtered("concept is-a 73211009")}], ["73211009", "44054006"]),
        ([{"valueSet": [DRUG]}], ["1503297", "1503298"]),
        ([{"valueSet": [f"{DRUG}|{VERSION}"]}], ["1503297", "1503298"]),
        ([{**listed("1503297", "317009"), "valueSet": [DRUG]}], ["1503297"]),
        ([{"valueSet": [DRUG, f"{OMOP}/ValueSet/vocabulary-ATC"]}], []),
        ([{"valueSet": [f"{ICD10CM}?fhir_vs"]}], ["E11.9", "Z82.5", "E11.69", "Z00.9"]),
        ([{"system": OMOP, "version": VERSION, **filtered("domain = Route")}], ["4132161"]),
    ],
)
def test_a_value_set_is_made_of_filters_lists_and_others(
    fhir: FhirClient, include: list[dict[str, Any]], members: list[str]
) -> None:
    assert expanded(fhir, *include) == members


@pytest.mark.parametrize(
    ("exclude", "members"),
    [
        ([listed("1503297")], ["1503298", "4132161"]),
        ([listed("6809", system=RXNORM)], ["1503297", "1503298", "4132161"]),
        ([filtered("domain = Drug")], ["4132161"]),
        ([{"valueSet": [DRUG]}], ["4132161"]),
        ([listed("1503297"), listed("4132161")], ["1503298"]),
        ([filtered("domain = Drug", "concept-class = Ingredient")], ["1503298", "4132161"]),
        ([filtered("vocabulary in RxNorm,SNOMED")], []),
    ],
)
def test_what_is_excluded_is_no_member(
    fhir: FhirClient, exclude: list[dict[str, Any]], members: list[str]
) -> None:
    assert expanded(fhir, filtered("domain in Drug,Route"), exclude=exclude) == members


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("metformin", ["1503297", "1503298"]),
        ("TABLET metFORMIN", ["1503298"]),
        ("insulin dependent", ["201826"]),  # of a synonym
        ("störung", ["201826"]),
        ("diabetes asthma", []),
        ("100% of", ["45880001"]),
        ("%", ["45880001"]),
        ("5_x", ["45880001"]),
        ("5?x", []),
        ("\\", []),
        ("'; drop table concept; --", []),
        ("\0", None),
        ("  ", None),
    ],
)
def test_a_text_filter_finds_all_its_words_in_a_name_or_a_synonym(
    fhir: FhirClient, text: str, members: list[str] | None
) -> None:
    found = fhir.post(URL, posted(url=f"{OMOP}?fhir_vs", filter=text))["expansion"]
    everything = fhir.post(URL, posted(url=f"{OMOP}?fhir_vs"))["expansion"]
    names = [member["code"] for member in found.get("contains", [])]
    standard = [code for code in names if code not in ("35206882", "45600001", "4000001", "21600712")]
    if members is None:
        assert found["total"] == everything["total"]
    else:
        assert standard == members


@pytest.mark.parametrize(
    ("parameters", "members"),
    [
        ({"count": 2}, ["0", "201820"]),
        ({"count": 2, "offset": 1}, ["201820", "201826"]),
        ({"count": 0}, []),
        ({"count": 5, "offset": 100}, []),
        ({"count": "2"}, ["0", "201820"]),
    ],
)
def test_pages_say_how_many_members_there_are(
    fhir: FhirClient, parameters: dict[str, Any], members: list[str]
) -> None:
    expansion = fhir.post(URL, posted(url=f"{OMOP}?fhir_vs", **parameters))["expansion"]
    assert codes({"expansion": expansion}) == members
    assert expansion["total"] == 21
    assert expansion["offset"] == parameters.get("offset", 0)


def test_pages_go_through_several_code_systems(fhir: FhirClient) -> None:
    both = value_set({"system": RXNORM}, listed("317009", "201826"), {"system": ICD10CM})
    whole = codes(fhir.post(URL, posted(valueSet=both)))
    pages = [
        codes(fhir.post(URL, posted(valueSet=both, count=3, offset=offset))) for offset in range(0, 12, 3)
    ]
    assert [code for page in pages for code in page] == whole
    assert len(whole) == 8


@pytest.mark.parametrize(
    ("parameters", "resource", "has_invalid"),
    [
        ({}, {}, True),
        ({"activeOnly": False}, {}, True),
        ({"activeOnly": True}, {}, False),
        ({}, {"inactive": False}, False),
        ({}, {"inactive": True}, True),
    ],
)
def test_invalid_concepts_are_marked_or_left_out(
    fhir: FhirClient, parameters: dict[str, bool], resource: dict[str, Any], has_invalid: bool
) -> None:
    given = value_set(filtered("vocabulary = SNOMED"), **resource)
    answer = fhir.post(URL, posted(valueSet=given, **parameters))
    inactive = [member["code"] for member in answer["expansion"]["contains"] if member.get("inactive")]
    assert inactive == (["4000001", "4000002"] if has_invalid else [])


def test_an_imported_value_set_keeps_its_own_rule_about_invalid_concepts(fhir: FhirClient) -> None:
    url = "http://example.org/ValueSet/valid"
    inner = value_set(filtered("vocabulary = SNOMED"), url=url, inactive=False)
    answer = fhir.post(URL, posted(valueSet=value_set({"valueSet": [url]}), tx_resource=inner))
    assert "4000001" not in codes(answer)
    assert "201826" in codes(answer)


def test_members_are_named_in_the_requested_language_with_their_designations(fhir: FhirClient) -> None:
    given = posted(
        valueSet=value_set(listed("201826", "317009")), displayLanguage="de", includeDesignations=True
    )
    diabetes, asthma = fhir.post(URL, given)["expansion"]["contains"]
    assert (diabetes["display"], asthma["display"]) == ("Diabetes mellitus Typ 2", "Asthma")
    assert {"language": "fr", "value": "Diabète de type 2"} in diabetes["designation"]


def test_the_definition_is_included_on_request(fhir: FhirClient) -> None:
    assert "compose" not in fhir.get(f"{URL}?{urlencode({'url': DRUG})}")
    assert fhir.get(f"{URL}?{urlencode({'url': DRUG, 'includeDefinition': 'true'})}")["compose"]


def test_too_many_members_for_an_answer_are_refused_unless_paged(
    fhir: FhirClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expand_operation, "MOST_MEMBERS", 3)
    everything = {"url": f"{OMOP}?fhir_vs"}
    status, kind, text = fhir.issue("POST", URL, posted(**everything))
    assert (status, kind) == (422, "too-costly")
    assert "21 members" in text
    assert len(codes(fhir.post(URL, posted(**everything, count=50)))) == 3
    assert len(codes(fhir.post(URL, posted(url=DRUG)))) == 2


ITSELF = value_set({"valueSet": ["http://example.org/a"]}, url="http://example.org/a")


@pytest.mark.parametrize(
    ("parameters", "status", "kind"),
    [
        ({}, 400, "required"),
        ({"url": "http://example.org/ValueSet/x"}, 404, "not-found"),
        ({"url": f"{OMOP}/ValueSet/Nonsense"}, 404, "not-found"),
        ({"url": f"{DRUG}|1999"}, 404, "not-found"),
        ({"url": DRUG, "valueSet": value_set(listed("1"), url="http://example.org/b")}, 400, "invalid"),
        ({"url": DRUG, "count": -1}, 400, "invalid"),
        ({"url": DRUG, "count": "many"}, 400, "invalid"),
        ({"url": DRUG, "count": "9" * 30}, 400, "invalid"),
        ({"url": DRUG, "offset": True}, 400, "invalid"),
        ({"url": DRUG, "activeOnly": "yes"}, 400, "invalid"),
        ({"url": DRUG, "excludeNested": False}, 400, "not-supported"),
        ({"url": DRUG, "context": "x"}, 400, "not-supported"),
        ({"valueSet": {"resourceType": "CodeSystem"}}, 400, "invalid"),
        ({"valueSet": {"resourceType": "ValueSet"}}, 422, "not-supported"),
        ({"valueSet": value_set()}, 400, "invalid"),
        ({"valueSet": {"resourceType": "ValueSet", "compose": {"include": {}}}}, 400, "invalid"),
        ({"valueSet": {"resourceType": "ValueSet", "compose": {"include": ["x"]}}}, 400, "invalid"),
        ({"valueSet": value_set({"system": "http://example.org"})}, 422, "not-found"),
        ({"valueSet": value_set({"system": OMOP, "version": "1999"})}, 422, "not-found"),
        ({"valueSet": value_set({"system": 5})}, 422, "not-found"),
        ({"valueSet": value_set({"valueSet": ["http://example.org/c"]})}, 404, "not-found"),
        ({"valueSet": value_set({"valueSet": DRUG})}, 400, "invalid"),
        ({"valueSet": ITSELF, "tx_resource": ITSELF}, 422, "processing"),
        ({"valueSet": value_set({**listed("1"), **filtered("domain = Drug")})}, 400, "invalid"),
        ({"valueSet": value_set({"concept": [{"code": 7}]})}, 400, "invalid"),
        ({"valueSet": value_set(filtered("domain = Drugs"))}, 422, "code-invalid"),
        ({"valueSet": value_set(filtered("domain in Drug,Rute"))}, 422, "code-invalid"),
        ({"valueSet": value_set(filtered("vocabulary = Snomed"))}, 422, "code-invalid"),
        ({"valueSet": value_set(filtered("standard-concept = X"))}, 422, "code-invalid"),
        ({"valueSet": value_set(filtered("concept is-a 999999"))}, 422, "code-invalid"),
        ({"valueSet": value_set(filtered("domain regex D.*"))}, 422, "not-supported"),
        ({"valueSet": value_set(filtered("colour = red"))}, 422, "not-supported"),
        ({"valueSet": value_set({"filter": [{"property": "domain", "op": "="}]})}, 400, "invalid"),
        ({"url": DRUG, "tx_resource": "x"}, 400, "invalid"),
    ],
)
def test_a_value_set_that_cannot_be_expanded_is_an_outcome(
    fhir: FhirClient, parameters: dict[str, Any], status: int, kind: str
) -> None:
    assert fhir.issue("POST", URL, posted(**parameters))[:2] == (status, kind)


def test_an_unknown_value_names_what_may_be_meant(fhir: FhirClient) -> None:
    _, _, text = fhir.issue("POST", URL, posted(valueSet=value_set(filtered("domain = Drugs"))))
    assert "did you mean 'Drug'?" in text


@pytest.mark.parametrize(
    ("url", "total"),
    [
        ("ValueSet/Drug/$expand", 2),
        ("ValueSet/Condition-Device/$expand", 1),
        ("ValueSet/vocabulary-RxNorm/$expand?count=1", 2),
        ("ValueSet/vocabulary-Haus-Codes/$expand", 1),
    ],
)
def test_a_value_set_is_expanded_by_its_id(fhir: FhirClient, url: str, total: int) -> None:
    assert fhir.get(url)["expansion"]["total"] == total
