"""Judge calibration: answers change probabilities where that was shown to help, and never decisions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omop_emb.mapping.evaluation.gold import read_gold
from omop_emb.mapping.files.result_json import from_json, to_json
from omop_emb.mapping.files.usagi_writer import write_usagi
from omop_emb.mapping.judge.applied_answer import JUDGE_REASON, apply_answer
from omop_emb.mapping.judge.judge_calibration import (
    JudgeCalibration,
    JudgedTerm,
    classify_answer,
    find_calibration,
    judge_source,
    learn_judge,
)
from omop_emb.mapping.judge.judged_order import (
    choice_log_odds,
    choice_probability,
    judged_rank,
    other_probabilities,
    shift_probability,
)
from omop_emb.mapping.judge.verdict import Verdict, with_verdict
from omop_emb.mapping.ranking.calibration import SIGNALS, Calibration, calibration_error
from omop_emb.mapping.records import Contribution, Decision, MappedTerm, SourceTerm
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


def judged_terms(count: int, accuracy: float | None, *, seed: int = 1, pick: str = "") -> list[JudgedTerm]:
    """Terms with calibrated probabilities and scores, and the answers of a simulated judge.

    One of five candidates is right, or none, with exactly the probabilities that the ranker states; its first
    candidate is right in about 55 % of terms. The judge knows what is right with the given accuracy, and is
    otherwise drawn to what is similar to the term, as the ranker is. Without one, `pick` says what it does:
    "similar" nothing else, "first" takes what it is shown first, in random order, "" anything, or none.
    """
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        scores = np.sort(random.normal(0, 1.5, 5))[::-1].astype(np.float32)
        weights = np.append(np.exp(scores.astype(float)), 0.3)  # the last: none of them
        odds = weights / weights.sum()
        right = int(random.choice(6, p=odds))
        target = np.arange(5) == right
        chosen: int | None
        if accuracy is not None and random.random() < accuracy:
            chosen = right if right < 5 else None
        elif accuracy is not None or pick == "similar":
            chosen = int(np.argmax(scores + random.gumbel(size=5)))
        elif pick == "first":
            chosen = int(random.permutation(5)[0])
        else:
            chosen = int(random.choice(6))
            chosen = None if chosen == 5 else chosen
        made.append(JudgedTerm(float(odds[0]), scores, target, chosen))
    return made


def rights(terms: list[JudgedTerm], calibration: JudgeCalibration | None) -> tuple[np.ndarray, np.ndarray]:
    """(n,) whether the right candidate is first before, and after the judge's choice was put in its place."""
    before = np.array([bool(term.is_target[0]) for term in terms])
    after = before.copy()
    for number, term in enumerate(terms):
        if calibration is not None and calibration.choice is not None and term.is_choice:
            first = shift_probability(term.probability, calibration.shifts.get(term.answer, 0.0))
            assert term.chosen is not None
            rank, _ = judged_rank(first, calibration.choice, term.probability, term.scores, term.chosen)
            after[number] = term.is_target[term.chosen] if rank == 0 else before[number]
    return before, after


@pytest.mark.parametrize(("accuracy", "gain"), [(0.2, 0.005), (0.5, 0.1), (0.7, 0.2), (0.9, 0.3)])
def test_a_judge_of_known_accuracy_moves_the_right_candidate_up_as_far_as_it_is_right(
    accuracy: float, gain: float
) -> None:
    calibration, messages = learn_judge(judged_terms(1_000, accuracy))
    assert calibration is not None
    assert calibration.choice is not None, messages
    before, after = rights(judged_terms(4_000, accuracy, seed=2), calibration)
    assert after.mean() - before.mean() > gain


