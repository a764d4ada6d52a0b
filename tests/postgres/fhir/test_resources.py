"""Metadata, resources by id and URL, batches, and what is no request of FHIR."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy

from omop_emb.database.engine import database_engine
from omop_emb.errors import ExpensiveQueryError
from omop_emb.service.terminology import open_terminology
from omop_emb.web.fhir.dispatch import failure
from omop_emb.web.fhir.fhir_version import FhirVersion
from tests.postgres.fhir.conftest import FhirClient
from tests.postgres.fhir.fhir_vocabulary import ICD10CM, OMOP, SNOMED, VERSION, posted, value_of, values_of

LOOKUP = f"CodeSystem/$lookup?system={quote(OMOP)}&code=201826"


@pytest.mark.parametrize(
    ("version", "number"),
    [(FhirVersion.R4, "4.0.1"), (FhirVersion.R5, "5.0.0"), (FhirVersion.BOTH, "5.0.0")],
)
def test_metadata_says_what_the_server_does(fhir: FhirClient, version: FhirVersion, number: str) -> None:
    statement = fhir.at(version).get("metadata")
    assert statement["resourceType"] == "CapabilityStatement"
    assert statement["fhirVersion"] == number
    operations = {
        (resource["type"], operation["name"])
        for resource in statement["rest"][0]["resource"]
        for operation in resource["operation"]
    }
    assert operations == {
        ("CodeSystem", "lookup"),
        ("CodeSystem", "validate-code"),
        ("ValueSet", "expand"),
        ("ValueSet", "validate-code"),
        ("ConceptMap", "translate"),
    }


@pytest.mark.parametrize("version", FhirVersion)
def test_terminology_capabilities_list_the_code_systems(fhir: FhirClient, version: FhirVersion) -> None:
    capabilities = fhir.at(version).get("metadata?mode=terminology")
    systems = {system["uri"]: system.get("version") for system in capabilities["codeSystem"]}
    assert systems[OMOP] == [{"code": VERSION, "isDefault": True}]
    assert systems[ICD10CM] == [{"code": "ICD10CM FY2026", "isDefault": True}]
    assert "http://hl7.org/fhir/sid/icd-9-cm" not in systems
    assert not any("Cohort" in uri for uri in systems)


@pytest.mark.parametrize(
    ("version", "versions", "default"),
    [
        (FhirVersion.R4, ["4.0"], "4.0"),
        (FhirVersion.R5, ["5.0"], "5.0"),
        (FhirVersion.BOTH, ["4.0", "5.0"], "5.0"),
    ],
)
def test_the_versions_of_an_address_are_told(
    fhir: FhirClient, version: FhirVersion, versions: list[str], default: str
) -> None:
    answer = fhir.at(version).get("$versions")
    assert values_of(answer, "version") == versions
    assert value_of(answer, "default") == default


@pytest.mark.parametrize("version", FhirVersion)
@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("CodeSystem/omop", OMOP),
        ("CodeSystem/SNOMED", SNOMED),
        ("CodeSystem/Haus-Codes", f"{OMOP}/CodeSystem/Haus%20Codes"),
        ("ValueSet/Drug", f"{OMOP}/ValueSet/Drug"),
        ("ValueSet/Condition-Device", f"{OMOP}/ValueSet/Condition%2FDevice"),
        ("ValueSet/vocabulary-ICD10CM", f"{OMOP}/ValueSet/vocabulary-ICD10CM"),
        ("ConceptMap/to-44819097", f"{OMOP}/ConceptMap/to-44819097"),
        ("ConceptMap/from-44819098", f"{OMOP}/ConceptMap/from-44819098"),
        ("ConceptMap/to-standard", f"{OMOP}/ConceptMap/to-standard"),
    ],
)
def test_a_resource_is_read_by_id_and_found_by_url(
    fhir: FhirClient, version: FhirVersion, path: str, url: str
) -> None:
    client = fhir.at(version)
    resource = client.get(path)
    assert (resource["url"], resource["id"]) == (url, path.partition("/")[2])
    kind = resource["resourceType"]
    for searched in (f"{kind}?url={quote(url, safe='')}", f"{kind}?_id={resource['id']}"):
        found = client.get(searched)
        assert (found["total"], found["entry"][0]["resource"]) == (1, resource)


@pytest.mark.parametrize(
    ("search", "total"),
    [
        ("CodeSystem", 8),
        ("ValueSet", 14),
        ("ConceptMap", 15),
        ("CodeSystem?url=http://example.org", 0),
        (f"CodeSystem?url={quote(f'{OMOP}|1999')}", 0),
        (f"ValueSet?url={quote(f'{OMOP}/ValueSet/Nonsense')}", 0),
        ("ConceptMap?url=http://example.org", 0),
        ("ValueSet?_count=3", 14),
        ("ValueSet?_count=0", 14),
    ],
)
def test_a_search_gives_a_bundle(fhir: FhirClient, search: str, total: int) -> None:
    bundle = fhir.get(search)
    assert (bundle["type"], bundle["total"]) == ("searchset", total)
    if "_count" in search:
        assert len(bundle.get("entry", [])) == int(search[-1])


def test_a_search_may_be_posted_as_a_form(fhir: FhirClient) -> None:
    form = f"url={quote(SNOMED, safe='')}".encode()
    bundle = fhir.answer(
        "POST", "CodeSystem/_search", form, content_type="application/x-www-form-urlencoded"
    ).resource
    assert bundle["total"] == 1


@pytest.mark.parametrize(
    ("method", "url", "status", "kind"),
    [
        ("GET", "", 404, "not-found"),
        ("GET", "Patient", 404, "not-found"),
        ("GET", "Patient/1", 404, "not-found"),
        ("GET", "CodeSystem/nonsense", 404, "not-found"),
        ("GET", "ValueSet/nonsense", 404, "not-found"),
        ("GET", "ConceptMap/nonsense", 404, "not-found"),
        ("GET", "ConceptMap/to-", 404, "not-found"),
        ("GET", "CodeSystem/$subsumes", 404, "not-supported"),
        ("GET", "ValueSet/$lookup", 404, "not-supported"),
        ("GET", "$closure", 404, "not-found"),
        ("GET", "CodeSystem/omop/history/1", 404, "not-found"),
        ("GET", "CodeSystem/SNOMED/$lookup?code=1", 404, "not-found"),
        ("GET", "CodeSystem/nonsense/$lookup?code=1", 404, "not-found"),
        ("GET", f"{LOOKUP}&system-version={OMOP}|1999", 404, "not-found"),
        ("GET", f"{LOOKUP}&codeSystem=x", 400, "not-supported"),
        ("GET", "metadata?mode=everything", 400, "invalid"),
        ("PUT", "ValueSet/Drug", 405, "not-supported"),
        ("DELETE", "CodeSystem/omop", 405, "not-supported"),
        ("POST", "CodeSystem", 405, "not-supported"),
        ("POST", "metadata", 405, "not-supported"),
        ("PATCH", LOOKUP, 405, "not-supported"),
        ("OPTIONS", "CodeSystem", 405, "not-supported"),
    ],
)
def test_what_the_server_does_not_do_is_an_outcome(
    fhir: FhirClient, method: str, url: str, status: int, kind: str
) -> None:
    assert fhir.issue(method, url)[:2] == (status, kind)


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"", 400, "required"),
        (b"  ", 400, "required"),
        (b"{", 400, "structure"),
        (b'{"resourceType": NaN}', 400, "structure"),
        (b"[" * 100_000, 400, "structure"),
        (b"\xff\xfe", 400, "invalid"),
        (b'{"resourceType": "Parameters", "x": "\\ud800"}', 400, "structure"),
        (b"[]", 400, "invalid"),
        (b"null", 400, "invalid"),
        (b'"Parameters"', 400, "invalid"),
        (b"{}", 400, "invalid"),
        (b'{"resourceType": "ValueSet"}', 400, "invalid"),
        (b'{"resourceType": "Parameters", "parameter": {}}', 400, "invalid"),
        (b'{"resourceType": "Parameters", "parameter": [5]}', 400, "invalid"),
        (b'{"resourceType": "Parameters", "parameter": [{"name": "code"}]}', 400, "invalid"),
        (b'{"resourceType": "Parameters", "parameter": [{"name": 5, "valueCode": "1"}]}', 400, "invalid"),
        (
            b'{"resourceType": "Parameters", "parameter": [{"name": "code", "valueCode": null}]}',
            400,
            "invalid",
        ),
        (
            b'{"resourceType": "Parameters", "parameter": [{"name": "x", "valueCode": "1", "valueId": "1"}]}',
            400,
            "invalid",
        ),
        (b'{"resourceType": "Parameters"}', 400, "required"),
    ],
)
def test_a_body_that_is_no_parameters_resource_is_an_outcome(
    fhir: FhirClient, body: bytes, status: int, kind: str
) -> None:
    assert fhir.issue("POST", "CodeSystem/$lookup", body)[:2] == (status, kind)


def test_a_body_of_another_type_is_refused(fhir: FhirClient) -> None:
    for kind in ("application/fhir+xml", "text/plain", "application/x-www-form-urlencoded"):
        assert fhir.issue("POST", "CodeSystem/$lookup", b"<a/>", content_type=kind)[0] == 415


def test_a_post_may_have_its_parameters_in_the_query(fhir: FhirClient) -> None:
    for body in (b"", posted(property="domain-id")):
        answer = fhir.answer("POST", LOOKUP, body)
        assert value_of(answer.resource, "code") == "201826"


def test_a_batch_answers_each_of_its_requests(fhir: FhirClient) -> None:
    entries: list[dict[str, Any]] = [
        {"request": {"method": "GET", "url": LOOKUP}},
        {"request": {"method": "GET", "url": f"/{LOOKUP}0"}},
        {
            "request": {"method": "POST", "url": "ConceptMap/$translate"},
            "resource": posted(sourceCode="E11.9", system=ICD10CM),
        },
        {"request": {"method": "POST", "url": "/"}},
        {"request": "GET"},
        {"request": {"method": "GET", "url": "http://[broken"}},
    ]
    batch = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    answer = fhir.post("", batch)
    assert [entry["response"]["status"] for entry in answer["entry"]] == [
        *("200", "404", "200", "400", "400", "404"),
    ]
    assert value_of(answer["entry"][2]["resource"], "result") is True
    assert fhir.post("", {"resourceType": "Bundle", "type": "batch"})["type"] == "batch-response"


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"resourceType": "Bundle", "type": "transaction"}, 400, "invalid"),
        ({"resourceType": "Parameters"}, 400, "invalid"),
        ({"resourceType": "Bundle", "type": "batch", "entry": {}}, 422, "too-costly"),
        ({"resourceType": "Bundle", "type": "batch", "entry": [{}] * 501}, 422, "too-costly"),
        (b"", 400, "required"),
    ],
)
def test_what_is_no_batch_is_an_outcome(fhir: FhirClient, body: object, status: int, kind: str) -> None:
    assert fhir.issue("POST", "", body)[:2] == (status, kind)


def test_a_database_that_is_away_is_503_without_its_address(fhir: FhirClient) -> None:
    away = database_engine("postgresql://alice@127.0.0.1:1/secret?connect_timeout=1")
    status, kind, text = FhirClient(replace(fhir.server, engine=away)).issue("GET", LOOKUP)
    assert (status, kind) == (503, "transient")
    assert "alice" not in text
    assert "secret" not in text


def test_a_database_without_a_vocabulary_is_503_and_says_what_to_run(
    fhir: FhirClient, engine: sqlalchemy.Engine
) -> None:
    status, kind, text = FhirClient(replace(fhir.server, engine=engine)).issue("GET", LOOKUP)
    assert (status, kind) == (503, "transient")
    assert "vocabulary load" in text


def test_a_cdm_that_has_the_table_concept_alone_is_served(
    fhir: FhirClient, engine: sqlalchemy.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("create schema cdm")
        connection.exec_driver_sql(
            "create table cdm.concept as select 201826 as concept_id, 'Type 2 diabetes' as concept_name, "
            "'Condition' as domain_id, 'SNOMED' as vocabulary_id, 'Disorder' as concept_class_id, "
            "'S' as standard_concept, '44054006' as concept_code, '' as invalid_reason"
        )
    monkeypatch.setenv("OMOP_EMB_VOCABULARY_SCHEMA", "cdm")
    client = FhirClient(replace(fhir.server, engine=engine))
    looked_up = client.get(LOOKUP)
    assert value_of(looked_up, "display") == "Type 2 diabetes"
    assert value_of(looked_up, "version") is None
    translated = client.get(f"ConceptMap/$translate?code=44054006&system={SNOMED}")
    assert value_of(translated, "result") is True
    assert client.get("ValueSet/Condition/$expand?filter=diabetes")["expansion"]["total"] == 1
    assert client.get("ValueSet/vocabulary-SNOMED/$expand")["expansion"]["total"] == 1
    assert client.get(f"CodeSystem/$validate-code?url={OMOP}&code=201826")
    for url in ("metadata?mode=terminology", "CodeSystem", "ValueSet", "ConceptMap"):
        assert client.get(url)


def test_a_query_that_takes_too_long_is_too_costly(fhir: FhirClient) -> None:
    with (
        pytest.raises(ExpensiveQueryError, match="request less") as raised,
        open_terminology(fhir.server.engine, timeout_seconds=0.05) as terminology,
    ):
        terminology.connection.execute("select pg_sleep(5)")
    answer = failure(raised.value)
    assert (answer.status, answer.resource["issue"][0]["code"]) == (422, "too-costly")


def test_a_failure_says_nothing_of_what_was_sent(fhir: FhirClient, caplog: pytest.LogCaptureFixture) -> None:
    def fails(_: object) -> Any:
        raise RuntimeError("John Doe has asthma")

    answer = FhirClient(replace(fhir.server, map_terms=fails)).answer(
        "POST", "ConceptMap/$translate", posted(text="asthma")
    )
    assert answer.status == 500
    assert "John" not in json.dumps(answer.resource) + caplog.text
    assert "RuntimeError" in caplog.text
