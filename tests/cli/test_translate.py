"""--translate: terms in other languages, found by the translation of a generative model."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from omop_emb.errors import ProviderError
from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.term_file import ReadOptions, open_terms
from omop_emb.mapping.judge.translation_cache import TranslationCache
from omop_emb.mapping.judge.translator import Translator
from omop_emb.service.review.imports.table_import import table_terms
from tests.unit.mapping.chat_server import Turn, chat_server, status

ENGLISH_OF = {"nivelrikko": "Osteoarthritis", "poskiontelotulehdus": "Sinusitis", "Cough": "Cough"}


class Done(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


def translations(terms: list[dict[str, Any]]) -> str:
    entries = [{"term": n, "translation": ENGLISH_OF[term["text"]]} for n, term in enumerate(terms, start=1)]
    return json.dumps({"answers": entries})


@pytest.fixture(scope="module")
def database(server_conninfo: str, sample_template: str, new_database: Any) -> Iterator[str]:
    """One embedded sample for the tests that leave nothing in it."""
    from tests.conftest import as_url

    with new_database(sample_template) as name:
        yield as_url(server_conninfo, dbname=name)


@pytest.fixture
def run_command(database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", database)
    # Each test has translations of its own; the index of the sample is shared.
    cache = partial(TranslationCache, tmp_path / "translations.sqlite3")
    monkeypatch.setattr("omop_emb.mapping.judge.translation_job.TranslationCache", cache)
    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: str) -> Done:
        command = import_module(f"omop_emb.cli.{name}").command
        result = CliRunner().invoke(command, list(arguments), standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return Done(result.return_value or 0, result.stdout, result.stderr)

    return run


@pytest.fixture
def run_map(run_command: Run) -> Run:
    return partial(run_command, "map")


def table(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


TERMS = "code,name,ward\n1,nivelrikko,ortho\n2,poskiontelotulehdus,\n3,Cough,\n4,nivelrikko,ortho\n"


def test_a_translation_finds_the_concept_and_is_shown_beside_the_term(
    run_map: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("terms.csv").write_text(TERMS)
    arguments = ("terms.csv", "-o", "out.csv", "--candidates-output", "all.csv", "--translate", "ollama:m")
    more = ("--context-column", "ward", "--translate-prices", "1", "10")
    with chat_server(translations) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        done = run_map(*arguments, *more)
        asked = server.questions()
        again = run_map(*arguments, *more)
        assert len(server.requests) == len(asked) == 1
    assert asked == [
        [
            {"text": "nivelrikko", "context": {"ward": "ortho"}},
            {"text": "poskiontelotulehdus"},
            {"text": "Cough"},
        ]
    ]
    rows = table("out.csv")
    assert [(row["source_name"], row["translation"], row["concept_name"]) for row in rows] == [
        ("nivelrikko", "Osteoarthritis", "Osteoarthritis"),
        ("poskiontelotulehdus", "Sinusitis", "Sinusitis"),
        ("Cough", "", "Cough at rest"),
        ("nivelrikko", "Osteoarthritis", "Osteoarthritis"),
    ]
    assert (rows[0]["query"], rows[0]["query_rule"]) == ("Osteoarthritis", "translation")
    assert {row["translation"] for row in table("all.csv") if row["source_code"] == "1"} == {"Osteoarthritis"}
    assert "3 distinct terms with their column ward will be sent to ollama:m" in done.err
    assert "ollama:m translated 2 of 3 distinct terms; 1 stays as it is: 1 request" in done.err
    assert "knows only English" not in done.err
    assert done.code == again.code == 0
    assert "will be sent" not in again.err


def test_usagi_and_stored_runs_have_the_translation(
    run_map: Run, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    Path("terms.csv").write_text(TERMS)
    with chat_server(translations) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        run_map("terms.csv", "-o", "out.usagi.csv", "--translate", "ollama:m")
    with Path("out.usagi.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["sourceName"] == "nivelrikko"
    assert rows[0]["ADD_INFO:translation"] == "Osteoarthritis"


def test_the_warning_about_languages_names_every_remedy(run_map: Run) -> None:
    Path("terms.csv").write_text("name\nnivelrikko\nposkiontelotulehdus ääni\n", encoding="utf-8")
    err = run_map("terms.csv", "-o", "out.csv").err
    for remedy in ("--translate", "synonyms in their language", "multilingual"):
        assert remedy in err


@pytest.mark.parametrize(
    ("turn", "problem"),
    [
        (None, "cannot be reached"),
        (lambda _terms: "I am a language model", "JSON"),
        (status(401, "who?"), "does not accept the key"),
    ],
    ids=["unreachable", "no JSON", "wrong key"],
)
def test_a_model_that_translates_nothing_is_a_failure_and_the_mapping_stays(
    run_map: Run, monkeypatch: pytest.MonkeyPatch, turn: Turn | None, problem: str
) -> None:
    monkeypatch.setattr(
        "omop_emb.mapping.judge.translation_job.Translator", partial(Translator, max_attempts=1)
    )
    Path("terms.csv").write_text(TERMS)
    with chat_server(turn or translations) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url if turn else "http://127.0.0.1:9")
        done = run_map("terms.csv", "-o", "out.csv", "--translate", "ollama:m")
    assert done.code == 3
    assert problem in done.err
    assert "nivelrikko" not in done.err
    assert [row["translation"] for row in table("out.csv")] == ["", "", "", ""]


def test_approved_terms_are_not_sent_and_are_found_by_their_original(
    run_map: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("terms.csv").write_text("code,name\n1,nivelrikko\n2,poskiontelotulehdus\n")
    with chat_server(translations) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        run_map("terms.csv", "-o", "first.csv", "--translate", "ollama:m")
        rows = table("first.csv")
        rows[0]["reviewed"] = "approve"
        with Path("approved.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows[:1])
        Path("translations.sqlite3").unlink()
        arguments = ("terms.csv", "-o", "out.csv", "--previous", "approved.csv")
        done = run_map(*arguments, "--translate", "ollama:m")
        assert [term["text"] for term in server.questions()[1]] == ["poskiontelotulehdus"]
    assert "1 of them keeps an earlier approved mapping" in done.err
    assert [row["decision"] for row in table("out.csv")] == ["accept", "review"]


def test_a_model_without_a_provider_is_refused(run_map: Run) -> None:
    Path("terms.csv").write_text(TERMS)
    with pytest.raises(Exception, match="a model that translates must be named provider:model"):
        run_map("terms.csv", "-o", "out.csv", "--translate", "llama3")


GOLD = "source_name,target\nnivelrikko,80180\nCough,\n"


def test_evaluate_measures_with_translations(run_command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("gold.csv").write_text(GOLD)
    arguments = ("evaluate", "gold.csv", "--target-column", "target", "--format", "json")
    recall = {}
    with chat_server(translations) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        for options in ((), ("--translate", "ollama:m")):
            done = run_command(*arguments, *options)
            recall[options] = next(
                row["value"]
                for row in json.loads(done.out)
                if (row["by"], row["metric"], row["ranking"]) == ("all", "recall@1", "ranker")
            )
        assert [term["text"] for term in server.questions()[0]] == ["nivelrikko", "Cough"]
    assert list(recall.values()) == [0, 1]
    assert "2 distinct terms will be sent to ollama:m" in done.err
    assert "ollama:m translated 1 of 2 distinct terms" in done.err


@pytest.mark.parametrize("command", ["evaluate", "calibrate"])
def test_without_its_translations_nothing_is_measured_or_learned(
    run_command: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    Path("gold.csv").write_text("source_name,target,reviewed\nnivelrikko,80180,approve\n")
    with chat_server(status(401, "who?")) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        with pytest.raises(ProviderError, match="does not accept the key"):
            run_command(command, "gold.csv", "--target-column", "target", "--translate", "ollama:m")
        assert len(server.requests) == 1


def test_a_review_of_the_output_has_the_translation(run_map: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("terms.csv").write_text("code,name,note\n1,nivelrikko,x\n")
    with chat_server(translations) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        run_map("terms.csv", "-o", "out.csv", "--translate", "ollama:m")
    problems: list[Problem] = []
    with open_terms("out.csv", ReadOptions()) as file:
        (imported,) = table_terms(file, ReadOptions(), problems.append)
    term = imported.term
    assert (term.name, term.translation, term.further_names) == ("nivelrikko", "Osteoarthritis", ())
    assert term.extra == {"note": "x"}
