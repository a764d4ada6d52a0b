"""REST over the sample vocabulary: what it answers, page by page, and what it refuses."""

from __future__ import annotations

import re
from typing import Any

import pytest
import sqlalchemy
from starlette.testclient import TestClient

from omop_emb.database.engine import session_scope
from omop_emb.mapping import Settings, map_terms
from omop_emb.mapping.ranking.policy import Policy
from omop_emb.mapping.records import SourceTerm
from omop_emb.records import ConceptFilter
from omop_emb.service import ConceptFinder, demo
from omop_emb.web.rest.map_models import MapSettingsModel
from omop_emb.web.rest.map_routes import mapped_model
from tests.close_answers import assert_close

API = "/api/v1"


def _get(client: TestClient, path: str, status: int = 200, **parameters: Any) -> dict[str, Any]:
    answer = client.get(f"{API}{path}", params=parameters)
    assert answer.status_code == status, answer.text
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
    return dict(answer.json())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, Settings()),
        ({"candidates": 3, "explain": 1}, Settings(candidates=3, explain=1)),
        (
            {"accept_precision": 0.9, "accept_untrained": True, "accept_codes": True, "candidates": 1},
            Settings(
                candidates=1,
                accept_codes=True,
                policy=Policy(accept_precision=0.9, accept_untrained=True),
            ),
        ),
        (
            {"domain": ["Condition", "Drug,Measurement"], "candidates": 2},
            Settings(
                candidates=2,
                concept_filter=ConceptFilter(
                    domains=("Condition", "Drug", "Measurement"), standard_only=True, valid_only=True
                ),
            ),
        ),
        ({"any": True, "candidates": 2}, Settings(candidates=2, concept_filter=ConceptFilter())),
    ],
)
def test_terms_are_mapped_as_map_terms_maps_them(
    client: TestClient, web_engine: sqlalchemy.Engine, settings: dict[str, Any], expected: Settings
) -> None:
    assert MapSettingsModel.model_validate(settings).to_settings() == expected
    names = [term.source_term for term in demo.terms()][: 10 if settings else None]
    answer = client.post(f"{API}/map", json={"terms": names, "settings": settings})
    assert answer.status_code == 200, answer.text
    with session_scope(web_engine) as session:
        mapped = map_terms(session, names, settings=expected)
    assert settings or len(names) > 50  # more than a batch
    assert_close(answer.json()["terms"], [mapped_model(one).model_dump(mode="json") for one in mapped])
    assert answer.json()["provenance"]["ranker"] == mapped[0].provenance.ranker


