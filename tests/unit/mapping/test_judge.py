"""A second opinion from local servers that speak Ollama's, Gemini's and OpenAI's protocols."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from omop_emb.errors import ConfigurationError, ProviderRefusedError, QuotaExhaustedError, RateLimitError
from omop_emb.mapping.judge.judge import Judge
from omop_emb.mapping.judge.judge_cache import JudgeCache
from omop_emb.mapping.judge.prompt import ApprovedExample, ConceptContext, describe_term, read_answers
from omop_emb.mapping.judge.verdict import Verdict, with_verdict
from omop_emb.mapping.records import Decision, MappedTerm, SourceTerm, Variant
from omop_emb.providers.chat import make_chat_model
from tests.unit.mapping.chat_server import (
    ChatServer,
    Reply,
    Turn,
    answers,
    chat_server,
    first_candidates,
    sleeping,
    status,
)
from tests.unit.mapping.files.sample_results import candidate, mapped

MODELS = {"ollama": "ollama:llama3.1", "gemini": "gemini:gemini-2.5-flash", "openai": "openai:gpt-4o-mini"}
Serve = Callable[..., AbstractContextManager[tuple[ChatServer, Judge]]]


def terms(count: int = 3) -> list[MappedTerm]:
    return [
        mapped(
            SourceTerm(name=f"TERM {n}", code=str(n), context={"ward": "A&E"}, further_names=("Yskä",)),
            candidate(10 * n + 1, f"first of {n}"),
            candidate(10 * n + 2, f"second of {n}", rank=2),
            priority=float(n),
        )
        for n in range(1, count + 1)
    ]


def chosen(results: list[MappedTerm]) -> list[int | None]:
    return [next((c.concept_id for c in r.candidates if c.judged), None) for r in results]


def make_judge(monkeypatch: pytest.MonkeyPatch, provider: str, url: str, **options: Any) -> Judge:
    monkeypatch.setenv("OLLAMA_HOST", url)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "openai-key")
    monkeypatch.setenv("GEMINI_API_KEY", "gemini-key")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", url)
    model = make_chat_model(MODELS[provider], thinking_tokens=options.pop("thinking_tokens", None))
    # One question at a time, because the fake server's turns are in the order of the questions.
    model.timeout_seconds, model.concurrency = options.pop("timeout_seconds", 10.0), 1
    options.setdefault("rate_limit_patience_seconds", 0.0)
    return Judge(model, sleep=lambda _seconds: None, **options)


@pytest.fixture(params=sorted(MODELS))
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, provider: str) -> Serve:
    @contextmanager
    def serving(*turns: Turn, **options: Any) -> Iterator[tuple[ChatServer, Judge]]:
        with chat_server(*turns) as server:
            yield server, make_judge(monkeypatch, provider, server.url, **options)

    return serving


def says(text: str) -> Turn:
    return lambda _terms: text


# --- every protocol


def test_the_choice_and_its_reason_are_marked_and_no_decision_changes(serve: Serve, provider: str) -> None:
    with serve(says(answers("12", "none", "31"))) as (server, judge):
        results = judge.judge(terms())
    assert chosen(results) == [12, None, 31]
    assert [r.judge for r in results] == [
        f"12 second of 1: because 1 ({MODELS[provider]})",
        f"none: because 2 ({MODELS[provider]})",
        f"31 first of 3: because 3 ({MODELS[provider]})",
    ]
    assert {r.decision for r in results} == {Decision.REVIEW}
    assert [r.candidates[0].concept_id for r in results] == [11, 21, 31]
    assert len(server.requests) == 1
    assert (judge.usage.requests, judge.usage.input_tokens, judge.usage.output_tokens) == (1, 100, 10)


def test_the_model_sees_term_context_candidates_synonyms_and_parents(serve: Serve) -> None:
    contexts = {11: ConceptContext(("tussis",), ("Respiratory finding",))}
    with serve(first_candidates) as (server, judge):
        judge.judge(terms(1), contexts)
    ((seen,),) = server.questions()
    assert seen["text"] == "TERM 1"
    assert (seen["other texts"], seen["context"]) == (["Yskä"], {"ward": "A&E"})
    assert {one["concept_id"]: one for one in seen["candidates"]}["11"] == {
        "concept_id": "11",
        "name": "first of 1",
        "domain": "Condition",
        "class": "Clinical Finding",
        "vocabulary": "SNOMED",
        "adds": ["first", "1"],
        "lacks": ["cough"],
        "synonyms": ["tussis"],
        "parents": ["Respiratory finding"],
    }


def test_an_invented_id_is_refused_after_a_second_question(serve: Serve) -> None:
    # 21 is a candidate, but of another term.
    with serve(says(answers("21", "22")), says(answers("99"))) as (server, judge):
        first, second = judge.judge(terms(2))
    assert chosen([first, second]) == [None, 22]
    assert "not among the candidates" in first.judge
    assert [len(asked) for asked in server.questions()] == [2, 1]


@pytest.mark.parametrize(
    "broken",
    ["", "I think it is 11.", '{"answers": [{"term": 1, "concept_id": "1', "[]", "null", '{"answers": 3}',
     '{"answers": [{"term": 7, "concept_id": "11"}]}', '{"answers": [{"term": 1, "concept_id": ["11"]}]}',
     '{"answers": [{"term": 1, "concept_id": true}]}'],
)  # fmt: skip
def test_broken_json_is_asked_for_once_more_and_then_counts_as_no_answer(serve: Serve, broken: str) -> None:
    with serve(says(broken), first_candidates) as (server, judge):
        assert chosen(judge.judge(terms(1))) == [11]
        assert len(server.requests) == 2
    with serve(says(broken)) as (server, judge):
        (result,) = judge.judge(terms(1))
    assert chosen([result]) == [None]
    assert "JSON" in result.judge
    assert len(server.requests) == 2


ANSWER = answers("11")


@pytest.mark.parametrize(
    "wordy",
    [
        f"<think>\nA cough, so {answers('12')}?\n</think>\n{ANSWER}",
        f"<thinking>no [brackets] closed {{ here</thinking>{ANSWER}",
        f"Sure! Here is the JSON you asked for:\n```json\n{ANSWER}\n```\nLet me know if you need more.",
        f"```\n{ANSWER}\n```",
        f"A first try: {answers('12')} — no, better: {ANSWER}",
        f"The candidates are [11, 12]. {ANSWER} I chose {{11}}.",
        ANSWER.replace('"term": 1', '"term": "1"'),
        ANSWER.replace('"concept_id": "11"', '"concept_id": 11'),
        json.dumps(json.loads(ANSWER)["answers"]),  # without the object around it
        json.dumps(json.loads(ANSWER)["answers"][0]),  # one answer alone
        "\ufeff" + ANSWER,
    ],
)
def test_thoughts_prose_and_quotes_around_an_answer_lose_nothing(serve: Serve, wordy: str) -> None:
    with serve(says(wordy)) as (server, judge):
        assert chosen(judge.judge(terms(1))) == [11]
        assert len(server.requests) == 1


def test_thoughts_without_an_end_are_no_answer(serve: Serve) -> None:
    with serve(says(f"<think>perhaps {ANSWER}")) as (_, judge):
        (result,) = judge.judge(terms(1))
    assert result.judge.startswith("no answer")


def test_a_term_that_an_answer_leaves_out_is_asked_about_alone(serve: Serve) -> None:
    partly = json.dumps({"answers": [{"term": 1, "concept_id": "11", "reason": ""}]})
    with serve(says(partly), first_candidates) as (server, judge):
        assert chosen(judge.judge(terms(2))) == [11, 21]
    assert [[term["text"] for term in asked] for asked in server.questions()] == [
        ["TERM 1", "TERM 2"],
        ["TERM 2"],
    ]


def test_a_rate_limited_request_is_repeated_after_the_requested_wait(serve: Serve) -> None:
    with serve(status(429, "slow down", Retry_After="3"), status(503), first_candidates) as (server, judge):
        waits: list[float] = []
        asker = judge._asker
        asker._sleep = asker._limiter._sleep = waits.append
        asker._limiter._clock = lambda: sum(waits)
        assert chosen(judge.judge(terms(1))) == [11]
    assert len(server.requests) == 3
    assert max(waits) >= 3


def test_a_slow_server_leaves_its_terms_unanswered_and_finally_stops_the_judge(serve: Serve) -> None:
    with serve(sleeping(1.0), timeout_seconds=0.1, max_attempts=2, batch_terms=1) as (server, judge):
        results = judge.judge(terms(5))
    assert all("no answer" in result.judge for result in results)
    assert "in time" in results[0].judge
    assert "provider failed" in results[4].judge
    assert judge.failure is not None
    # Three terms, two attempts each; the rest was not asked.
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("turn", "kind"),
    [
        (status(401, "bad key"), ProviderRefusedError),
        (status(404, "no such model"), ProviderRefusedError),
        (status(429, "insufficient_quota: check billing"), QuotaExhaustedError),
        (status(429, "slow down"), RateLimitError),
    ],
)
def test_a_permanent_failure_ends_the_asking_but_not_the_mapping(
    serve: Serve, turn: Turn, kind: type[Exception]
) -> None:
    with serve(first_candidates, turn, batch_terms=1) as (_, judge):
        results = judge.judge(terms(3))
    assert chosen(results) == [11, None, None]
    assert isinstance(judge.failure, kind)
    assert not any(
        word in f"{judge.failure}{results[1].judge}" for word in ("TERM", "gemini-key", "openai-key")
    )


def test_a_response_that_is_not_json_at_all_counts_as_an_outage(serve: Serve) -> None:
    page: Turn = lambda _terms: (200, {}, b"<html>proxy</html>")  # noqa: E731 - one of many turns
    with serve(page, first_candidates) as (server, judge):
        assert chosen(judge.judge(terms(1))) == [11]
    assert len(server.requests) == 2


def test_a_refused_batch_is_asked_term_by_term(serve: Serve, provider: str) -> None:
    def refuses_term_2(asked: list[dict[str, Any]]) -> Reply:
        if any(term["text"] == "TERM 2" for term in asked):
            return 400, {}, {"error": {"message": "invalid prompt", "code": 400}}
        return first_candidates(asked)

    with serve(refuses_term_2) as (_, judge):
        results = judge.judge(terms(3))
    assert chosen(results) == [11, None, 31]
    assert "HTTP 400" in results[1].judge
    assert judge.failure is None


def test_answers_are_cached_and_not_asked_for_again(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "judge.sqlite3"
    for requests in (1, 0):
        with closing(JudgeCache(path)) as cache, serve(first_candidates, cache=cache) as (server, judge):
            results = judge.judge(terms())
            assert chosen(results) == [11, 21, 31]
            assert "because 1" in results[0].judge
            assert len(server.requests) == requests
            assert judge.estimate(terms()).cached == 3


# --- single protocols


def test_each_protocol_holds_the_model_to_json(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = {}
    for provider in MODELS:
        with chat_server(first_candidates) as server:
            make_judge(monkeypatch, provider, server.url).judge(terms(1))
        ((path, bodies[provider], headers),) = server.requests
        assert (
            path
            == {
                "ollama": "/api/chat",
                "gemini": "/v1/models/gemini-2.5-flash:generateContent",
                "openai": "/v1/chat/completions",
            }[provider]
        )
        key = {"gemini": "x-goog-api-key", "openai": "authorization"}.get(provider)
        assert key is None or "key" in headers[key]
    assert bodies["ollama"]["format"]["required"] == ["answers"]
    assert bodies["ollama"]["options"]["temperature"] == 0
    assert bodies["ollama"]["options"]["num_ctx"] >= 16_384
    assert bodies["gemini"]["generationConfig"]["responseMimeType"] == "application/json"
    assert "answers" in str(bodies["gemini"]["generationConfig"]["responseJsonSchema"])
    assert bodies["openai"]["response_format"]["json_schema"]["strict"] is True


def test_an_openai_server_without_schema_or_temperature_is_asked_without_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with chat_server(first_candidates) as server:

        def picky(asked: list[dict[str, Any]]) -> Reply:
            body = server.requests[-1][1]
            if "temperature" in body or "response_format" in body:
                return 400, {}, {"error": {"message": "unsupported parameter"}}
            return first_candidates(asked)

        server.turns[:] = [picky]
        judge = make_judge(monkeypatch, "openai", server.url, batch_terms=1)
        assert chosen(judge.judge(terms(2))) == [11, 21]
    # Five attempts for the first term; the second uses what worked.
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("provider", "reply"),
    [
        ("gemini", {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}),
        ("gemini", {"candidates": [{"finishReason": "SAFETY"}]}),
        ("openai", {"choices": [{"message": {"content": None, "refusal": "no"}, "finish_reason": "stop"}]}),
        ("openai", {"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}),
    ],
)
def test_a_refusal_is_reported_as_one(
    monkeypatch: pytest.MonkeyPatch, provider: str, reply: dict[str, Any]
) -> None:
    with chat_server(lambda _terms: (200, {}, reply)) as server:
        (result,) = make_judge(monkeypatch, provider, server.url).judge(terms(1))
    assert "refused" in result.judge
    assert chosen([result]) == [None]


def test_a_truncated_answer_is_reported_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider, reply in {
        "ollama": {"message": {"role": "assistant", "content": "{"}, "done": True, "done_reason": "length"},
        "gemini": {"candidates": [{"content": {"parts": [{"text": "{"}]}, "finishReason": "MAX_TOKENS"}]},
        "openai": {"choices": [{"message": {"content": "{"}, "finish_reason": "length"}]},
    }.items():
        with chat_server(lambda _terms, reply=reply: (200, {}, reply)) as server:  # type: ignore[misc]  # bound now
            (result,) = make_judge(monkeypatch, provider, server.url).judge(terms(1))
        assert "cut off" in result.judge, provider


def test_a_model_s_thoughts_are_not_its_answer_but_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [{"text": "let me think", "thought": True}, {"text": answers("11")}]
    used = {"promptTokenCount": 100, "candidatesTokenCount": 10, "thoughtsTokenCount": 300}
    reply = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "usageMetadata": used}
    with chat_server(lambda _terms: (200, {}, reply)) as server:
        judge = make_judge(monkeypatch, "gemini", server.url)
        assert chosen(judge.judge(terms(1))) == [11]
    assert judge.usage.output_tokens == 310


def test_ollama_is_asked_not_to_think(monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_server(first_candidates) as server:
        make_judge(monkeypatch, "ollama", server.url).judge(terms(1))
    assert server.requests[0][1]["think"] is False


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thoughts_in_a_field_of_their_own_are_no_answer_unless_there_is_no_other(
    monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    used = {
        "prompt_tokens": 90,
        "completion_tokens": 50,
        "completion_tokens_details": {"reasoning_tokens": 40},
    }
    messages = [
        ({"content": answers("11"), field: answers("12")}, "stop", 11),
        ({"content": "", field: f"a cough, so {answers('12')}"}, "stop", 12),  # a server's mistake
        ({"content": None, field: f"a cough, so {answers('12')}"}, "length", None),
        ({"content": f"a cough, so {answers('12')} </think> {answers('11')}"}, "stop", 11),
        ({"content": f"a cough, so {answers('12')} </think> {{"}, "stop", None),
    ]
    for message, reason, expected in messages:
        reply = {"choices": [{"message": message, "finish_reason": reason}], "usage": used}
        with chat_server(lambda _terms, reply=reply: (200, {}, reply)) as server:  # type: ignore[misc]  # bound now
            judge = make_judge(monkeypatch, "openai", server.url)
            (result,) = judge.judge(terms(1))
        assert chosen([result]) == [expected]
        assert judge.usage.thinking_tokens == 40 * judge.usage.requests
        if reason == "length":
            assert "cut off at the limit while the model was thinking" in result.judge


def test_a_limit_for_thoughts_is_asked_of_every_protocol_in_its_own_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bodies: dict[str, Any] = {}
    for provider in MODELS:
        with chat_server(first_candidates) as server:
            make_judge(monkeypatch, provider, server.url, thinking_tokens=1_000).judge(terms(1))
        ((_, bodies[provider], _),) = server.requests
    assert bodies["ollama"]["think"] is True
    assert bodies["ollama"]["options"]["num_predict"] > 1_000
    assert bodies["ollama"]["options"]["num_ctx"] > 17_000
    config = bodies["gemini"]["generationConfig"]
    assert list(config["thinkingConfig"].values()) == [1_000]
    assert config["maxOutputTokens"] > 1_000
    assert bodies["openai"]["max_completion_tokens"] > 1_000


@pytest.mark.parametrize("provider", sorted(MODELS))
def test_a_server_that_knows_no_limit_for_thoughts_is_asked_without_it(
    monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    with chat_server(first_candidates) as server:

        def old(asked: list[dict[str, Any]]) -> Reply:
            text = json.dumps(server.requests[-1][1])
            if any(word in text for word in ('"think": true', "thinkingConfig", "max_completion_tokens")):
                return 400, {}, {"error": {"message": "m does not support thinking", "code": 400}}
            return first_candidates(asked)

        server.turns[:] = [old]
        judge = make_judge(monkeypatch, provider, server.url, batch_terms=1, thinking_tokens=1_000)
        assert chosen(judge.judge(terms(2))) == [11, 21]
        refused = len(server.requests) - 2
    assert refused == {"ollama": 1, "gemini": 1, "openai": 5}[provider]  # of the first term's requests


# --- independent of the protocol


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch) -> Serve:
    @contextmanager
    def serving(*turns: Turn, **options: Any) -> Iterator[tuple[ChatServer, Judge]]:
        with chat_server(*turns) as server:
            yield server, make_judge(monkeypatch, "ollama", server.url, **options)

    return serving


def test_only_terms_in_review_with_candidates_are_asked_about(ollama: Serve) -> None:
    one, two, three = terms()
    asked = [
        replace(one, decision=Decision.ACCEPT),
        two,
        replace(three, candidates=()),
        replace(three, decision=Decision.NO_MATCH),
    ]
    with ollama(first_candidates) as (server, judge):
        results = judge.judge(asked)
    assert [results[n] for n in (0, 2, 3)] == [asked[n] for n in (0, 2, 3)]
    assert [[term["text"] for term in each] for each in server.questions()] == [["TERM 2"]]


def test_terms_are_asked_about_in_batches_and_the_most_valuable_first_if_there_is_a_limit(
    ollama: Serve,
) -> None:
    with ollama(first_candidates, batch_terms=2, max_terms=3) as (server, judge):
        results = judge.judge(terms(5))
        assert judge.judge(terms(1))[0].judge == ""
    assert chosen(results) == [None, None, 31, 41, 51]
    assert results[0].judge == ""
    assert [len(each) for each in server.questions()] == [2, 1]


def test_concurrent_questions_keep_the_answers_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with chat_server(sleeping(0.2), first_candidates) as server:
        judge = make_judge(monkeypatch, "openai", server.url, batch_terms=1)
        judge._model.concurrency = 4
        assert chosen(judge.judge(terms(6))) == [11, 21, 31, 41, 51, 61]


def test_the_cost_is_estimated_without_asking_anything(ollama: Serve) -> None:
    with ollama(first_candidates, batch_terms=2) as (server, judge):
        estimate = judge.estimate(terms(5))
        assert server.requests == []
    assert (estimate.terms, estimate.cached, estimate.requests) == (5, 0, 3)
    sent = sum(len(describe_term(term, {})) for term in terms(5)) / 4
    assert sent < estimate.input_tokens < sent + 3 * 1000
    assert estimate.cost(1.0, 2.0) == pytest.approx(
        (estimate.input_tokens + 2 * estimate.output_tokens) / 1e6
    )


def test_the_cache_stores_hash_id_and_reason_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "judge.sqlite3"
    with closing(JudgeCache(path)) as cache:
        cache.put("is GALLSTONES 11?", Verdict(11, "same meaning"))
        cache.put("is GALLSTONES 11?", Verdict(12, "another answer"))
        cache.put("is PANCREATITIS 13?", Verdict(None, "none fits"))
    with closing(JudgeCache(path)) as cache:
        assert cache.get("is GALLSTONES 11?") == Verdict(11, "same meaning")
        assert cache.get("is PANCREATITIS 13?") == Verdict(None, "none fits")
        assert cache.get("is GALLSTONES 12?") is None
    content = path.read_bytes().lower()
    assert b"same meaning" in content
    assert not [word for word in (b"gall", b"stone", b"pancreatitis") if word in content]
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("select * from verdict where concept_id is not null").fetchall()
    assert rows == [(hashlib.sha256(b"is GALLSTONES 11?").digest(), 11, "same meaning")]


def test_the_cache_file_belongs_to_its_owner_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []

    connect = sqlite3.connect

    def recording(path: Path, **options: Any) -> sqlite3.Connection:
        modes.append(path.stat().st_mode & 0o777)
        connection: sqlite3.Connection = connect(path, **options)
        return connection

    monkeypatch.setattr(sqlite3, "connect", recording)
    mask = os.umask(0)
    try:
        with closing(JudgeCache(tmp_path / "judge.sqlite3")) as cache:
            cache.put("a question", Verdict(11))
    finally:
        os.umask(mask)
    assert modes == [0o600]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_cache_file_of_the_version_before_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "judge.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table answer (key blob primary key, value blob not null) without rowid")
        key = hashlib.sha256(b"is GALLSTONES 11?").digest()
        connection.execute("insert into answer values (?, ?)", (key, b'[99, "encrypted"]'))
        connection.commit()
    with closing(JudgeCache(path)) as cache:
        assert cache.get("is GALLSTONES 11?") is None
        cache.put("is GALLSTONES 11?", Verdict(11, "same meaning"))
        assert cache.get("is GALLSTONES 11?") == Verdict(11, "same meaning")


def test_no_text_of_a_term_or_candidate_is_in_the_cache_file(ollama: Serve, tmp_path: Path) -> None:
    path = tmp_path / "judge.sqlite3"
    with closing(JudgeCache(path)) as cache, ollama(first_candidates, cache=cache) as (_, judge):
        judge.judge(terms(), {11: ConceptContext(("tussis",), ("Respiratory finding",))})
    content = path.read_bytes().lower()
    assert b"because 1" in content
    assert not [word for word in (b"term", b"first of", b"ysk", b"a&e", b"tussis") if word in content]


def test_another_candidate_or_model_is_another_question(ollama: Serve, tmp_path: Path) -> None:
    (term,) = terms(1)
    more = replace(term, candidates=(*term.candidates, candidate(13, rank=3)))
    with (
        closing(JudgeCache(tmp_path / "c")) as cache,
        ollama(first_candidates, cache=cache) as (server, judge),
    ):
        judge.judge([term])
        judge.judge([more])
        judge.judge([replace(term, priority=9.0)])
        assert len(server.requests) == 2
        judge._model.source = "ollama:other"
        judge.judge([term])
        assert len(server.requests) == 3


def test_a_description_is_bounded() -> None:
    term = SourceTerm(name="x" * 10_000, context={"note": "y" * 10_000})
    many = mapped(term, *(candidate(n, "z" * 1000, rank=n) for n in range(1, 100)))
    contexts = {n: ConceptContext(("s" * 1000,) * 50, ("p" * 1000,) * 50) for n in range(1, 100)}
    examples = [ApprovedExample("e" * 1000, 1, "c" * 1000)] * 50
    assert len(describe_term(many, contexts, examples)) <= 16_000
    assert (
        len(
            describe_term(
                replace(many, term=replace(term, context={"c" * n: "v" * 999 for n in range(500)})),
                contexts,
                examples,
            )
        )
        <= 16_000
    )
    assert describe_term(many, contexts).count('"concept_id"') == 12


def test_terms_that_are_long_are_asked_about_in_smaller_batches(ollama: Serve) -> None:
    def long(number: int) -> MappedTerm:
        many = (candidate(100 * number + n, "z" * 1000, rank=n) for n in range(1, 13))
        return mapped(SourceTerm(name=f"term {number}", code=str(number)), *many)

    with ollama(first_candidates) as (server, judge):
        judge.judge([long(n) for n in range(1, 6)])
        asked = [len(each) for each in server.questions()]
        assert judge.estimate([long(n) for n in range(1, 6)]).requests == len(asked)
    assert sum(asked) == 5
    assert 1 < len(asked) <= 3
    assert all(len(body["messages"][1]["content"]) < 34_000 for _, body, _ in server.requests)


def test_candidates_are_shown_in_an_order_that_owes_nothing_to_the_ranker() -> None:
    def shown(mapped: MappedTerm) -> list[str]:
        return [one["concept_id"] for one in json.loads(describe_term(mapped, {}))["candidates"]]

    numbers = range(1, 7)
    firsts = []
    for name in range(300):
        term = mapped(SourceTerm(name=f"term {name}"), *(candidate(n, rank=n) for n in numbers))
        turned = replace(term, candidates=term.candidates[::-1])
        assert shown(term) == shown(turned) == shown(term)
        firsts.append(int(shown(term)[0]))
    # Each is first in a sixth of the terms: 50, with a standard deviation of 6.5.
    assert all(20 < firsts.count(number) < 80 for number in numbers)


def test_what_tells_candidates_from_the_term_and_from_each_other_is_said() -> None:
    term = mapped(
        SourceTerm(name="fracture of left femurs"),
        candidate(1, "Fracture of right femur", variant=Variant("fracture of left femurs")),
        candidate(2, "Closed fracture of femur", 2, variant=Variant("fracture of left femurs"),
                  flags=("laterality: left in the term",)),
        candidate(3, "Broken thigh bone, left", 3, matched_text="fracture of left femur",
                  variant=Variant("fracture of left femurs")),
    )  # fmt: skip
    described = json.loads(
        describe_term(term, {}, [ApprovedExample("fx femur L", 3, "Broken thigh bone, left")])
    )
    one, two, three = sorted(described["candidates"], key=lambda each: each["concept_id"])
    assert (one["says"]["laterality"], one["adds"], one["lacks"]) == ("right", ["right"], ["left"])
    assert (two["says"]["laterality"], two["adds"], two["lacks"]) == ("nothing", ["closed"], ["left"])
    assert two["differs"] == ["laterality: left in the term"]
    assert three["says"]["laterality"] == "left"
    assert "adds" not in three
    assert described["approved here"] == [{"text": "fx femur L", "concept": "3 Broken thigh bone, left"}]


def test_answers_are_read_in_the_shapes_that_models_write() -> None:
    assert read_answers('```json\n{"answers": [{"term": 1, "concept_id": 11}]}\n```', 1) == {1: ("11", "")}
    assert read_answers('[{"term": 2, "concept_id": null, "reason": " a\\n b "}]', 2) == {2: ("none", "a b")}
    twice = [{"term": 1, "concept_id": "11"}, {"term": 1, "concept_id": "12"}]
    assert read_answers(json.dumps({"answers": twice}), 1) == {}


def test_a_verdict_marks_one_candidate_only() -> None:
    (term,) = terms(1)
    again = with_verdict(with_verdict(term, Verdict(11), "a:b"), Verdict(12, "better"), "a:b")
    assert chosen([again]) == [12]
    assert again.judge == "12 second of 1: better (a:b)"


@pytest.mark.parametrize("name", ["", "ollama", "ollama:", "local:x", "llama3"])
def test_a_judge_is_named_provider_and_model(name: str) -> None:
    with pytest.raises(ConfigurationError, match="provider:model"):
        make_chat_model(name)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "[1," * 60_000,
        '{"a":' * 40_000,
        '[{"term":' * 20_000,
        ("9" * 5_000 + "[") * 40,
        "{[" * 90_000,
    ],
)
def test_brackets_without_end_cost_little_time_and_hide_no_answer_before_them(text: str) -> None:
    begun = time.process_time()
    answer = '[{"term": 1, "concept_id": 11}] '
    assert read_answers(answer + text, 1) == {1: ("11", "")}
    assert read_answers(text, 1) == {}
    assert time.process_time() - begun < 5
