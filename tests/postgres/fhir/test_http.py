"""FHIR over HTTP: addresses, media types, methods and headers, through the whole application."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast
from urllib.parse import quote

import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings, strategies as st

from omop_emb.errors import InputError
from omop_emb.service import ConceptFinder
from omop_emb.web.app import create_app
from omop_emb.web.fhir.dispatch import Call, segments
from omop_emb.web.fhir.fhir_version import FhirVersion
from omop_emb.web.server_settings import ServerSettings
from omop_emb.web.state import ServerState
from tests.postgres.fhir.conftest import FhirClient, check_model, no_mapping
from tests.postgres.fhir.fhir_vocabulary import ICD10CM, OMOP, SNOMED, posted, value_of, values_of

testclient = pytest.importorskip("starlette.testclient")

LOOKUP = f"CodeSystem/$lookup?system={quote(OMOP)}&code=201826"
FHIR_JSON = "application/fhir+json"


class NoFinder:
    """Stands for the search, which nothing here asks."""

    def find(self, *_: Any, **__: Any) -> Any:
        return ()

    complete = find
    map = staticmethod(no_mapping)

    def close(self) -> None:
        """Nothing to let go of."""


@pytest.fixture(scope="module")
def http(fhir_engine: sqlalchemy.Engine) -> Iterator[Any]:
    """A client of the application."""
    app = create_app(ServerState(engine=fhir_engine, finder=cast(ConceptFinder, NoFinder())))
    with testclient.TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(
    ("address", "accept", "number"),
    [
        ("/fhir/r4", "", "4.0.1"),
        ("/fhir/r5", "", "5.0.0"),
        ("/fhir", "", "5.0.0"),
        ("/fhir/", "", "5.0.0"),
        ("/fhir", "application/fhir+json; fhirVersion=4.0", "4.0.1"),
        ("/fhir", "application/fhir+json;fhirVersion=5.0", "5.0.0"),
        ("/fhir/r5", "application/fhir+json; fhirVersion=4.0", "5.0.0"),
    ],
)
def test_an_address_speaks_a_version(http: Any, address: str, accept: str, number: str) -> None:
    headers = {"Accept": accept} if accept else {}
    answer = http.get(f"{address.rstrip('/')}/metadata", headers=headers)
    assert answer.json()["fhirVersion"] == number
    assert answer.headers["content-type"] == f"{FHIR_JSON}; charset=utf-8"
    assert answer.json()["implementation"]["url"] == f"http://127.0.0.1{address.rstrip('/')}"


@pytest.mark.parametrize(
    ("accept", "query", "status", "media_type"),
    [
        (None, "", 200, FHIR_JSON),
        ("*/*", "", 200, FHIR_JSON),
        (FHIR_JSON, "", 200, FHIR_JSON),
        ("application/json", "", 200, "application/json"),
        ("application/json+fhir", "", 200, FHIR_JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "", 200, FHIR_JSON),
        ("application/fhir+xml, application/fhir+json;q=0.5", "", 200, FHIR_JSON),
        ("application/fhir+xml", "", 406, FHIR_JSON),
        ("application/xml", "", 406, FHIR_JSON),
        ("text/turtle", "", 406, FHIR_JSON),
        ("application/fhir+json;q=0", "", 406, FHIR_JSON),
        (FHIR_JSON, "&_format=xml", 406, FHIR_JSON),
        ("application/fhir+xml", "&_format=json", 200, FHIR_JSON),
        ("application/fhir+xml", "&_format=application/fhir%2Bjson", 200, FHIR_JSON),
        ("application/fhir+xml", "&_format=application/fhir+json", 200, FHIR_JSON),
        (FHIR_JSON, "&_format=application/json", 200, "application/json"),
        (FHIR_JSON, "&_format=yaml", 406, FHIR_JSON),
        (FHIR_JSON, "&_pretty=true&_summary=false", 200, FHIR_JSON),
    ],
)
def test_the_media_type_is_negotiated(
    http: Any, accept: str | None, query: str, status: int, media_type: str
) -> None:
    headers = {} if accept is None else {"Accept": accept}
    answer = http.get(f"/fhir/{LOOKUP}{query}", headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, f"{media_type}; charset=utf-8")
    assert answer.json()["resourceType"] == ("Parameters" if status == 200 else "OperationOutcome")


@pytest.mark.parametrize(
    "path",
    ["CodeSystem/%24lookup", "CodeSystem/$lookup", "CodeSystem/omop/%24lookup", "//CodeSystem//$lookup"],
)
def test_an_operation_may_be_encoded_in_the_path(http: Any, path: str) -> None:
    answer = http.get(f"/fhir/r4/{path}?system={quote(OMOP)}&code=201826")
    assert value_of(answer.json(), "code") == "201826"


def test_head_is_get_without_a_body(http: Any) -> None:
    for url in (f"/fhir/{LOOKUP}", "/fhir/metadata", "/fhir/r4/CodeSystem/omop", f"/fhir/{LOOKUP}0"):
        head, get = http.head(url), http.get(url)
        assert head.status_code == get.status_code
        assert head.content == b""
        assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
def test_what_would_change_something_is_refused(http: Any, method: str) -> None:
    answer = http.request(method, "/fhir/r5/ValueSet/Drug", json={"resourceType": "ValueSet"})
    assert answer.status_code == 405
    assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    "path", ["/fhir", "/fhir/", "/fhir/r4", "/fhir/r4/", "/fhir/r6/metadata", "/fhir/x/y/z"]
)
def test_what_is_not_there_is_an_outcome(http: Any, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 404
    assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize("address", ["/fhir/r4", "/fhir/r5", "/fhir", "/fhir/"])
def test_a_batch_is_posted_to_the_address_itself(http: Any, address: str) -> None:
    entry = {"request": {"method": "GET", "url": LOOKUP}}
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    answer = http.post(address, json=bundle)
    assert answer.json()["entry"][0]["response"]["status"] == "200"


@pytest.mark.parametrize(
    ("url", "headers", "body", "status", "code"),
    [
        (LOOKUP, {"Host": "evil.example.org"}, None, 421, "forbidden"),
        (LOOKUP, {"Origin": "https://evil.example.org"}, b"{}", 403, "forbidden"),
        (f"{LOOKUP}&x=%00", {}, None, 400, "invalid"),
        (f"{LOOKUP}&x={'x' * 10_000}", {}, None, 414, "too-long"),
        ("CodeSystem/$lookup", {}, b" " * 1_100_000, 413, "too-long"),
        ("CodeSystem/$lookup", {}, b"[" * 50, 413, "too-long"),
    ],
)
def test_what_is_refused_around_the_server_is_an_outcome_too(
    http: Any, url: str, headers: dict[str, str], body: bytes | None, status: int, code: str
) -> None:
    given = {"Content-Type": FHIR_JSON, **headers}
    answer = http.request("GET" if body is None else "POST", f"/fhir/{url}", content=body, headers=given)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith(FHIR_JSON)
    assert answer.json()["issue"][0]["code"] == code
    check_model(answer.json(), FhirVersion.R5)


def test_a_missing_token_is_an_outcome(fhir_engine: sqlalchemy.Engine) -> None:
    app = create_app(
        ServerState(
            engine=fhir_engine,
            finder=cast(ConceptFinder, NoFinder()),
            settings=ServerSettings(token="secret-token-of-this-test"),
        )
    )
    with testclient.TestClient(app, base_url="http://127.0.0.1") as client:
        refused = client.get(f"/fhir/{LOOKUP}")
        assert (refused.status_code, refused.json()["issue"][0]["code"]) == (401, "login")
        assert "www-authenticate" in refused.headers
        token = {"Authorization": "Bearer secret-token-of-this-test"}
        assert client.get(f"/fhir/{LOOKUP}", headers=token).status_code == 200
        below = "/token/secret-token-of-this-test/fhir/r4"
        assert client.get(f"{below}/{LOOKUP}").status_code == 200
        assert client.get(f"{below}/metadata").json()["implementation"]["url"] == f"http://127.0.0.1{below}"
        refused = client.get(f"/token/another-token-of-this-test/fhir/{LOOKUP}")
        assert (refused.status_code, refused.json()["issue"][0]["code"]) == (401, "login")
        assert client.get("/api/nothing").headers["content-type"] == "application/problem+json"


def test_each_version_names_the_relation_of_a_match_in_its_way(http: Any) -> None:
    body = json.dumps(posted(sourceCode="E11.9", system=ICD10CM))
    names = {}
    for address in ("/fhir/r4", "/fhir/r5", "/fhir"):
        answer = http.post(
            f"{address}/ConceptMap/$translate", content=body, headers={"Content-Type": FHIR_JSON}
        ).json()
        (match,) = values_of(answer, "match")
        names[address] = {part["name"] for part in match["parameter"]} & {"equivalence", "relationship"}
    assert names == {
        "/fhir/r4": {"equivalence"},
        "/fhir/r5": {"relationship"},
        "/fhir": {"equivalence", "relationship"},
    }


_TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            *(OMOP, ICD10CM, SNOMED, f"{OMOP}/ValueSet/Drug", f"{OMOP}?fhir_vs", "201826", "E11.9"),
            *"Drug domain = in is-a concept ValueSet Parameters en true 1 0".split(),
        ]
    ),
)
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), _TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                (
                    "system code version display coding text resourceType compose include exclude "
                    "concept filter property op value valueSet url inactive x"
                ).split()
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=12,
)
_NAMES = st.sampled_from(
    (
        "url system code version display coding codeableConcept property displayLanguage "
        "valueSet valueSetVersion filter count offset activeOnly includeDesignations "
        "inferSystem tx-resource sourceCode sourceSystem sourceCoding "
        "sourceCodeableConcept targetSystem targetScope conceptMap mode _format x"
    ).split()
)
_PARAMETERS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"name": _NAMES, "valueString": _TEXTS}),
        st.fixed_dictionaries({"name": _NAMES, "value": _VALUES}),
        st.fixed_dictionaries({"name": _NAMES, "resource": _VALUES}),
    ),
    max_size=5,
)
_OPERATIONS = st.sampled_from(
    (
        "CodeSystem/$lookup CodeSystem/$validate-code ValueSet/$expand "
        "ValueSet/$validate-code ConceptMap/$translate CodeSystem/omop/$lookup "
        "ValueSet/Drug/$expand ValueSet/Drug/$validate-code"
    ).split()
)


def _check_any(
    fhir: FhirClient, operation: str, parameters: list[dict[str, Any]], version: FhirVersion
) -> None:
    client = fhir.at(version)
    body = {"resourceType": "Parameters", "parameter": parameters}
    answer = client.server.answer(_call("POST", operation, body=json.dumps(body).encode()))
    assert answer.status < 500, answer.resource
    json.dumps(answer.resource, ensure_ascii=False).encode("utf-8", "replace")
    texts = [(entry["name"], str(entry.get("valueString", ""))) for entry in parameters]
    answer = client.server.answer(_call("GET", operation, query=texts))
    assert answer.status < 500, answer.resource
    if answer.resource["resourceType"] == "OperationOutcome":
        check_model(answer.resource, version)


def _call(method: str, operation: str, **other: Any) -> Call:
    return Call(method=method, path=segments(operation), content_type=FHIR_JSON, **other)


def _maps_nothing(_: Any) -> Any:
    raise InputError("nothing is mapped here")


@pytest.mark.parametrize(
    "examples", [pytest.param(150, id="short"), pytest.param(3_000, id="long", marks=pytest.mark.long)]
)
def test_no_request_makes_the_server_fail(fhir: FhirClient, examples: int) -> None:
    client = FhirClient(replace(fhir.server, map_terms=_maps_nothing))

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(operation=_OPERATIONS, parameters=_PARAMETERS, version=st.sampled_from(FhirVersion))
    def check(operation: str, parameters: list[dict[str, Any]], version: FhirVersion) -> None:
        _check_any(client, operation, parameters, version)

    check()