def test_a_term_has_all_that_a_source_says_of_it(client: TestClient, web_engine: sqlalchemy.Engine) -> None:
    term = {
        "name": "Herzinfarkt",
        "code": "22298006",
        "source_vocabulary": "SNOMED",
        "domain": "Condition|Observation",
        "further_names": ["heart attack"],
        "frequency": 7,
        "suggestions": [316866],
    }
    answer = client.post(f"{API}/map", json={"terms": [term, "heart attack"]})
    with session_scope(web_engine) as session:
        (mapped,) = map_terms(
            session,
            [
                SourceTerm(
                    name="Herzinfarkt",
                    code="22298006",
                    source_vocabulary="SNOMED",
                    domain="Condition|Observation",
                    further_names=("heart attack",),
                    frequency=7,
                    suggestions=(316866,),
                )
            ],
        )
    first, second = answer.json()["terms"]
    assert first == mapped_model(mapped).model_dump(mode="json")
    assert (first["by_code"], second["candidates"][0]["concept_id"]) == ([4329847], 4329847)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"terms": []}, 422, "terms"),
        ({}, 422, "terms"),
        ({"terms": ["a"] * 1001}, 422, "at most 1000"),
        ({"terms": "a"}, 422, "terms"),
        ({"terms": [1]}, 422, "terms.0"),
        ({"terms": [None]}, 422, "terms.0"),
        ({"terms": [[]]}, 422, "terms.0"),
        ({"terms": [""]}, 400, "terms[0] has neither a name nor a code"),
        ({"terms": ["a", "  "]}, 400, "terms[1] has neither a name nor a code"),
        ({"terms": [{}]}, 400, "terms[0] has neither a name nor a code"),
        ({"terms": [{"nam": "a"}]}, 422, "Extra inputs"),
        ({"terms": [{"name": "a", "frequency": -1}]}, 422, "frequency"),
        ({"terms": [{"name": "a", "frequency": 10**30}]}, 422, "frequency"),
        ({"terms": [{"name": "a", "suggestions": [2**31]}]}, 422, "suggestions"),
        ({"terms": ["a" * 2001]}, 422, "2000"),
        ({"terms": ["a"], "settings": {"candidates": 0}}, 422, "candidates"),
        ({"terms": ["a"], "settings": {"candidate": 5}}, 422, "Extra inputs"),
        ({"terms": ["a"], "settings": {"accept_untrained": True}}, 422, "accept_precision"),
        ({"terms": ["a"], "settings": {"accept_precision": 0.95}}, 409, "accept-untrained"),
        ({"terms": ["a"], "settings": {"accept_precision": 1}}, 422, "accept_precision"),
        ({"terms": ["a"], "settings": {"accept_precision": "NaN"}}, 422, "accept_precision"),
        ({"terms": ["a"], "settings": {"domain": ["Conditon"]}}, 400, "did you mean 'Condition'"),
        ({"terms": ["a"], "settings": {"domain": "Condition"}}, 422, "domain"),
        ({"terms": ["a"], "settings": []}, 422, "settings"),
        ([], 422, "body"),
        ("a", 422, "body"),
    ],
)
def test_terms_that_cannot_be_mapped_are_refused_with_the_place_and_the_reason(
    client: TestClient, body: Any, status: int, said: str
) -> None:
    answer = client.post(f"{API}/map", json=body)
    assert answer.status_code == status, answer.text
    assert said in answer.text
    problem = answer.json()
    assert (problem["status"], problem["request_id"]) == (status, answer.headers["x-request-id"])
    assert set(problem) <= {"type", "title", "status", "detail", "instance", "request_id", "errors"}


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 422),
        (b"null", "application/json", 422),
        (b"{'terms': ['a']}", "application/json", 400),
        (b'{"terms": ["a"]}', "text/plain", 415),
        (b'{"terms": ["a"]}', "application/x-www-form-urlencoded", 415),
        (b'{"terms": ["a"]}', "application/xml", 415),
        (b'{"terms": ["a"]}', "application/json; charset=utf-8", 200),
        (b'{"terms": ["a"]}', "APPLICATION/JSON", 200),
        (b'{"terms": [1e999]}', "application/json", 422),
        (b'{"terms": ["a"], "settings": {"candidates": ' + b"9" * 5000 + b"}}", "application/json", 400),
        (b'{"terms": ["a"], "terms": ["b"]}', "application/json", 200),
    ],
)
def test_a_body_is_json_and_says_so(client: TestClient, content: bytes, kind: str, status: int) -> None:
    answer = client.post(f"{API}/map", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("text", "concept_id", "through"),
    [
        ("htn", 316866, "abbreviation"),
        ("heart attack", 4329847, "synonym"),
        ("4329847", 4329847, "concept id"),
        ("SNOMED:22298006", 4329847, ""),
        ("pnuemonia", None, ""),
        ("Ménière", None, ""),
        ("東京", None, ""),
        ("\u202eabc", None, ""),
        ("'; drop table concept; --", None, ""),
        ("%", None, ""),
        ("\ufffd", None, ""),
    ],
)
def test_search_answers_what_the_finder_finds(
    client: TestClient, finder: ConceptFinder, text: str, concept_id: int | None, through: str
) -> None:
    answer = _get(client, "/search", q=text, limit=5)
    found = finder.find(text, k=5)
    assert answer["query"] == text
    assert [one["concept"]["concept_id"] for one in answer["concepts"]] == [
        one.concept.concept_id for one in found.concepts
    ]
    assert [one["probability"] for one in answer["concepts"]] == [one.probability for one in found.concepts]
    if concept_id is not None:
        assert answer["concepts"][0]["concept"]["concept_id"] == concept_id
        assert through in answer["concepts"][0]["found_through"]


def test_preferences_order_a_search(client: TestClient, finder: ConceptFinder) -> None:
    answer = _get(client, "/search", q="glucose", limit=5, prefer=["specimen=blood"])
    found = finder.find("glucose", k=5, prefer=["specimen=blood"])
    ids = [one["concept"]["concept_id"] for one in answer["concepts"]]
    assert ids == [one.concept.concept_id for one in found.concepts]
    assert client.get(f"{API}/search", params={"q": "glucose", "prefer": "drug=salt"}).status_code == 400


