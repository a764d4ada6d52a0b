"""A judge's answers in approved files, from calibrate to the probabilities of later terms."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from sqlalchemy.orm import Session

from omop_emb.mapping.approvals.reviewed_table import ApprovedColumns
from omop_emb.mapping.judge.applied_answer import apply_answer
from omop_emb.mapping.mapper import open_mapper
from omop_emb.mapping.records import Decision, SourceTerm
from omop_emb.mapping.training.site_training import Training, train
from tests.cli.test_calibrate import approvals


def test_approved_terms_with_a_judges_answers_teach_what_they_are_worth(
    sample: Session, tmp_path: Path
) -> None:
    path, _ = approvals(tmp_path, 4, 220, 60)
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["code", "name", "concept_id", "judge"])
        for row in rows:
            said = "none: nothing fits" if row["concept_id"] == "0" else f"{row['concept_id']}: it is"
            said += " (ollama:m)"
            writer.writerow([*row.values(), said])
    trained = train(
        sample, [path], Training(site="judged", rounds=5, columns=ApprovedColumns(all_approved=True))
    )
    assert any("judge's answers change probabilities" in note for note in trained.notes)
    with open_mapper(sample, site="judged") as mapper:
        calibration = mapper.engine.ranker.calibration
        assert calibration is not None
        judge = calibration.judges["ollama:m"]
        assert judge.shifts["agrees"] > 0
        (found,) = mapper.map([SourceTerm(name="degenerative joint trouble")])
    term = replace(found, probability=0.5)  # a small sample's curve may be quite sure
    assert term.best is not None
    assert term.probability is not None
    after = apply_answer(replace(term, judge=f"{term.best.concept_id}: it is"), judge)
    assert after.probability is not None
    assert after.probability > term.probability
    assert after.decision is Decision.REVIEW
