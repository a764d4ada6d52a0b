"""An assistant's tools, asked through the SDK's client: in the process, over stdio, with a database away."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError

from omop_emb.database.engine import database_engine
from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.settings import Settings
from omop_emb.service import ConceptFinder
from omop_emb.web.assistant.assistant_backend import LocalBackend
from omop_emb.web.assistant.mcp_server import mcp_server
from tests.conftest import NewDatabase, as_url

OMOP_EMB = Path(sysconfig.get_path("scripts")) / "omop-emb"
TOOLS = ("search", "fetch", "map_terms", "get_concept", "get_hierarchy", "find_similar")
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def database(server_conninfo: str, sample_template: str, new_database: NewDatabase) -> Iterator[str]:
    with new_database(sample_template) as name:
        yield as_url(server_conninfo, dbname=name)


@pytest.fixture(scope="module")
def backend(database: str) -> Iterator[LocalBackend]:
    engine = database_engine(database)
    with ConceptFinder(engine) as finder:
        opened = LocalBackend(engine, finder)
        yield opened
        opened.close()
    engine.dispose()


@pytest.fixture(scope="module")
def server(backend: LocalBackend) -> Any:
    return mcp_server(backend)


def ask_client(server: Any, question: Callable[[Client], Any]) -> Any:
    async def run() -> Any:
        async with Client(server) as client:
            return await question(client)

    return asyncio.run(run())


@pytest.fixture
def ask(server: Any) -> Ask:
    """Calls a tool; its structured answer, or the line of its error."""

    def ask(tool: str, /, **arguments: Any) -> Any:
        result = ask_client(server, lambda client: client.call_tool(tool, arguments))
        (content,) = result.content
        if result.is_error:
            assert result.structured_content is None
            return content.text
        assert json.loads(content.text) == result.structured_content
        return result.structured_content

    return ask


def _described(schema: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Each property of a schema and whether it says what it means."""
    for part in (schema, *schema.get("$defs", {}).values()):
        for name, field in part.get("properties", {}).items():
            yield name, "description" in field or "$ref" in field or "$ref" in field.get("items", {})


def test_each_tool_says_what_it_takes_and_answers_and_changes_nothing(server: Any) -> None:
    tools = ask_client(server, lambda client: client.list_tools()).tools
    assert tuple(tool.name for tool in tools) == TOOLS
    for tool in tools:
        assert tool.description
        assert "\n    " not in tool.description
        assert (tool.annotations.read_only_hint, tool.annotations.destructive_hint) == (True, False)
        assert tool.input_schema["additionalProperties"] is False
        assert all(described for _, described in _described(tool.input_schema)), tool.name
        undescribed = {name for name, described in _described(tool.output_schema) if not described}
        assert undescribed <= {"concept_id", "concept_name", "name", "code"} | {
            *("domain_id", "vocabulary_id", "concept_class_id", "standard_concept", "concept_code"),
        }


def test_a_search_answers_what_connectors_expect_and_why(ask: Ask) -> None:
    found = ask("search", query="htn", limit=3)
    first = found["results"][0]
    assert (first["id"], first["title"]) == ("316866", "Hypertensive disorder")
    assert first["url"].startswith("https://athena.ohdsi.org/")
    assert 0 < first["probability"] <= 1
    assert [hit["probability"] for hit in found["results"][1:]] == [None, None]
    assert first["found_through"]
    assert found["vocabulary"] == "v5.0 30-AUG-24"
    assert {
        hit["concept"]["domain_id"] for hit in ask("search", query="aspirin", domains="Drug")["results"]
    } == {"Drug"}


@pytest.mark.parametrize("reference", ["4329847", 4329847, "SNOMED:22298006", "snomed: 22298006"])
def test_a_concept_is_fetched_as_a_text_with_metadata(ask: Ask, reference: object) -> None:
    document = ask("fetch", id=reference)
    assert {name: document[name] for name in ("id", "title", "url")} == {
        "id": "4329847",
        "title": "Myocardial infarction",
        "url": "https://athena.ohdsi.org/search-terms/terms/4329847",
    }
    assert "synonyms: Cardiac infarction; Heart attack" in document["text"]
    assert document["metadata"]["code"] == "SNOMED 22298006"