@pytest.mark.parametrize("pick", ["first", "similar", ""])
@pytest.mark.parametrize("count", [150, 1_000])
def test_a_judge_that_knows_nothing_new_lowers_recall_by_no_more_than_noise(pick: str, count: int) -> None:
    changes = []
    for seed in range(3):
        terms = judged_terms(count, None, seed=10 + seed, pick=pick)
        calibration, _ = learn_judge(terms)
        before, after = rights(judged_terms(2_000, None, seed=20 + seed, pick=pick), calibration)
        changes.append(after.mean() - before.mean())
    assert min(changes) > -0.01
    # Its choice always first would cost much of what the ranker had right.
    always = judged_terms(2_000, None, seed=30, pick=pick)
    raw = np.mean([bool(term.is_target[term.chosen or 0]) for term in always])
    assert raw < np.mean([bool(term.is_target[0]) for term in always]) - 0.05


def test_probabilities_of_moved_candidates_are_those_of_the_truth() -> None:
    calibration, _ = learn_judge(judged_terms(2_000, 0.7))
    assert calibration is not None
    assert calibration.choice is not None
    said, true, first_said, first_true = [], [], [], []
    for term in judged_terms(6_000, 0.7, seed=3):
        first = shift_probability(term.probability, calibration.shifts[term.answer])
        first_said.append(first)
        first_true.append(bool(term.is_target[0]))
        if term.is_choice and term.chosen is not None:
            _, own = judged_rank(first, calibration.choice, term.probability, term.scores, term.chosen)
            assert first + own <= 1 + 1e-9
            said.append(own)
            true.append(bool(term.is_target[term.chosen]))
    assert calibration_error(np.array(said), np.array(true)) < 0.06
    assert calibration_error(np.array(first_said), np.array(first_true)) < 0.04


def test_the_formulas_are_bayes_rule_with_learned_factors() -> None:
    # The first has 0.5; the rest is shared 3 to 1 by the softmax of the others' scores.
    scores = np.array([9.0, np.log(3), 0.0])
    assert other_probabilities(0.5, scores) == pytest.approx([0.375, 0.125])
    assert np.exp(choice_log_odds(0.5, scores, 2)) == pytest.approx(0.125 / 0.875)
    # A factor of 7 on odds of 1 to 7 are even odds; then it stands before the first, which fell to 0.2.
    assert choice_probability((np.log(7), 1.0), 0.5, scores, 2) == pytest.approx(0.5)
    assert judged_rank(0.2, (np.log(7), 1.0), 0.5, scores, 2) == pytest.approx((0, 0.5))
    # With 0.14 it stands after the second, which fell from 0.375 as the first fell from 0.5: to 0.15.
    assert judged_rank(0.2, (np.log(0.14 / 0.86 * 7), 1.0), 0.5, scores, 2) == pytest.approx((2, 0.14))
    assert judged_rank(0.2, (np.log(0.16 / 0.84 * 7), 1.0), 0.5, scores, 2) == pytest.approx((1, 0.16))


def test_an_informed_judge_moves_probabilities_of_other_terms_towards_the_truth() -> None:
    calibration, messages = learn_judge(judged_terms(1_000, 0.7))
    assert calibration is not None
    assert calibration.shifts["agrees"] > 0.5
    assert calibration.shifts["chooses another"] < -0.5
    assert calibration.shifts["says none"] < -0.5
    assert "1,000 approved terms" in messages[0]
    assert "--judge-orders" in messages[1]
    later = judged_terms(2_000, 0.7, seed=4)
    right = np.array([bool(term.is_target[0]) for term in later])
    stated = np.array([term.probability for term in later])
    moved = np.array([shift_probability(t.probability, calibration.shifts[t.answer]) for t in later])
    assert ((moved - right) ** 2).mean() < 0.9 * ((stated - right) ** 2).mean()


@pytest.mark.parametrize(
    ("count", "accuracy", "says"), [(1_000, None, "do not improve"), (75, 0.7, "at least 100")]
)
def test_a_judge_who_guesses_or_rarely_answers_changes_nothing_and_the_message_says_so(
    count: int, accuracy: float | None, says: str
) -> None:
    calibration, messages = learn_judge(judged_terms(count, accuracy))
    assert calibration is None
    assert says in " ".join(messages)