def test_the_pages_of_a_search_are_parts_of_one_answer(client: TestClient) -> None:
    whole = _get(client, "/search", q="fracture & 100%", limit=12, domain="Condition")["concepts"]
    pages: list[Any] = []
    path: str | None = f"{API}/search?q=fracture+%26+100%25&limit=5&domain=Condition"
    while path is not None and len(pages) < 12:
        answer = client.get(path).json()
        assert answer["offset"] == len(pages)
        pages += answer["concepts"]
        path = answer["next"]
    assert pages[:12] == whole
    assert [one["rank"] for one in whole] == list(range(1, 13))
    assert _get(client, "/search", q="4329847", limit=5)["next"] is None


def test_filters_limit_a_search(client: TestClient) -> None:
    drugs = _get(client, "/search", q="aspirin", domain="Drug,Procedure", vocabulary=["RxNorm"])["concepts"]
    assert drugs
    assert {one["concept"]["vocabulary_id"] for one in drugs} == {"RxNorm"}
    nothing = _get(client, "/search", status=400, q="aspirin", domain="drug")
    assert "did you mean 'Drug'" in nothing["detail"]
    any_ = _get(client, "/search", q="aspirin", standard=False, valid=False, limit=50)["concepts"]
    assert len(any_) == 50


def test_an_unknown_code_is_a_note_and_no_hit(client: TestClient) -> None:
    answer = _get(client, "/search", q="SNOMED:000")
    assert answer["concepts"] == []
    assert "has no code '000'" in answer["notes"][0]


def test_completion_begins_as_the_text_does(client: TestClient) -> None:
    answer = _get(client, "/complete", q="hyperten", limit=3)
    assert answer["prefix"] == "hyperten"
    assert all("hyperten" in one["text"].lower() for one in answer["completions"])
    assert answer["completions"][0]["concept"]["concept_id"] == 316866


def test_a_concept_has_its_names_and_relatives(client: TestClient) -> None:
    answer = _get(client, "/concepts/316866")
    assert answer["concept"]["concept_name"] == "Hypertensive disorder"
    assert "Hypertension" in [one["text"] for one in answer["synonyms"]]
    assert answer["athena_url"].endswith("/316866")
    similar = _get(client, "/concepts/316866/similar", limit=3)["similar"]
    assert len(similar) == 3
    assert 316866 not in [one["concept_id"] for one in similar]


def test_relatives_come_page_by_page(client: TestClient, web_engine: sqlalchemy.Engine) -> None:
    with web_engine.connect() as connection:
        query = (
            "select ancestor_concept_id from omop_emb.concept_ancestor_1 group by 1 order by count(*) desc"
        )
        concept_id = connection.execute(sqlalchemy.text(f"{query} limit 1")).scalar_one()
    whole = _get(client, f"/concepts/{concept_id}/descendants", limit=100)["relatives"]
    assert len(whole) > 2
    pages: list[Any] = []
    path: str | None = f"{API}/concepts/{concept_id}/descendants?limit=2"
    while path is not None:
        answer = client.get(path).json()
        pages += answer["relatives"]
        path = answer["next"]
    assert pages[: len(whole)] == whole