def test_terms_are_mapped_as_map_does_and_only_a_person_approves(ask: Ask, backend: LocalBackend) -> None:
    terms = [
        "heart attack",
        "Hypertonie",
        {"name": "infarct", "code": "22298006", "source_vocabulary": "SNOMED"},
    ]
    answer = ask("map_terms", terms=terms, candidates=3)
    assert "Only a person approves a mapping" in answer["note"]
    sources = [
        SourceTerm(name="heart attack"),
        SourceTerm(name="Hypertonie"),
        SourceTerm(name="infarct", code="22298006", source_vocabulary="SNOMED"),
    ]
    mapped = backend.finder.map(sources, settings=Settings(candidates=3, explain=3))
    assert [
        (row["name"], row["decision"], row["probability"], row["targets"]) for row in answer["terms"]
    ] == [(one.term.name, one.decision.value, one.probability, list(one.targets)) for one in mapped]
    candidates = answer["terms"][0]["candidates"]
    assert [one["rank"] for one in candidates] == [1, 2, 3]
    assert all(reason[:2] in ("+ ", "- ") for reason in candidates[0]["reasons"])
    assert candidates[0]["reasons"]


def test_a_term_that_says_nothing_costs_no_other_term_its_answer(ask: Ask) -> None:
    answer = ask("map_terms", terms=["", "heart attack", "...", {"code": "1"}], candidates=1)
    assert [row["decision"] for row in answer["terms"]] == ["no match", "review", "no match", "no match"]
    assert answer["terms"][1]["targets"] == [4329847]
    assert [row["decision"] for row in ask("map_terms", terms=[" "])["terms"]] == ["no match"]


def test_a_concept_has_its_hierarchy_page_by_page(ask: Ask) -> None:
    details = ask("get_concept", concept="4329847")
    assert (details["concept"]["concept_name"], details["valid_end"]) == (
        "Myocardial infarction",
        "2099-12-31",
    )
    assert details["facts"]["status"] == "standard, valid since 2002-01-31"
    pages: list[list[int]] = []
    offset: int | None = 0
    while offset is not None:
        page = ask("get_hierarchy", concept="1125315", kind="descendants", limit=3, offset=offset)
        pages.append([one["concept"]["concept_id"] for one in page["relatives"]])
        offset = page["next_offset"]
    assert (page["total"], [len(one) for one in pages]) == (8, [3, 3, 2])
    assert page["not_loaded"] == []
    assert len({concept_id for one in pages for concept_id in one}) == 8


def test_similar_concepts_are_near_and_not_itself(ask: Ask) -> None:
    found = ask("find_similar", concept="4329847", limit=5, domains=["Condition"])
    similarities = [one["similarity"] for one in found["similar"]]
    assert similarities == sorted(similarities, reverse=True)
    assert {one["domain_id"] for one in found["similar"]} == {"Condition"}
    assert 4329847 not in [one["concept_id"] for one in found["similar"]]


