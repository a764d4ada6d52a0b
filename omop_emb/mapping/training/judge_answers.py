"""Judge's answers in approved files: terms from which it is learned what each judge's answers are worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from omop_emb.arrays import Doubles, Floats
from omop_emb.mapping.evaluation.gold import ResolvedTerm
from omop_emb.mapping.judge.judge_calibration import (
    JudgeCalibration,
    JudgedTerm,
    chosen_concept,
    is_answer,
    judge_source,
    learn_judge,
)
from omop_emb.mapping.judge.prompt import MAX_CANDIDATES
from omop_emb.mapping.ranking.examples import Examples


def learn_judges(
    terms: Sequence[ResolvedTerm], examples: Examples, scores: Floats, probability: Doubles
) -> tuple[dict[str, JudgeCalibration], list[str]]:
    """What the answers of each judge are worth, by provider:model, and lines for the user about them.

    Scores (p,) of candidates and probabilities (n,) of first ones are by a ranker and a calibration that did
    not see a term. Terms without an answer, or without candidates, teach nothing.
    """
    judged: dict[str, list[JudgedTerm]] = {}
    for number, (gold, _) in enumerate(terms):
        answer = gold.term.extra.get("judge", "")
        rows = np.arange(examples.offsets[number], examples.offsets[number + 1])
        if not is_answer(answer) or not len(rows):
            continue
        # As results are ordered: ties by concept id.
        order = rows[np.lexsort((examples.concept_ids[rows], -scores[rows]))][:MAX_CANDIDATES]
        ids, concept_id = examples.concept_ids[order].tolist(), chosen_concept(answer)
        chosen = None if concept_id is None else ids.index(concept_id) if concept_id in ids else len(ids)
        one = JudgedTerm(float(probability[number]), scores[order], examples.is_target[order], chosen)
        judged.setdefault(judge_source(answer), []).append(one)
    learned: dict[str, JudgeCalibration] = {}
    notes: list[str] = []
    for source, answers in sorted(judged.items()):
        calibration, lines = learn_judge(answers)
        notes += [f"{source}: {line}" if source else line for line in lines]
        if calibration is not None:
            learned[source] = calibration
    return learned, notes
