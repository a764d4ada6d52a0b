"""omop-emb map --judge-orders on the sample: learned from approvals, marked everywhere, deciding nothing."""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from openpyxl import load_workbook
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from omop_emb.errors import ConfigurationError
from omop_emb.mapping.evaluation.judge_gain import CHOICE_FIRST, LEARNED_BEFORE, LEARNED_HERE
from omop_emb.mapping.training.site_training import Training, train
from tests.cli.test_calibrate import ALL, approvals
from tests.unit.mapping.chat_server import Turn, answers, chat_server

JUDGE = "ollama:m"
TERMS = "code,name,frequency\n1,joint pain of knee,5\n2,bad sinus,900\n"


def approved_files(folder: Path) -> list[Path]:
    """Two files of approvals without a term in common."""
    return approvals(folder, 4, 600, 60)


@pytest.fixture(scope="module")
def judged_database(
    server_conninfo: str, sample_template: str, new_database: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A sample whose site has approved terms, with the answers of a judge that knows its trade."""
    from tests.conftest import as_url

    path = approved_files(tmp_path_factory.mktemp("approved"))[0]
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["code", "name", "concept_id", "judge"])
        for row in rows:
            said = "none: nothing fits" if row["concept_id"] == "0" else f"{row['concept_id']}: it is"
            writer.writerow([*row.values(), f"{said} ({JUDGE})"])
    with new_database(sample_template) as name:
        engine = create_engine(url := as_url(server_conninfo, dbname=name))
        with Session(engine) as session:
            trained = train(session, [path], Training(columns=ALL, rounds=5))
            session.commit()
        engine.dispose()
        said = f"{JUDGE}: the judge's choices can order candidates with --judge-orders"
        assert any(note.startswith(said) for note in trained.notes), trained.notes
        yield url


@pytest.fixture
def folder(judged_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", judged_database)
    monkeypatch.chdir(tmp_path)
    Path("terms.csv").write_text(TERMS)
    return tmp_path


def run(command: str, *arguments: str) -> Result:
    module = import_module(f"omop_emb.cli.{command}")
    return CliRunner().invoke(module.command, list(arguments), standalone_mode=False, catch_exceptions=False)


def table(name: str) -> list[dict[str, str]]:
    with Path(name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def by_text(choices: dict[str, str]) -> Turn:
    """A judge that chooses a concept id by the text of the term."""
    return lambda terms: answers(*(choices[term["text"]] for term in terms))


def test_a_choice_orders_candidates_is_marked_in_every_output_and_decides_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, judged_database: str
) -> None:
    run("map", "terms.csv", "-o", "plain.csv", "--candidates-output", "before.csv")
    before = table("before.csv")
    ranked = {
        code: [row["concept_id"] for row in before if row["source_code"] == code] for code in ("1", "2")
    }
    choices = {"joint pain of knee": ranked["1"][2], "bad sinus": ranked["2"][0]}
    with chat_server(by_text(choices)) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        asked = ("--judge", JUDGE, "--judge-orders")
        done = run(
            "map", "terms.csv", "-o", "out.csv", "--candidates-output", "all.csv", "--review-queue",
            "queue.xlsx", "--keep-run", *asked,
        )  # fmt: skip
        run("map", "terms.csv", "-o", "out.usagi.csv", *asked)
    assert done.return_value == 0
    assert "its choice is now the first candidate for 1 term" in done.stderr
    first, second = table("out.csv")
    assert (first["ordered_by"], second["ordered_by"]) == ("ranker and judge", "ranker")
    assert first["concept_id"] == choices["joint pain of knee"]
    assert {first["decision"], second["decision"]} == {"review"}
    assert f"the judge {JUDGE} moved {first['concept_id']}" in first["reason"]
    assert "from rank 3 to 1" in first["reason"]
    assert f"ordered with judge {JUDGE} (--judge-orders)" in first["provenance"]
    assert float(first["priority"]) == pytest.approx(5 * (1 - float(first["probability"])), abs=1e-3)
    rows = [row for row in table("all.csv") if row["source_code"] == "1"]
    assert [row["ranker_rank"] for row in rows[:4]] == ["3", "1", "2", "4"]
    assert [row["concept_id"] for row in rows[1:]] == [x for x in ranked["1"] if x != first["concept_id"]]
    assert rows[0]["speaks_for"].startswith("choice of the judge (+")
    headers, *lines = load_workbook(folder / "queue.xlsx").active.values
    queue = [dict(zip(headers, line, strict=True)) for line in lines]
    assert {row["source_code"]: row["ordered_by"] for row in queue} == {
        "1": "ranker and judge",
        "2": "ranker",
    }
    written = table("out.usagi.csv")[0]
    assert written["ADD_INFO:ordered by"] == "ranker and judge"
    assert written["conceptId"] == first["concept_id"]
    assert (written["mappingStatus"], written["statusSetBy"]) == ("UNCHECKED", "")
    engine = create_engine(judged_database)
    with engine.connect() as connection:
        stored = connection.execute(
            text(
                "select result.result, run.provenance from omop_emb.mapping_result result "
                "join omop_emb.mapping_run run using (run_id) where rank = 1 and source_code = '1' "
                "order by run_id desc limit 1"
            )
        ).one()
    engine.dispose()
    assert stored[0]["ranker_rank"] == 3
    assert stored[1]["judge"] == JUDGE


def test_an_order_made_by_a_judge_accepts_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("map", "terms.csv", "-o", "plain.csv", "--accept-precision", "0.6", "--candidates-output", "all.csv")
    decisions = [row["decision"] for row in table("plain.csv")]
    last = {row["source_name"]: row["concept_id"] for row in table("all.csv")}
    with chat_server(by_text(last)) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        run("map", "terms.csv", "-o", "out.csv", "--accept-precision", "0.6", "--judge", JUDGE,
            "--judge-orders")  # fmt: skip
    assert [row["decision"] for row in table("out.csv")] == decisions


def test_a_judge_that_approvals_say_nothing_about_orders_nothing_and_is_not_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chat_server(by_text({})) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        with pytest.raises(ConfigurationError, match=r"ollama:other .* omop-emb calibrate APPROVED"):
            run("map", "terms.csv", "-o", "out.csv", "--judge", "ollama:other", "--judge-orders")
    assert server.requests == []
    assert not Path("out.csv").exists()


def test_an_estimate_says_tokens_and_that_the_price_is_not_known_and_asks_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chat_server(by_text({})) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        done = run("map", "terms.csv", "-o", "out.csv", "--judge", JUDGE, "--judge-estimate")
        priced = run("map", "terms.csv", "-o", "out.csv", "--judge", JUDGE, "--judge-estimate",
                     "--judge-prices", "1000", "2000")  # fmt: skip
    assert server.requests == []
    assert f"{JUDGE} would be asked about 2 terms (" in done.stderr
    assert "without thoughts" in done.stderr
    assert "the price is not known (give it with --judge-prices IN OUT)" in done.stderr
    assert "USD at your prices" in priced.stderr
    assert [row["judge"] for row in table("out.csv")] == ["", ""]


def test_examples_are_the_site_s_approvals_that_are_most_similar_and_only_if_they_are_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    approved = [{"code": "9", "name": "sinus, bad one", "concept_id": "257012"}]
    approved += [{"code": str(n), "name": f"knee pain grade {n}", "concept_id": "80180"} for n in range(4)]
    with Path("more.csv").open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, ["code", "name", "concept_id"])
        writer.writeheader()
        writer.writerows(approved)
    run("memory", "remember", "more.csv", "--all-approved")
    # Terms of this test alone: answers are cached.
    Path("terms.csv").write_text("code,name\n1,knee pain grade five\n2,sinus bad\n")
    seen: list[dict[str, Any]] = []
    for examples in ("2", "0"):
        with chat_server(by_text({"knee pain grade five": "none", "sinus bad": "none"})) as server:
            monkeypatch.setenv("OLLAMA_HOST", server.url)
            said = run("map", "terms.csv", "-o", "out.csv", "--judge", JUDGE, "--judge-examples", examples)
            seen.append({term["text"]: term.get("approved here") for term in server.questions()[0]})
        assert ("similar approvals of the site" in said.stderr) is (examples == "2")
    assert len(seen[0]["knee pain grade five"]) == 2
    assert all("knee" in one["text"].lower() for one in seen[0]["knee pain grade five"])
    assert any(one["text"] == "sinus, bad one" for one in seen[0]["sinus bad"])
    assert all(one["concept"].split()[0].isdigit() for one in seen[0]["sinus bad"])
    assert set(seen[1].values()) == {None}


@pytest.mark.parametrize("option", [("--judge-orders",), ("--judge-estimate",), ("--judge-examples", "3")])
def test_what_is_for_a_judge_is_refused_without_one(folder: Path, option: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError, match=f"{option[0]} is for a judge.* add --judge"):
        run("map", "terms.csv", "-o", "out.csv", *option)


def test_what_was_learned_is_stored_with_the_ranker(folder: Path, judged_database: str) -> None:
    engine = create_engine(judged_database)
    with engine.connect() as connection:
        query = text("select calibration -> 'judges' from omop_emb.mapping_ranker")
        judges = connection.execute(query).scalar_one()
    engine.dispose()
    assert set(judges) == {JUDGE}
    assert judges[JUDGE]["choice"] is not None
    assert judges[JUDGE]["answers"] > 100


def knows(truth: dict[str, str], share: int) -> Turn:
    """A judge that knows what is right for so many terms of ten, and else takes what it is shown first."""

    def choose(term: dict[str, Any]) -> str:
        ids = [one["concept_id"] for one in term["candidates"]]
        if zlib.crc32(term["text"].encode()) % 10 >= share:
            return str(ids[0])
        return truth[term["text"]] if truth[term["text"]] in ids else "none"

    return lambda terms: answers(*map(choose, terms))


@pytest.mark.parametrize(("model", "share"), [("ollama:knows", 9), ("ollama:guesses", 0)])
def test_evaluate_says_what_a_judge_gains_with_intervals_and_what_it_costs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, model: str, share: int
) -> None:
    gold = approved_files(folder)[1]
    truth = {row["name"].strip(): row["concept_id"] for row in table(str(gold))}
    run("memory", "remember", str(gold), "--all-approved")
    with chat_server(knows(truth, share)) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        done = run("evaluate", str(gold), "--judge", model, "--judge-terms", "200", "--report", "measured",
                   "--judge-prices", "1", "2", "--judge-examples", "1")  # fmt: skip
    asked = [term for question in server.questions() for term in question]
    assert done.return_value == 0
    assert 150 < len(asked) <= 200
    assert "USD" in done.stderr
    report = json.loads(Path("measured/report.json").read_text())
    judge = report["judge"]
    assert (judge["judge"], judge["answered"]) == (model, len(asked))
    gains = {(gain["group"], gain["order"]): gain for gain in judge["gains"]}
    here, raw = (gains["all", order] for order in (LEARNED_HERE, CHOICE_FIRST))
    own = {(t["code"], t["name"]): t["ranks"]["ranker"] == 1 for t in report["terms"] if t["findable"]}
    shown = {(term["text"]) for term in asked}
    firsts = [first for (_, name), first in own.items() if name in shown]
    assert here["before"] == pytest.approx(sum(firsts) / len(firsts), abs=0.03)
    gain = here["after"] - here["before"]
    assert gain == pytest.approx((here["better"] - here["worse"]) / here["terms"])
    assert here["low"] <= gain <= here["high"]
    if share:
        assert judge["right"] > 0.8 * judge["answered"]
        assert gain > 0.02
        assert here["worse"] <= here["better"] / 4
    else:
        assert gain >= -0.01
        assert raw["after"] < raw["before"] - 0.2
    assert {group for group, order in gains if order == LEARNED_HERE} >= {"all", "Condition", "Drug"}
    assert (
        sum(g["terms"] for (group, o), g in gains.items() if o == LEARNED_HERE and group != "all")
        == (here["terms"])
    )
    assert f"With judge {model}" in Path("measured/report.html").read_text()
    assert (
        f"all, {LEARNED_HERE}: recall@1 {here['before']:.3f} before, {here['after']:.3f} after" in done.stderr
    )
    run("memory", "forget", "--file", gold.name)
    # No approval of a measured term is shown, though all of them are remembered.
    examples = {one["text"] for term in asked for one in term.get("approved here", ())}
    assert examples
    assert not examples & shown


def test_evaluate_measures_the_stored_order_if_it_is_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gold = approved_files(folder)[1]
    truth = {row["name"].strip(): row["concept_id"] for row in table(str(gold))}
    with chat_server(knows(truth, 10)) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        asked = ("--judge", JUDGE, "--judge-orders", "--judge-terms", "40")
        done = run("evaluate", str(gold), *asked, "--report", "measured")
        with pytest.raises(ConfigurationError, match="omop-emb calibrate APPROVED"):
            run("evaluate", str(gold), "--judge", "ollama:other", "--judge-orders")
        before = len(server.requests)
        estimated = run("evaluate", str(gold), "--judge", "ollama:knows-not", "--judge-estimate")
        assert len(server.requests) == before
    assert "would be asked about" in estimated.stderr
    assert estimated.return_value == 0
    (gain,) = [
        one
        for one in json.loads(Path("measured/report.json").read_text())["judge"]["gains"]
        if (one["group"], one["order"]) == ("all", LEARNED_BEFORE)
    ]
    assert gain["worse"] == 0
    assert gain["after"] > gain["before"]
    assert done.return_value == 0