CLINICAL = "zzz private term zzz"


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("search", {}, "query: Field required"),
        ("search", {"query": ""}, "query: is blank"),
        ("search", {"query": " \t\n"}, "query: is blank"),
        ("search", {"query": None}, "query: Input should be a valid string"),
        ("search", {"query": [CLINICAL]}, "query: Input should be a valid string"),
        ("search", {"query": {"text": CLINICAL}}, "query: Input should be a valid string"),
        ("search", {"query": f"{CLINICAL}\0"}, "query: holds the character NUL"),
        ("search", {"query": f"{CLINICAL}\ud800"}, "query: Input should be a valid string"),
        ("search", {"query": CLINICAL * 200}, "query: String should have at most 2000 characters"),
        ("search", {"query": "x", "limit": 0}, "limit: Input should be greater than or equal to 1"),
        ("search", {"query": "x", "limit": -5}, "limit: Input should be greater than or equal to 1"),
        ("search", {"query": "x", "limit": 10**9}, "limit: Input should be less than or equal to 100"),
        ("search", {"query": "x", "limit": 10**30}, "limit: "),
        ("search", {"query": "x", "limit": 1.5}, "limit: Input should be a valid integer"),
        ("search", {"query": "x", "limit": "many"}, "limit: Input should be a valid integer"),
        ("search", {"query": "x", "domain": "Drug"}, "there is no argument 'domain'; did you mean domains?"),
        (
            "search",
            {"query": "x", "k": 5},
            "there is no argument 'k'; there are query, domains, vocabularies",
        ),
        ("search", {"query": "x", "domains": ["Drgu"]}, "there is no domain 'Drgu'; did you mean 'Drug'"),
        ("search", {"query": "x", "domains": ["a\0"]}, "domains.0: holds the character NUL"),
        ("search", {"query": "x", "domains": ["Drug"] * 51}, "domains: Value should have at most 50 items"),
        (
            "search",
            {"query": "x", "include_non_standard": "maybe"},
            "include_non_standard: Input should be a",
        ),
        (
            "fetch",
            {"id": "999999999"},
            "there is no concept 999999999 in the loaded vocabulary (v5.0 30-AUG-24)",
        ),
        ("fetch", {"id": "-1"}, "give a concept by its id or as VOCABULARY:CODE"),
        ("fetch", {"id": "2147483648"}, "a concept id is at most 2147483647"),
        ("fetch", {"id": "9" * 40}, "give a concept by its id or as VOCABULARY:CODE"),
        ("fetch", {"id": CLINICAL}, "give a concept by its id or as VOCABULARY:CODE"),
        ("fetch", {"id": True}, "id: Input should be a valid string"),
        ("fetch", {"id": "SNOMED:XX1"}, "vocabulary SNOMED (v5.0 30-AUG-24) has no code 'XX1'"),
        ("fetch", {"id": "x" * 201}, "id: String should have at most 200 characters"),
        ("search", {"query": "x", "domains": ["x" * 201]}, "domains.0: String should have at most 200"),
        ("map_terms", {"terms": []}, "terms: Value should have at least 1 item"),
        ("map_terms", {"terms": [CLINICAL] * 101}, "terms: Value should have at most 100 items"),
        ("map_terms", {"terms": [CLINICAL] * 10_000}, "terms: Value should have at most 100 items"),
        ("map_terms", {"terms": [{"nam": CLINICAL}]}, "terms.0.nam: Extra inputs are not permitted"),
        ("map_terms", {"terms": [{"name": "a\0"}]}, "terms.0.name: holds the character NUL"),
        ("map_terms", {"terms": [1, "x"]}, "terms.0: Input should be"),
        (
            "map_terms",
            {"terms": ["x"], "candidates": 21},
            "candidates: Input should be less than or equal to 20",
        ),
        ("map_terms", {"terms": ["x"], "vocabularies": ["SNMED"]}, "there is no vocabulary 'SNMED'"),
        ("get_hierarchy", {"concept": "4329847", "kind": "uncles"}, "kind: Input should be 'parents'"),
        ("get_hierarchy", {"concept": "4329847", "offset": -1}, "offset: Input should be greater than"),
        (
            "get_hierarchy",
            {"concept": "4329847", "limit": 501},
            "limit: Input should be less than or equal to 500",
        ),
        ("find_similar", {"concept": "999999999"}, "there is no concept 999999999"),
        ("map_term", {"terms": ["x"]}, "there is no tool 'map_term'; did you mean map_terms?"),
        ("x\ny", {}, "there is no tool 'x y'; there are search, fetch"),
    ],
)
def test_what_cannot_be_used_is_one_line_that_says_why(
    ask: Ask, caplog: pytest.LogCaptureFixture, tool: str, arguments: dict[str, Any], message: str
) -> None:
    caplog.set_level(logging.DEBUG)
    error = ask(tool, **arguments)
    assert isinstance(error, str), error
    assert error.startswith(message) or message in error
    assert "\n" not in error
    assert CLINICAL not in error + caplog.text


@pytest.mark.parametrize(
    ("tool", "arguments", "fields"),
    [
        ("search", {"query": "x", "limit": "2"}, {"limit"}),
        ("search", {"query": "heart attack", "domains": '["Condition"]'}, {"domains"}),
        ("search", {"query": "4329847"}, set()),
        ("search", {"query": "\u202e'; drop table concept; --"}, set()),
        ("search", {"query": "999999999"}, set()),
        ("search", {"query": "x" * 2000}, set()),
        ("map_terms", {"terms": "heart attack"}, {"terms"}),
        ("get_hierarchy", {"concept": 4329847, "offset": 10_000_000}, {"concept"}),
    ],
)
def test_what_models_write_otherwise_is_understood(
    ask: Ask, tool: str, arguments: dict[str, Any], fields: set[str]
) -> None:
    assert isinstance(ask(tool, **arguments), dict), fields


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("omop://concept/999999999", "there is no concept 999999999"),
        ("omop://concept/abc", "give a concept by its id or as VOCABULARY:CODE"),
        ("omop://concepts/4329847", "Unknown resource"),
        ("file:///etc/passwd", "Unknown resource"),
    ],
)
def test_a_resource_that_does_not_exist_is_an_error(server: Any, uri: str, message: str) -> None:
    async def read(client: Client) -> None:
        with pytest.raises(MCPError, match=message):
            await client.read_resource(uri)

    ask_client(server, read)


def test_concepts_and_the_vocabulary_are_resources(server: Any) -> None:
    def read(uri: str) -> Any:
        found = ask_client(server, lambda client: client.read_resource(uri))
        return json.loads(found.contents[0].text)

    templates = ask_client(server, lambda client: client.list_resource_templates())
    assert [one.uri_template for one in templates.resource_templates] == ["omop://concept/{concept_id}"]
    assert read("omop://concept/4329847")["title"] == "Myocardial infarction"
    vocabulary = read("omop://vocabulary")
    assert (vocabulary["version"], "Condition" in vocabulary["domains"]) == ("v5.0 30-AUG-24", True)


