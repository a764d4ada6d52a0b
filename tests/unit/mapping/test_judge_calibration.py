"""Judge calibration: answers change probabilities where that was shown to help, and never decisions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from omop_emb.mapping.evaluation.gold import read_gold
from omop_emb.mapping.files.usagi_writer import write_usagi
from omop_emb.mapping.judge.judge_calibration import (
    ANSWERS,
    apply_answer,
    classify_answer,
    learn_shifts,
    shift_probability,
)
from omop_emb.mapping.judge.verdict import Verdict, with_verdict
from omop_emb.mapping.ranking.calibration import SIGNALS, Calibration, calibration_error
from omop_emb.mapping.records import Decision, SourceTerm
from tests.unit.mapping.files.sample_results import candidate, mapped

SHIFTS = {"agrees": 1.0, "chooses another": -1.0, "says none": -2.0}


def test_an_answer_is_classified_as_the_judge_writes_it() -> None:
    def written(verdict: Verdict) -> str:
        result = mapped(SourceTerm(name="cough"), candidate(4, name="24 hour cough"), candidate(45))
        return with_verdict(result, verdict, "ollama:m").judge

    assert written(Verdict(4, "fits")) == "4 24 hour cough: fits (ollama:m)"
    assert classify_answer(written(Verdict(4)), 4) == "agrees"
    assert classify_answer(written(Verdict(4, "12 of them: a cough")), 4) == "agrees"
    assert classify_answer(written(Verdict(45, "another")), 4) == "chooses another"
    assert classify_answer(written(Verdict(None, "nothing fits")), 4) == "says none"
    for nothing in ("", written(Verdict(None, problem="broken JSON")), "nonetheless", "about 4"):
        assert classify_answer(nothing, 4) is None


def terms(count: int, *, informed: float) -> tuple[np.ndarray, list[str | None], np.ndarray]:
    """Calibrated probabilities, answers of a judge who knows a share of the truth, and the truth."""
    random = np.random.default_rng(1)
    probability = random.uniform(0.05, 0.95, count)
    right = random.random(count) < probability
    agrees = np.where(random.random(count) < informed, right, random.random(count) < 0.5)
    other = np.where(random.random(count) < 0.5, ANSWERS[1], ANSWERS[2])
    answers = [None if n % 2 else ("agrees" if agrees[n] else str(other[n])) for n in range(count)]
    return probability, answers, right


def test_an_informed_judge_moves_probabilities_of_other_terms_towards_the_truth() -> None:
    probability, answers, right = terms(4_000, informed=0.7)
    shifts, message = learn_shifts(probability[:2_000], answers[:2_000], right[:2_000])
    assert shifts["agrees"] > 0.5
    assert shifts["chooses another"] < -0.5
    assert shifts["says none"] < -0.5
    assert "1,000 approved terms" in message
    later, answers, right = probability[2_000:], answers[2_000:], right[2_000:]
    moved = np.array(
        [shift_probability(p, shifts.get(a or "", 0.0)) for p, a in zip(later, answers, strict=True)]
    )
    assert ((moved - right) ** 2).mean() < 0.9 * ((later - right) ** 2).mean()
    assert calibration_error(moved, right) < 0.06


@pytest.mark.parametrize(
    ("count", "informed", "says"), [(2_000, 0.0, "do not improve"), (150, 0.7, "at least")]
)
def test_a_judge_who_guesses_or_rarely_answers_changes_nothing_and_the_message_says_so(
    count: int, informed: float, says: str
) -> None:
    shifts, message = learn_shifts(*terms(count, informed=informed))
    assert shifts == {}
    assert says in message


@pytest.mark.parametrize("probability", [0.0, 0.2, 1.0])
def test_agreeing_never_lowers_a_probability_and_contradicting_never_raises_it(probability: float) -> None:
    assert probability <= shift_probability(probability, 1.0) <= 1
    assert 0 <= shift_probability(probability, -1.0) <= probability
    assert shift_probability(1.0, -1.0) < 1


def test_without_answers_there_is_no_message() -> None:
    assert learn_shifts(np.full(500, 0.5), [None] * 500, np.ones(500, bool)) == ({}, "")


def test_an_answer_changes_probability_and_priority_but_no_decision() -> None:
    term = mapped(
        SourceTerm(name="cough", frequency=4),
        candidate(7),
        candidate(8, rank=2, probability=None),
        priority=1.0,
    )
    for judge, order in (("7: it is", 1), ("8: rather", -1), ("none: no", -1)):
        one = replace(term, judge=judge)
        after = apply_answer(one, SHIFTS)
        assert after.probability is not None
        assert (after.probability - 0.75) * order > 0
        assert (after.priority - one.priority) * order < 0
        assert after.best is not None
        assert after.best.probability == after.probability
        assert after.decision is one.decision is Decision.REVIEW
        assert apply_answer(one, {}) == one
    for same in (term, replace(term, judge="no answer: broken"), replace(term, judge="7", by_code=(7,))):
        assert apply_answer(same, SHIFTS) == same


def test_a_calibration_keeps_what_it_learned_of_a_judge() -> None:
    made = Calibration(weights=(0.0,) * len(SIGNALS), intercepts={"": 0.0}, judge_shifts=SHIFTS)
    stored = json.loads(json.dumps(made.to_json()))
    assert Calibration.from_json(stored).judge_shifts == SHIFTS
    del stored["judged"]
    assert Calibration.from_json(stored).judge_shifts == {}


def test_a_judges_answers_are_read_from_approved_tables_and_usagi_files(tmp_path: Path) -> None:
    table = tmp_path / "approved.csv"
    table.write_text(
        "code,name,concept_id,judge,reviewed\n1,cough,7,7: it is,x\n2,cold,8,,x\n", encoding="utf-8"
    )
    read = {gold.term.name: gold.term.extra.get("judge", "") for gold in read_gold([table]).terms}
    assert read == {"cough": "7: it is", "cold": ""}
    usagi = tmp_path / "approved.usagi.csv"
    with write_usagi(usagi, now=lambda: 1.0) as out:
        out.write(mapped(SourceTerm(name="cough", code="1"), candidate(7), judge="7: it is"))
    usagi.write_text(usagi.read_text().replace("UNCHECKED", "APPROVED"), encoding="utf-8")
    (gold,) = read_gold([usagi]).terms
    assert gold.term.extra["judge"] == "7: it is"