def test_few_choices_of_other_candidates_order_none() -> None:
    terms = [term for term in judged_terms(1_500, 0.9) if not term.is_choice][:500]
    calibration, messages = learn_judge(terms)
    assert calibration is not None
    assert calibration.choice is None
    assert "at least 20 are needed" in messages[1]


def test_a_judge_that_sees_errors_but_not_what_is_right_moves_probabilities_and_orders_nothing() -> None:
    terms = []
    for term in judged_terms(600, 0.9):
        wrong = next(number for number in range(4, 0, -1) if not term.is_target[number])
        terms.append(replace(term, chosen=0 if term.is_target[0] else wrong))
    calibration, messages = learn_judge(terms)
    assert calibration is not None
    assert calibration.shifts["chooses another"] < -1
    assert calibration.choice is None
    assert "do not order candidates better than the ranker" in messages[1]


@pytest.mark.parametrize("probability", [0.0, 0.2, 1.0])
def test_agreeing_never_lowers_a_probability_and_contradicting_never_raises_it(probability: float) -> None:
    assert probability <= shift_probability(probability, 1.0) <= 1
    assert 0 <= shift_probability(probability, -1.0) <= probability
    assert shift_probability(1.0, -1.0) < 1


def test_an_answer_changes_probability_and_priority_but_no_decision() -> None:
    term = mapped(
        SourceTerm(name="cough", frequency=4),
        candidate(7),
        candidate(8, rank=2, probability=None),
        priority=1.0,
    )
    calibration = JudgeCalibration(shifts=SHIFTS)
    for judge, order in (("7: it is", 1), ("8: rather", -1), ("none: no", -1)):
        one = replace(term, judge=judge)
        after = apply_answer(one, calibration)
        assert after.probability is not None
        assert (after.probability - 0.75) * order > 0
        assert (after.priority - one.priority) * order < 0
        assert after.best is not None
        assert after.best.probability == after.probability
        assert after.decision is one.decision is Decision.REVIEW
        assert apply_answer(one, None) == apply_answer(one, JudgeCalibration()) == one
    for same in (term, replace(term, judge="no answer: broken"), replace(term, judge="7", by_code=(7,))):
        assert apply_answer(same, calibration) == same


ORDERS = JudgeCalibration(shifts=SHIFTS, choice=(4.0, 1.0), answers=500)


def ordered_term(**changed: Any) -> MappedTerm:
    """A term of three candidates, with reasons, of which a judge chose the third."""

    def reasons(**parts: float) -> tuple[Contribution, ...]:
        return tuple(Contribution(reason, part) for reason, part in parts.items())

    term = mapped(
        SourceTerm(name="cough", frequency=4),
        candidate(7, "Cough", score=3.0, probability=0.4, contributions=reasons(words=0.5)),
        candidate(8, "Dry cough", 2, score=2.5, probability=None, contributions=reasons(words=-0.5)),
        candidate(
            9, "Whooping cough", 3, score=2.4, probability=None, contributions=reasons(words=-1.0, length=0.4)
        ),
        probability=0.4,
        priority=2.4,
        **changed,
    )
    return with_verdict(term, Verdict(9, "it is"), "ollama:m")


