"""OpenRefine, Carrot-Mapper and WebAPI: the shapes that their clients read, from the sample vocabulary."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra web is not installed")

from jsonschema import Draft7Validator
from starlette.testclient import TestClient

from omop_emb import database_engine
from omop_emb.service import ConceptFinder
from omop_emb.web import ServerSettings, ServerState, create_app
from tests.conftest import NewDatabase, as_url

TOKEN = "token-of-these-tests-0123456789-abcdef"  # noqa: S105 - of no server but these tests'
HYPERTENSION, INFARCTION = 316866, 4329847
GASTROINTESTINAL_BLEEDING, ITS_ICD10CM_CODE = 192671, 35208414


@pytest.fixture(scope="module")
def client(sample_template: str, new_database: NewDatabase, server_conninfo: str) -> Iterator[TestClient]:
    with new_database(sample_template) as name:  # a copy: what is copied for others may have no connections
        yield from _client(as_url(server_conninfo, dbname=name))


def _client(database_url: str) -> Iterator[TestClient]:
    engine = database_engine(database_url)
    with ConceptFinder(engine) as finder:
        settings = ServerSettings(token=TOKEN)
        app = create_app(ServerState(engine=engine, finder=finder, settings=settings))
        with TestClient(app, "http://127.0.0.1:8077", headers={"Authorization": f"Bearer {TOKEN}"}) as opened:
            yield opened
    engine.dispose()


# What the specification requires of each answer, in the words of JSON Schema.
_NAMED = {
    "type": "object",
    "properties": {key: {"type": "string"} for key in ("id", "name", "description")},
    "required": ["id", "name"],
}
_SERVICE = {"type": "object", "properties": {k: {"type": "string"} for k in ("service_url", "service_path")}}
SCHEMAS: dict[str, dict[str, Any]] = {
    "manifest": {
        "type": "object",
        "properties": {
            "versions": {"type": "array", "items": {"type": "string"}, "contains": {"const": "0.2"}},
            "name": {"type": "string"},
            "identifierSpace": {"type": "string"},
            "schemaSpace": {"type": "string"},
            "defaultTypes": {"type": "array", "items": _NAMED, "uniqueItems": True},
            "view": {
                "properties": {"url": {"type": "string", "pattern": r"\{\{id\}\}"}},
                "required": ["url"],
            },
            "preview": {
                "properties": {
                    "url": {"type": "string", "pattern": r"\{\{id\}\}"},
                    "width": {"type": "integer"},
                    "height": {"type": "integer"},
                },
                "required": ["url", "width", "height"],
            },
            "suggest": {"properties": dict.fromkeys(("entity", "type", "property"), _SERVICE)},
            "extend": {
                "properties": {"propose_properties": _SERVICE, "property_settings": {"type": "array"}}
            },
        },
        "required": ["versions", "name", "identifierSpace", "schemaSpace"],
    },
    "reconciliation-result-batch": {
        "type": "object",
        "additionalProperties": {
            "properties": {
                "result": {
                    "type": "array",
                    "items": {
                        "properties": {
                            "id": {"type": "string"},
                            "name": {"type": "string"},
                            "description": {"type": "string"},
                            "score": {"type": "number", "minimum": 0, "maximum": 100},
                            "match": {"type": "boolean"},
                            "type": {"type": "array", "items": _NAMED},
                            "features": {
                                "type": "array",
                                "items": {
                                    "properties": {
                                        "id": {"type": "string"},
                                        "value": {"type": ["boolean", "number"]},
                                    }
                                },
                            },
                        },
                        "required": ["id", "name", "score"],
                    },
                }
            },
            "required": ["result"],
        },
    },
    "suggest-entities-response": {
        "properties": {"result": {"type": "array", "items": _NAMED}},
        "required": ["result"],
    },
    "suggest-types-response": {
        "properties": {"result": {"type": "array", "items": _NAMED}},
        "required": ["result"],
    },
    "suggest-properties-response": {
        "properties": {"result": {"type": "array", "items": _NAMED}},
        "required": ["result"],
    },
    "data-extension-property-proposal": {
        "properties": {"properties": {"type": "array", "items": _NAMED}, "limit": {"type": "number"}},
        "required": ["properties"],
    },
    "data-extension-response": {
        "properties": {
            "meta": {"type": "array", "items": {"type": "object", "required": ["id", "name"]}},
            "rows": {
                "additionalProperties": {
                    "additionalProperties": {
                        "type": "array",
                        "items": {
                            "oneOf": [
                                {"required": ["id", "name"]},
                                {"required": ["str"]},
                                {"required": ["date"]},
                            ]
                        },
                    }
                }
            },
        },
        "required": ["rows", "meta"],
    },
}


def valid(answer: Any, schema: str) -> Any:
    """The answer, valid by our schema, and by the specification's own if RECONCILIATION_SCHEMAS has them."""
    schemas = [SCHEMAS[schema]]
    folder = os.environ.get("RECONCILIATION_SCHEMAS")
    if folder:
        text = (Path(folder) / f"{schema}.json").read_text()
        # References to other files restrict little and would be fetched.
        own = json.loads(text, object_hook=lambda one: {} if one.get("$ref", "#")[0] != "#" else one)
        schemas.append({key: value for key, value in own.items() if key not in ("$schema", "$id")})
    for one in schemas:
        Draft7Validator(one).validate(answer)
    return answer


