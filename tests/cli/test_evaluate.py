"""omop-emb evaluate on the sample vocabulary: metrics, report, comparison."""

from __future__ import annotations

import csv
import json
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy.orm import Session

from omop_emb.errors import InputError
from omop_emb.mapping.approvals.reviewed_table import ApprovedColumns
from omop_emb.mapping.evaluation.evaluate import EvaluationOptions, measure
from omop_emb.mapping.evaluation.gold import read_gold
from omop_emb.mapping.evaluation.metrics import compute_metrics

DEMO = Path(__file__).parents[2] / "omop_emb/data/demo/terms.csv"


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    """The demo's terms, one of them trivial, one without a match, one that has two right answers."""
    path = tmp_path / "gold.csv"
    listed = csv.DictReader(DEMO.read_text(encoding="utf-8").splitlines())
    rows = [{"term": row["source_term"], "concept_ids": row["concept_id"]} for row in listed]
    rows += [
        {"term": "Osteoarthritis", "concept_ids": "80180"},
        {"term": "parking ticket", "concept_ids": ""},
    ]
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, ["term", "concept_ids"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def evaluate(*arguments: str) -> Result:
    command = import_module("omop_emb.cli.evaluate").command
    return CliRunner().invoke(command, list(arguments), standalone_mode=False, catch_exceptions=False)


def test_the_command_measures_every_ranking_and_writes_one_page_and_its_data(
    sample_database_url: str, gold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", sample_database_url)
    folder = tmp_path / "measured"
    result = evaluate(str(gold), "--by", "domain", "--report", str(folder), "--format", "json")
    assert result.return_value == 0
    rows = json.loads(result.stdout)
    value = {(row["group"], row["ranking"], row["metric"]): row["value"] for row in rows}
    for ranking in ("exact", "dense", "lexical", "fusion", "ranker"):
        assert 0 < value["all", ranking, "recall@1"] <= value["all", ranking, "recall@50"] <= 1
    assert value["all", "ranker", "recall@10"] > 0.85
    assert value["all", "ranker", "recall@1"] >= value["all", "exact", "recall@1"]
    assert value["trivial", "ranker", "recall@1"] > value["hard", "ranker", "recall@1"] - 0.2
    assert ("Drug", "ranker", "recall@1") in value
    assert 0 <= value["all", "", "calibration error"] < 0.4
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 3
    assert "parking ticket" not in page.split("Misses by domain")[0]
    assert "src=" not in page
    assert "http" not in page
    data = json.loads((folder / "report.json").read_text())
    assert data["metrics"] == [row for row in rows if row["by"] != "difference"]
    assert len(data["terms"]) == len(gold.read_text().splitlines()) - 1

    again = evaluate(
        str(gold), "--against", str(folder), "--without-rule", "abbreviation", "--format", "json"
    )
    gaps = [row for row in json.loads(again.stdout) if row["by"] == "difference"]
    assert {row["metric"] for row in gaps} >= {"recall@1", "MRR"}
    assert next(row["value"] for row in gaps if row["metric"] == "MRR") < 0


def test_the_library_gives_the_metrics_of_the_command(sample: Session, gold: Path) -> None:
    evaluation, problems = measure(sample, [gold], EvaluationOptions(by=("source",)))
    assert not problems
    assert evaluation.metrics == compute_metrics(evaluation.outcomes, by=("source",))
    (nothing,) = [o for o in evaluation.outcomes if o.gold.term.name == "parking ticket"]
    assert not nothing.findable
    assert not nothing.correct
    (trivial,) = [o for o in evaluation.outcomes if o.gold.term.name == "Osteoarthritis"]
    assert trivial.trivial
    assert trivial.ranks["exact"] == 1
    # a retriever's ranking holds only the candidates that it found
    assert any(outcome.ranks["exact"] == 0 < outcome.ranks["dense"] for outcome in evaluation.outcomes)


def test_gold_is_read_from_tables_usagi_and_source_to_concept_map(tmp_path: Path) -> None:
    usagi = tmp_path / "usagi.csv"
    usagi.write_text(
        "sourceCode,sourceName,sourceFrequency,matchScore,mappingStatus,conceptId\n"
        "1,approved,5,0.5,APPROVED,10\n1,approved,5,0.5,APPROVED,11\n2,open,5,0.5,UNCHECKED,12\n"
        "3,nothing,5,0.5,APPROVED,0\n",
        encoding="utf-8",
    )
    mapped = tmp_path / "stcm.csv"
    mapped.write_text(
        "source_code,source_concept_id,source_vocabulary_id,source_code_description,target_concept_id,"
        "target_vocabulary_id,valid_start_date,valid_end_date,invalid_reason\n"
        "9,0,LOCAL,from the map,13,SNOMED,1970-01-01,2099-12-31,\n",
        encoding="utf-8",
    )
    table = tmp_path / "table.tsv"
    table.write_text(
        "name\tconcept_id\tclinic\nfirst\t14|15\tnorth\nfirst\t16\tnorth\nbad\tx\tsouth\n", encoding="utf-8"
    )
    read = read_gold([usagi, mapped], ApprovedColumns(all_approved=True))
    assert [(term.term.name, sorted(term.targets), term.source) for term in read.terms] == [
        ("approved", [10, 11], "usagi.csv"),
        ("nothing", [], "usagi.csv"),
        ("from the map", [13], "stcm.csv"),
    ]
    assert len(read.digests["usagi.csv"]) == 64
    read = read_gold([table], ApprovedColumns(source="clinic", all_approved=True))
    assert [(term.term.name, sorted(term.targets), term.source) for term in read.terms] == [
        ("first", [14, 15, 16], "north")
    ]
    assert read.problems == ("table.tsv, line 4: 'concept_id' holds no concept ids",)


def test_a_table_without_concept_ids_says_which_option_names_them(tmp_path: Path) -> None:
    path = tmp_path / "terms.csv"
    path.write_text("name,chosen\nx,1\n", encoding="utf-8")
    with pytest.raises(InputError, match="--target-column"):
        read_gold([path])
    assert read_gold([path], ApprovedColumns(target="chosen", all_approved=True)).terms[0].targets == {1}