def test_a_failure_that_nobody_foresaw_names_its_kind_and_no_term(caplog: pytest.LogCaptureFixture) -> None:
    class Failing:
        finder: Any

        async def run(self, *_: Any, **__: Any) -> Any:
            raise ZeroDivisionError(CLINICAL)

        query = run

    failing = Failing()
    failing.finder = failing
    failing.find = None  # type: ignore[attr-defined] # never called
    result = ask_client(mcp_server(failing), lambda client: client.call_tool("search", {"query": CLINICAL}))
    assert result.is_error
    assert result.content[0].text.startswith("the server failed: unexpected ZeroDivisionError")
    assert "unexpected ZeroDivisionError" in caplog.text
    assert CLINICAL not in caplog.text + result.content[0].text


def test_a_database_that_is_away_is_an_error_and_its_return_is_an_answer(
    ask: Ask, database: str, server_conninfo: str
) -> None:
    assert ask("search", query="htn")["results"]
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    with psycopg.connect(server_conninfo, autocommit=True) as admin:
        allow = SQL("alter database {} allow_connections {}")
        end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
        admin.execute(allow.format(Identifier(str(name)), SQL("false")))
        admin.execute(end, (name,))
        try:
            for tool, arguments in (("search", {"query": "htn"}), ("fetch", {"id": "4329847"})):
                error = ask(tool, **arguments)
                assert isinstance(error, str)
                assert "database" in error
                assert "\n" not in error
        finally:
            admin.execute(allow.format(Identifier(str(name)), SQL("true")))
    assert ask("search", query="htn")["results"]
    assert ask("fetch", id="4329847")["title"]


def _environment(database: str) -> dict[str, str]:
    return {**os.environ, "OMOP_EMB_DATABASE_URL": database}


def test_an_assistant_starts_the_command_and_talks_to_it(database: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = StdioServerParameters(command=str(OMOP_EMB), args=["mcp"], env=_environment(database))

    async def ask() -> Any:
        with log.open("w") as errors:
            async with Client(stdio_client(command, errors)) as client:
                names = [tool.name for tool in (await client.list_tools()).tools]
                found = await client.call_tool("search", {"query": "htn", "limit": 1})
                failed = await client.call_tool("search", {"query": CLINICAL, "domains": ["Nowhere"]})
                return names, found, failed

    names, found, failed = asyncio.run(ask())
    assert tuple(names) == TOOLS
    assert found.structured_content["results"][0]["title"] == "Hypertensive disorder"
    assert failed.is_error
    assert CLINICAL not in log.read_text()
    assert "Traceback" not in log.read_text()


def _message(number: int, method: str, **params: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def test_stdout_carries_the_protocol_alone_and_the_end_of_stdin_ends_the_process(database: str) -> None:
    hello = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    lines = [
        _message(1, "initialize", **hello),
        json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        f"this is no JSON: {CLINICAL}",
        '{"jsonrpc": "2.0", "id": 2, "method": "tools/call"',
        _message(3, "no/such/method", text=CLINICAL),
        _message(4, "tools/call", name="search", arguments={"query": CLINICAL, "limit": 10**6}),
        _message(5, "tools/call", name="fetch", arguments={"id": "4329847"}),
    ]
    process = subprocess.Popen(
        [OMOP_EMB, "mcp"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(database),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("".join(f"{line}\n" for line in lines))
    process.stdin.flush()
    answers: dict[Any, Any] = {}
    while 5 not in answers:
        line = process.stdout.readline()
        assert line, process.stderr and process.stderr.read()
        answer = json.loads(line)
        answers[answer.get("id")] = answer
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, "")
    assert answers[1]["result"]["serverInfo"]["name"] == "omop-emb"
    assert "error" in answers[3]
    assert answers[4]["result"]["isError"] is True
    assert answers[5]["result"]["structuredContent"]["title"] == "Myocardial infarction"
    assert CLINICAL not in errors
    assert "Traceback" not in errors


def test_without_a_database_the_command_answers_with_the_reason() -> None:
    lines = [
        _message(
            1,
            "initialize",
            protocolVersion="2025-06-18",
            capabilities={},
            clientInfo={"name": "t", "version": "1"},
        ),
        json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        _message(2, "tools/call", name="search", arguments={"query": "htn"}),
    ]
    environment = _environment("postgresql://nobody:hidden-password@127.0.0.1:1/none")
    with subprocess.Popen(
        [OMOP_EMB, "mcp"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("".join(f"{line}\n" for line in lines))
        process.stdin.flush()
        process.stdout.readline()
        result = json.loads(process.stdout.readline())["result"]
        output, errors = process.communicate(timeout=60)
    assert result["isError"] is True
    assert "cannot connect" in result["content"][0]["text"]
    assert "hidden-password" not in output + errors + str(result)
