"""Translations of source terms by local servers that speak Ollama's, Gemini's and OpenAI's protocols."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from omop_emb.mapping.judge import TranslationCache, TranslationJob, Translator, translate_terms
from omop_emb.mapping.judge.translator import ENGLISH, TRANSLATED, UNANSWERED, UNFAITHFUL
from omop_emb.mapping.records import SourceTerm
from omop_emb.providers.chat import ChatModel, make_chat_model
from tests.unit.mapping.chat_server import ChatServer, Turn, chat_server, status

MODELS = {"ollama": "ollama:llama3.1", "gemini": "gemini:gemini-2.5-flash", "openai": "openai:gpt-4o-mini"}
ENGLISH_OF = {"yskä": "cough", "kuume 38": "fever 38", "tos": "cough", "Fever": "Fever", "kipu 5 mg": "pain"}
Serve = Callable[..., AbstractContextManager[tuple[ChatServer, Translator]]]


def translations(terms: list[dict[str, Any]]) -> str:
    entries = [
        {"term": n, "translation": ENGLISH_OF.get(term["text"], "")} for n, term in enumerate(terms, start=1)
    ]
    return json.dumps({"answers": entries})


def says(text: str) -> Turn:
    return lambda _terms: text


def named(*names: str) -> list[SourceTerm]:
    return [SourceTerm(name=name) for name in names]


def forms(terms: list[SourceTerm]) -> list[str]:
    return [term.translation for term in terms]


@contextmanager
def chat_model(
    monkeypatch: pytest.MonkeyPatch, provider: str, *turns: Turn
) -> Iterator[tuple[ChatServer, ChatModel]]:
    with chat_server(*turns) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "openai-key")
        monkeypatch.setenv("GEMINI_API_KEY", "gemini-key")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        model = make_chat_model(MODELS[provider])
        # One question at a time, because the fake server's turns are in the order of the questions.
        model.timeout_seconds, model.concurrency = 10.0, 1
        yield server, model


@pytest.fixture(params=sorted(MODELS))
def serve(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Serve:
    @contextmanager
    def serving(*turns: Turn, **options: Any) -> Iterator[tuple[ChatServer, Translator]]:
        with chat_model(monkeypatch, request.param, *turns) as (server, model):
            yield server, Translator(model, sleep=lambda _seconds: None, **options)

    return serving


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch) -> Serve:
    @contextmanager
    def serving(*turns: Turn, **options: Any) -> Iterator[tuple[ChatServer, Translator]]:
        with chat_model(monkeypatch, "ollama", *turns) as (server, model):
            yield server, Translator(model, sleep=lambda _seconds: None, **options)

    return serving


def test_each_distinct_term_is_translated_once_and_the_original_stays_the_term(serve: Serve) -> None:
    with serve(translations) as (server, translator):
        terms = translator.translate(named("yskä", "kuume 38", "yskä", "Fever"))
    assert [(term.name, term.translation) for term in terms] == [
        ("yskä", "cough"),
        ("kuume 38", "fever 38"),
        ("yskä", "cough"),
        ("Fever", ""),
    ]
    assert [[term["text"] for term in asked] for asked in server.questions()] == [
        ["yskä", "kuume 38", "Fever"]
    ]
    assert translator.counts == {TRANSLATED: 2, ENGLISH: 1}
    assert (translator.usage.requests, translator.usage.input_tokens) == (1, 100)


def test_domain_and_context_are_sent_and_make_terms_distinct(ollama: Serve) -> None:
    terms = [
        SourceTerm(name="tos", domain="Condition", context={"ward": "lungs", "empty": " "}),
        SourceTerm(name="tos"),
    ]
    with ollama(translations) as (server, translator):
        assert forms(translator.translate(terms)) == ["cough", "cough"]
    assert server.questions() == [
        [{"text": "tos", "domain": "Condition", "context": {"ward": "lungs"}}, {"text": "tos"}]
    ]


def test_a_translation_that_changes_a_number_or_explains_is_dropped_and_counted(ollama: Serve) -> None:
    long = json.dumps({"answers": [{"term": 1, "translation": "This term means a cough, " * 5}]})
    with ollama(translations, says(long), batch_terms=1) as (_, translator):
        assert forms(translator.translate(named("kipu 5 mg", "yskä"))) == ["", ""]
    assert translator.counts == {UNFAITHFUL: 2}


@pytest.mark.parametrize(
    "text",
    [
        '<think>{"answers": [{"term": 1, "translation": "wrong"}]}</think>\n'
        'Here it is:\n```json\n{"answers": [{"term": 1, "translation": " a  cough\\n"}]}\n``` Done.',
        '[{"term": "1", "translation": "a cough"}]',
        '{"term": 1, "translation": "a cough", "language": "fi"}',
    ],
)
def test_thoughts_prose_and_quoted_numbers_around_an_answer_do_no_harm(ollama: Serve, text: str) -> None:
    with ollama(says(text)) as (_, translator):
        assert forms(translator.translate(named("yskä"))) == ["a cough"]


@pytest.mark.parametrize(
    "text",
    [
        "I cannot do that",
        '{"answers": [{"term": 3, "translation": "cough"}]}',
        '{"answers": [{"term": 1, "translation": "a"}, {"term": 1, "translation": "b"}]}',
        '{"answers": [{"term": 1, "translation": 7}]}',
        '{"answers": [{"term": 1}]}',
    ],
)
def test_a_term_without_a_usable_answer_is_asked_about_once_more_alone_and_then_left(
    ollama: Serve, text: str
) -> None:
    with ollama(says(text)) as (server, translator):
        assert forms(translator.translate(named("yskä", "tos"))) == ["", ""]
    assert len(server.requests) == 3
    assert translator.counts == {UNANSWERED: 2}
    assert translator.first_problem == "the model did not answer with JSON"
    assert translator.failure is None


def test_one_garbled_answer_costs_its_own_term_alone(ollama: Serve) -> None:
    first = json.dumps({"answers": [{"term": 2, "translation": "cough"}]})
    with ollama(says(first), says("no"), batch_terms=2) as (_, translator):
        assert forms(translator.translate(named("yskä", "tos"))) == ["", "cough"]
    assert translator.counts == {UNANSWERED: 1, TRANSLATED: 1}


def test_a_server_that_cannot_be_reached_is_a_failure_and_terms_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    translator = Translator(make_chat_model("ollama:m"), max_attempts=1, batch_terms=1)
    terms = named(*(f"yskä {n}" for n in range(20)))
    assert translator.translate(terms) == terms
    assert translator.failure is not None
    assert translator.usage.requests < 20  # it stops asking
    assert translator.counts == {UNANSWERED: 20}


def test_a_refused_key_is_a_failure_at_once(ollama: Serve) -> None:
    with ollama(status(401, "no"), batch_terms=1) as (server, translator):
        assert forms(translator.translate(named("yskä", "tos", "kuume 38"))) == ["", "", ""]
    assert translator.failure is not None
    assert len(server.requests) == 1


def test_no_question_is_begun_after_the_time_limit(ollama: Serve) -> None:
    seconds = iter(range(0, 1000, 10))
    options = {"max_seconds": 15, "batch_terms": 1, "clock": lambda: float(next(seconds))}
    with ollama(translations, **options) as (server, translator):
        assert forms(translator.translate(named("yskä", "tos", "kuume 38"))) == ["cough", "", ""]
    assert len(server.requests) == 1
    assert translator.first_problem == "not asked, because translating took over 15 seconds"


def test_terms_that_are_too_long_or_have_no_name_are_not_sent(ollama: Serve) -> None:
    terms = [SourceTerm(name="y" * 301), SourceTerm(name="", code="7"), SourceTerm(name="?")]
    with ollama(translations) as (server, translator):
        assert translator.translate(terms) == terms
    assert server.requests == []


def test_answers_are_cached_in_a_private_file_that_holds_no_term(ollama: Serve, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "translations.sqlite3"
    terms = named("yskä", "Fever", "kipu 5 mg")
    for expected in (1, 0):
        with (
            closing(TranslationCache(path)) as cache,
            ollama(translations, cache=cache) as (
                server,
                translator,
            ),
        ):
            assert translator.estimate(terms).requests == expected
            assert forms(translator.translate(terms)) == ["cough", "", ""]
            assert translator.counts == {TRANSLATED: 1, ENGLISH: 1, UNFAITHFUL: 1}
            assert len(server.requests) == expected
    assert path.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("select * from translation").fetchall()
    assert sorted(text for _, text in rows) == ["Fever", "cough", "pain"]
    assert "yskä".encode() not in path.read_bytes()


def test_another_model_or_context_asks_again(ollama: Serve, tmp_path: Path) -> None:
    with (
        closing(TranslationCache(tmp_path / "t.sqlite3")) as cache,
        ollama(translations, cache=cache) as (server, translator),
    ):
        translator.translate(named("tos"))
        translator.translate([SourceTerm(name="tos", context={"ward": "lungs"})])
        assert len(server.requests) == 2
        translator._model.source = "ollama:other"
        translator.translate(named("tos"))
    assert len(server.requests) == 3


# --- a whole file


def run_job(job: TranslationJob, terms: list[SourceTerm], agrees: bool = True) -> tuple[list[str], ...]:
    """Translations by term, messages, failures, questions for the user."""
    messages: list[str] = []
    failures: list[str] = []
    questions: list[str] = []

    def confirm(question: str) -> bool:
        questions.append(question)
        return agrees

    add = translate_terms(
        job, lambda: terms, on_message=messages.append, on_failure=failures.append, confirm=confirm
    )
    return forms([add(term) for term in terms]), messages, failures, questions


@pytest.fixture
def private_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.usefixtures("private_cache")
def test_a_job_says_what_is_sent_to_whom_and_what_it_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    terms = [SourceTerm(name="yskä", context={"ward": "lungs"}), *named("Fever", "kipu 5 mg", "outo")]
    with chat_model(monkeypatch, "ollama", translations) as (_, model):
        job = TranslationJob(model=model, prices=(1.0, 10.0))
        found, messages, failures, questions = run_job(job, terms)
        assert found == ["cough", "", "", ""]
        assert failures == []
        assert len(questions) == 1
        assert questions[0].startswith(
            "4 distinct terms with their column ward will be sent to ollama:llama3.1 to be translated "
            "(0 translated before): about 1 request, "
        )
        assert questions[0].endswith("at your prices")
        assert messages[0].startswith(
            "ollama:llama3.1 translated 1 of 4 distinct terms; 2 stay as they are: 1 request, 100 tokens in, "
            "10 out, less than 0.01 USD"
        )
        assert messages[1] == (
            "1 translation was dropped, because numbers, strengths, units or codes were not the term's"
        )
        # Everything is cached: nothing is sent, and nobody is asked.
        assert run_job(job, terms)[3] == []


@pytest.mark.usefixtures("private_cache")
def test_without_consent_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_model(monkeypatch, "ollama", translations) as (server, model):
        found, messages, failures, _ = run_job(TranslationJob(model=model), named("yskä"), agrees=False)
    assert (found, messages, failures, server.requests) == ([""], ["nothing was translated"], [], [])


@pytest.mark.usefixtures("private_cache")
def test_only_the_most_frequent_distinct_terms_are_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    terms = [
        SourceTerm(name="yskä", frequency=5),
        SourceTerm(name="kuume 38", frequency=7),
        SourceTerm(name="tos", frequency=3),
        SourceTerm(name="tos", frequency=3),
    ]
    with chat_model(monkeypatch, "ollama", translations) as (_, model):
        found, _, _, questions = run_job(TranslationJob(model=model, max_terms=2), terms)
    assert found == ["", "fever 38", "cough", "cough"]
    assert "; 1 rarer one is not translated)" in questions[0]


@pytest.mark.usefixtures("private_cache")
@pytest.mark.parametrize("turn", [status(401, "no"), says("no")])
def test_a_model_that_translates_nothing_is_a_failure(monkeypatch: pytest.MonkeyPatch, turn: Turn) -> None:
    with chat_model(monkeypatch, "ollama", turn) as (_, model):
        found, messages, failures, _ = run_job(TranslationJob(model=model), named("yskä", "tos"))
    assert found == ["", ""]
    assert len(failures) == 1
    assert messages[-1].startswith("2 terms have no translation; the first: ")
    assert "yskä" not in " ".join([*messages, *failures])