def reconcile(client: TestClient, **queries: Any) -> dict[str, list[dict[str, Any]]]:
    response = client.post("/openrefine", data={"queries": json.dumps(queries)})
    assert response.status_code == 200, response.text
    answer = valid(response.json(), "reconciliation-result-batch")
    return {key: value["result"] for key, value in answer.items()}


def test_the_manifest_leads_to_every_other_part(client: TestClient) -> None:
    manifest = valid(client.get("/openrefine").json(), "manifest")
    assert {"Condition", "Drug", "Measurement"} <= {one["id"] for one in manifest["defaultTypes"]}
    for part, schema in (
        ("entity", "suggest-entities-response"),
        ("type", "suggest-types-response"),
        ("property", "suggest-properties-response"),
    ):
        service = manifest["suggest"][part]
        answer = client.get(service["service_url"] + service["service_path"], params={"prefix": "con"})
        assert valid(answer.json(), schema)["result"]
    service = manifest["extend"]["propose_properties"]
    answer = client.get(service["service_url"] + service["service_path"], params={"type": "Condition"})
    assert valid(answer.json(), "data-extension-property-proposal")["properties"]
    for address in (manifest["view"]["url"], manifest["preview"]["url"]):
        page = client.get(address.replace("{{id}}", str(INFARCTION)))
        assert page.status_code == 200
        assert "Myocardial infarction" in page.text


def test_a_token_before_the_path_serves_programs_that_know_only_an_address(client: TestClient) -> None:
    client.headers.pop("Authorization")
    try:
        base = f"/token/{TOKEN}/openrefine"
        manifest = client.get(base).json()
        assert manifest["suggest"]["entity"]["service_url"].endswith(base)
        assert client.post(base, data={"queries": '{"q": {"query": "htn"}}'}).status_code == 200
        assert client.get(f"/token/{TOKEN[:-1]}x/openrefine").status_code == 401
        assert client.get("/openrefine").status_code == 401
    finally:
        client.headers["Authorization"] = f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ({"query": "htn"}, HYPERTENSION),
        ({"query": "  heart attack  ", "type": "Condition", "type_strict": "any"}, INFARCTION),
        ({"query": "heart attack", "type": [{"id": "Condition"}]}, INFARCTION),
        ({"query": "heart attack", "properties": [{"pid": "vocabulary", "v": "SNOMED"}]}, INFARCTION),
        (
            {
                "query": "heart attack",
                "properties": [
                    {"pid": "vocabulary", "v": [{"id": "SNOMED"}, "LOINC"]},
                    {"pid": "ward", "v": 7},
                ],
            },
            INFARCTION,
        ),
        (
            {
                "properties": [
                    {"pid": "source_code", "v": "22298006"},
                    {"pid": "source_vocabulary", "v": "SNOMED"},
                ]
            },
            INFARCTION,
        ),
        ({"query": "heart attack", "limit": 1, "properties": []}, INFARCTION),
        ("heart attack", INFARCTION),
    ],
)
def test_a_query_is_mapped(client: TestClient, query: Any, first: int) -> None:
    (results,) = reconcile(client, q=query).values()
    assert results[0]["id"] == str(first)
    scores = [one["score"] for one in results]
    assert scores == sorted(scores, reverse=True)
    assert not any(one["match"] for one in results)  # nothing is accepted unless the server is told so
    assert len(results) <= (query.get("limit", 10) if isinstance(query, dict) else 10)


def test_a_domain_excludes_what_is_in_another(client: TestClient) -> None:
    answers = reconcile(
        client,
        drug={"query": "heart attack", "type": "Drug"},
        preferred={"query": "heart attack", "type": "Drug", "type_strict": "should"},
    )
    assert {one["type"][0]["id"] for one in answers["drug"]} <= {"Drug"}
    assert answers["preferred"][0]["id"] == str(INFARCTION)


def test_a_query_without_text_has_no_results_and_costs_no_other(client: TestClient) -> None:
    answers = reconcile(client, empty={"query": " "}, signs={"query": "--"}, good={"query": "htn"})
    assert answers["empty"] == answers["signs"] == []
    assert answers["good"][0]["id"] == str(HYPERTENSION)