def test_a_choice_moves_up_with_its_probability_and_every_record_of_it_says_so() -> None:
    after = apply_answer(ordered_term(), ORDERS, orders=True)
    assert [(c.concept_id, c.rank, c.ranker_rank) for c in after.candidates] == [
        (9, 1, 3),
        (7, 2, 1),
        (8, 3, 2),
    ]
    assert after.decision is Decision.REVIEW
    assert after.best is not None
    assert after.probability == after.best.probability
    assert after.probability is not None
    assert after.probability > 0.8
    assert after.priority == pytest.approx(4 * (1 - after.probability))
    assert after.reason.endswith("the judge ollama:m moved 9 Whooping cough from rank 3 to 1")
    assert after.provenance.judge == "ollama:m"
    # Reasons of the first are against the second; all others' are against the new first.
    reasons = [{r.reason: round(r.contribution, 2) for r in c.contributions} for c in after.candidates]
    assert reasons[0].pop(JUDGE_REASON) > 2
    assert reasons == [
        {"words": -1.0, "length": 0.4},
        {"words": 1.0, "length": -0.4},
        {"words": 0.5, "length": -0.4},
    ]
    assert from_json(to_json(after)) == after


def test_a_choice_that_stays_behind_the_first_can_still_pass_others() -> None:
    weak = replace(ORDERS, choice=(0.0, 1.0), shifts={"chooses another": -0.3})
    after = apply_answer(ordered_term(), weak, orders=True)
    assert [c.concept_id for c in after.candidates] == [7, 9, 8]
    assert after.best is not None
    assert after.best.ranker_rank == 1
    assert after.probability == after.best.probability == pytest.approx(0.331, abs=0.01)


def test_nothing_is_reordered_unasked_or_against_what_persons_or_codes_say() -> None:
    def order(term: MappedTerm, **changed: Any) -> list[int]:
        result = apply_answer(replace(term, **changed), ORDERS, orders=changed.get("decision") is None)
        return [c.concept_id for c in result.candidates]

    term = ordered_term()
    assert [c.concept_id for c in apply_answer(term, ORDERS).candidates] == [7, 8, 9]
    first = replace(term.candidates[0], matched_kind="alias", matched_text="COUGH ")
    assert order(term, candidates=(first, *term.candidates[1:])) == [7, 8, 9]
    similar = replace(first, matched_text="coughs a lot")
    assert order(term, candidates=(similar, *term.candidates[1:])) == [9, 7, 8]
    assert order(term, by_code=(7,)) == [7, 8, 9]
    assert order(term, previous=(7,)) == [7, 8, 9]
    assert order(term, probability=None) == [7, 8, 9]
    for decision in (Decision.ACCEPT, Decision.NO_MATCH):
        after = apply_answer(replace(term, decision=decision), ORDERS, orders=True)
        assert [c.concept_id for c in after.candidates] == [7, 8, 9]
        assert after.decision is decision
    for verdict in (Verdict(None, "no"), Verdict(7, "the first")):
        same = apply_answer(with_verdict(term, verdict, "ollama:m"), ORDERS, orders=True)
        assert [c.ranker_rank for c in same.candidates] == [None, None, None]


def test_a_calibration_keeps_what_it_learned_of_each_judge() -> None:
    made = Calibration(weights=(0.0,) * len(SIGNALS), intercepts={"": 0.0}, judges={"ollama:m": ORDERS})
    stored = json.loads(json.dumps(made.to_json()))
    again = Calibration.from_json(stored).judges
    assert again == {"ollama:m": ORDERS}
    assert find_calibration(again, "ollama:m") == ORDERS
    assert find_calibration(again, "ollama:other") is None
    del stored["judges"]
    assert Calibration.from_json(stored).judges == {}
    # As an earlier version stored it, for all judges together.
    earlier = Calibration.from_json({**stored, "judged": SHIFTS}).judges
    assert find_calibration(earlier, "ollama:any") == JudgeCalibration(shifts=SHIFTS)


def test_which_judge_answered_is_read_from_what_is_written() -> None:
    assert judge_source(ordered_term().judge) == "ollama:m"
    assert judge_source("9: so (perhaps) (openai:gpt-4o-mini)") == "openai:gpt-4o-mini"
    assert judge_source("none: (ollama:hf.co/owner/model:Q4_0)") == "ollama:hf.co/owner/model:Q4_0"
    assert judge_source("9: it is (a kind of cough)") == ""


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
