"""omop-emb map of a file some of whose rows people have reviewed: they correct its probabilities."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy.orm import Session

from omop_emb.mapping.mapper import open_mapper
from omop_emb.mapping.ranking.calibration import PrecisionCurve
from omop_emb.mapping.ranking.linear import LinearRanker
from omop_emb.mapping.ranking.policy import Policy
from omop_emb.mapping.ranking.prior_shift import PriorShift
from omop_emb.mapping.records import Decision, SourceTerm
from omop_emb.mapping.settings import Settings

Map = Callable[..., str]
NAMES = (
    *("Osteoarthritis", "Sinusitis", "Acute bronchitis", "Otitis media", "Cough", "Viral sinusitis"),
    *("Streptococcal sore throat", "Laceration of hand", "Sprain of ankle", "Fracture of rib", "Anemia"),
    *("Concussion injury of brain", "Gout", "Appendicitis"),
)
WRONG = 4329847  # a heart attack, which none of the names is


@pytest.fixture
def run_map(sample_database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Map:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", sample_database_url)
    monkeypatch.chdir(tmp_path)
    Path("terms.csv").write_text("name\n" + "".join(f"{name}\n" for name in NAMES), encoding="utf-8")

    def run(*arguments: str) -> str:
        command = import_module("omop_emb.cli.map").command
        result = CliRunner().invoke(command, [*arguments], standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return result.stderr

    return run


def probability(path: str, name: str) -> float:
    with Path(path).open(encoding="utf-8", newline="") as lines:
        (row,) = [row for row in csv.DictReader(lines) if row["source_name"] == name]
    return float(row["probability"])


def review(rows: int, concept_id: int) -> None:
    lines = "".join(f"{name},{concept_id},yes\n" for name in NAMES[:rows])
    Path("done.csv").write_text("name,concept_id,reviewed\n" + lines, encoding="utf-8")


def test_rows_that_people_decided_otherwise_lower_the_others(run_map: Map) -> None:
    assert "corrected" not in run_map("terms.csv", "-o", "before.csv")
    review(12, WRONG)
    said = run_map("terms.csv", "-o", "after.csv", "--previous", "done.csv", "--keep-run")
    assert "probabilities are corrected by 12 reviewed rows: " in said
    assert "0.00 of these were approved" in said
    assert probability("after.csv", "Gout") < probability("before.csv", "Gout")
    review(9, WRONG)
    assert "corrected" not in run_map("terms.csv", "-o", "few.csv", "--previous", "done.csv")
    assert probability("few.csv", "Gout") == probability("before.csv", "Gout")


def test_approvals_of_the_site_count_without_what_they_taught_the_memory(run_map: Map) -> None:
    review(12, WRONG)
    command = import_module("omop_emb.cli.memory").command
    result = CliRunner().invoke(command, ["remember", "done.csv", "--site", "south"], standalone_mode=False)
    assert result.exception is None
    # With its own approval each name would find the approved concept, and nothing seemed wrong.
    said = run_map("terms.csv", "-o", "after.csv", "--site", "south")
    assert "by 12 reviewed rows" in said
    assert "0.00 of these were approved" in said


def test_a_correction_makes_acceptance_stricter_and_never_laxer(sample: Session) -> None:
    policy = Policy(accept_precision=0.9, accept_untrained=True)
    with open_mapper(sample, settings=Settings(policy=policy)) as mapper:
        (before,) = mapper.map([SourceTerm(name="Osteoarthritis")])
        said = before.probability
        assert said is not None
        for bound, log_odds, decision in (
            (said - 0.001, 0.0, Decision.ACCEPT),
            (said - 0.001, 2.0, Decision.ACCEPT),
            (said - 0.001, -2.0, Decision.REVIEW),
            (said + 0.0001, 2.0, Decision.REVIEW),
        ):
            calibration = mapper.engine.ranker.calibration
            assert calibration is not None
            curve = PrecisionCurve(probability=(bound,), count=(1_000,), right=(1_000,))
            shipped = mapper.engine.ranker
            assert isinstance(shipped, LinearRanker)
            tested = replace(calibration, curves={"Condition": curve})
            mapper.engine.ranker = replace(shipped, calibration=tested)
            mapper.correct_probabilities(PriorShift(log_odds=log_odds, rows=20))
            (after,) = mapper.map([SourceTerm(name="Osteoarthritis")])
            assert after.decision is decision
            assert (after.probability == said) is (log_odds == 0)
            assert after.provenance.correction.startswith("probabilities are corrected by 20 reviewed rows")