@pytest.mark.parametrize(
    "data",
    [
        {"queries": "{"},
        {"queries": "[1]"},
        {"queries": '{"q": 7}'},
        {"queries": '{"q": {"query": 7}}'},
        {"queries": '{"q": {"query": "x", "properties": [{"v": 1}]}}'},
        {"queries": json.dumps({f"q{n}": {"query": "x"} for n in range(1_001)})},
        {"queries": '{"q": {"query": "x", "properties": [{"pid": "vocabulary", "v": "NOSUCH"}]}}'},
        {"extend": '{"ids": 7}'},
        {"queries": '{"q": {"query": "x"}}', "extend": '{"ids": [], "properties": []}'},
        {"extend": '{"ids": [], "properties": [{"id": "colour"}]}'},
        {},
    ],
)
def test_what_is_no_query_is_refused_with_the_reason(client: TestClient, data: dict[str, str]) -> None:
    response = client.post("/openrefine", data=data)
    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"]


def test_columns_are_added_and_unknown_ids_have_none(client: TestClient) -> None:
    properties = [entry["id"] for entry in client.get("/openrefine/properties").json()["properties"]]
    unknown = ("1", "x", "9" * 30)
    query = {"ids": [str(INFARCTION), *unknown], "properties": [{"id": name} for name in properties]}
    answer = client.post("/openrefine", data={"extend": json.dumps(query)}).json()
    rows = valid(answer, "data-extension-response")["rows"]
    assert rows[str(INFARCTION)]["vocabulary"] == [{"str": "SNOMED"}]
    assert {"str": "Heart attack"} in rows[str(INFARCTION)]["synonyms"]
    assert not [values for key in unknown for values in rows[key].values() if values]


def test_carrot_gets_recommendations(client: TestClient) -> None:
    answer = client.get("/carrot/heart attack", params={"domain": "Condition"}).json()
    item = answer["items"][0]
    assert (item["conceptId"], item["domain"], item["vocabulary"]) == (INFARCTION, "Condition", "SNOMED")
    assert 0 <= item["accuracy"] <= 1
    assert item["explanation"]
    assert answer["count"] == len(answer["items"])
    assert client.get("/carrot/mg/dL").json()["items"] is not None  # a slash belongs to the term
    assert client.get("/carrot/x", params={"domain": "Nowhere"}).status_code == 400


CONCEPT_KEYS = {
    *("CONCEPT_ID", "CONCEPT_NAME", "STANDARD_CONCEPT", "STANDARD_CONCEPT_CAPTION", "INVALID_REASON"),
    *("INVALID_REASON_CAPTION", "CONCEPT_CODE", "DOMAIN_ID", "VOCABULARY_ID", "CONCEPT_CLASS_ID"),
    *("VALID_START_DATE", "VALID_END_DATE"),
}


@pytest.mark.parametrize("source", ["", "omop-emb/", "EUNOMIA/"])
def test_clients_of_webapi_find_and_look_up(client: TestClient, source: str) -> None:
    base = f"/WebAPI/vocabulary/{source}"
    concept = client.get(f"{base}concept/{INFARCTION}").json()
    assert set(concept) == CONCEPT_KEYS
    assert (concept["STANDARD_CONCEPT_CAPTION"], concept["INVALID_REASON"]) == ("Standard", "V")
    assert concept["VALID_END_DATE"] == 4102358400000  # 31 December 2099, in milliseconds
    search = {"QUERY": "heart attack", "DOMAIN_ID": ["Condition"], "STANDARD_CONCEPT": "S"}
    for found in (
        client.post(f"{base}search", json=search | {"INVALID_REASON": "V", "IS_LEXICAL": False}).json(),
        client.get(f"{base}search/heart attack").json(),
        client.get(f"{base}search", params={"query": "heart attack", "rows": 3}).json(),
        client.post(f"{base}lookup/identifiers", json=[INFARCTION, 1]).json(),
        client.post(f"{base}lookup/sourcecodes", json=["22298006"]).json(),
        client.post(f"{base}lookup/mapped", json=[INFARCTION]).json(),
    ):
        assert found[0]["CONCEPT_ID"] == INFARCTION
    mapped = client.post(f"{base}lookup/mapped", json=[GASTROINTESTINAL_BLEEDING]).json()
    assert {one["CONCEPT_ID"] for one in mapped} == {GASTROINTESTINAL_BLEEDING, ITS_ICD10CM_CODE}
    assert {"DOMAIN_ID", "DOMAIN_NAME"} <= set(client.get(f"{base}domains").json()[0])
    assert {"VOCABULARY_ID", "VOCABULARY_VERSION"} <= set(client.get(f"{base}vocabularies").json()[0])
    for path in ("related", "descendants", "ancestorAndDescendant"):
        for relative in client.get(f"{base}concept/{INFARCTION}/{path}").json():
            assert set(relative) == CONCEPT_KEYS | {"RELATIONSHIPS"}
    assert client.get(f"{base}concept/1").status_code == 404
    assert client.get("/WebAPI/source/sources").json()[0]["sourceKey"] == "omop-emb"