@pytest.mark.parametrize(
    ("path", "parameters", "status"),
    [
        ("/search", {}, 422),
        ("/search", {"q": ""}, 422),
        ("/search", {"q": "   "}, 400),
        ("/search", {"q": "a" * 1001}, 422),
        ("/search", {"q": "a", "limit": 0}, 422),
        ("/search", {"q": "a", "limit": 101}, 422),
        ("/search", {"q": "a", "limit": -1}, 422),
        ("/search", {"q": "a", "limit": "ten"}, 422),
        ("/search", {"q": "a", "limit": "9" * 5000}, 422),
        ("/search", {"q": "a", "limit": "1e1"}, 422),
        ("/search", {"q": "a", "offset": -1}, 422),
        ("/search", {"q": "a", "offset": 900}, 422),
        ("/search", {"q": "a", "offset": 899, "limit": 100}, 200),
        ("/search", {"q": "a", "standard": "maybe"}, 422),
        ("/search", {"q": "a", "domain": ["Condition"] * 51}, 422),
        ("/search", {"q": "a", "domain": ""}, 200),
        ("/search", {"q": "a", "vocabulary": "\u0661"}, 400),
        ("/complete", {}, 422),
        ("/complete", {"q": " "}, 200),
        ("/concepts/0", {}, 200),  # OMOP's own, for what has no concept
        ("/concepts/1", {}, 404),
        ("/concepts/999999999", {}, 404),
        ("/concepts/2147483647", {}, 404),
        ("/concepts/2147483648", {}, 422),
        ("/concepts/-1", {}, 422),
        ("/concepts/" + "9" * 5000, {}, 422),
        ("/concepts/abc", {}, 422),
        ("/concepts/4329847.5", {}, 422),
        ("/concepts/999999999/parents", {}, 404),
        ("/concepts/316866/friends", {}, 422),
        ("/concepts/316866/maps_to", {}, 422),
        ("/concepts/316866/maps-to", {}, 200),
        ("/concepts/316866/mapped-from", {}, 200),
        ("/concepts/316866/siblings", {}, 200),
        ("/concepts/316866/related", {"offset": 10_000_000}, 200),
        ("/concepts/316866/related", {"offset": 2**63}, 422),
        ("/concepts/999999999/similar", {}, 404),
        ("/concepts/316866/similar", {"domain": "Nothing"}, 400),
        ("/nothing", {}, 404),
        ("/search/", {"q": "a"}, 404),
        ("/concepts/316866/../../../health", {}, 404),
    ],
)
def test_parameters_are_checked(
    client: TestClient, path: str, parameters: dict[str, Any], status: int
) -> None:
    _get(client, path, status, **parameters)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/search?q=a", 405),
        ("DELETE", "/concepts/1", 405),
        ("GET", "/map", 405),
        ("PUT", "/map", 405),
        ("TRACE", "/search?q=a", 405),
        ("OPTIONS", "/search?q=a", 405),
        ("HEAD", "/search?q=a", 200),
        ("HEAD", "/map", 405),
        ("BREW", "/search?q=a", 405),
    ],
)
def test_methods_that_are_not_possible_are_named(
    client: TestClient, method: str, path: str, status: int
) -> None:
    answer = client.request(method, f"{API}{path}")
    assert answer.status_code == status
    if status == 405 and method != "HEAD":
        assert answer.json()["type"] == "/problems/method-not-allowed"
        assert answer.headers["allow"] in ("GET", "POST")


@pytest.mark.parametrize(
    ("sent", "is_taken"),
    [
        ("abc-1._Z", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        ("a b", False),
        ("a\tb", False),
        ("caf\u00e9", False),
        ("<script>", False),
        ("a,b", False),
        ("%0d%0aSet-Cookie:x", False),
    ],
)
def test_a_request_id_is_taken_only_if_well_formed(client: TestClient, sent: str, is_taken: bool) -> None:
    answer = client.get("/health", headers=[(b"x-request-id", sent.encode("latin-1"))])
    returned = answer.headers["x-request-id"]
    assert (returned == sent) == is_taken
    assert returned.isascii()


def test_every_answer_has_the_security_headers(client: TestClient) -> None:
    for path in ("/health", "/nothing", f"{API}/search", "/api/openapi.json", "/metrics"):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


def test_the_server_says_what_it_answers_with(client: TestClient) -> None:
    vocabulary = _get(client, "/vocabulary")
    assert "Condition" in vocabulary["domains"]
    assert vocabulary["rows"]["concept"] > 2000
    spaces = _get(client, "/spaces")["spaces"]
    assert [space["index_type"] for space in spaces if space["is_active"]] == ["flat"]
    ready = client.get("/ready")
    assert (ready.status_code, ready.json()["space"]) == (200, "all-MiniLM-L6-v2-flat")
    assert re.search(r"^omop_emb_search_reads [1-9]", client.get("/metrics").text, re.MULTILINE)
    assert client.get("/problems/busy").json()["status"] == 503
    assert client.get("/problems/nothing").status_code == 404


def test_openapi_says_enough_to_generate_a_client(client: TestClient) -> None:
    document = client.get("/api/openapi.json").json()
    names = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert operation["tags"], where
            if not path.startswith(API):
                continue
            names.add(operation["operationId"])
            assert operation["description"], where
            answers = operation["responses"]
            success = answers.get("200", answers.get("201"))["content"]
            if "application/octet-stream" not in success:
                assert "$ref" in success["application/json"]["schema"], where
            for parameter in operation.get("parameters", ()):
                assert parameter.get("description"), (where, parameter["name"])
            problem = operation["responses"]["422"]["content"]
            assert set(problem) == {"application/problem+json"}, where
    assert {"search", "complete", "map_terms", "get_concept", "list_relatives"} <= names
