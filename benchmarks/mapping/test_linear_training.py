"""Training of the shipped linear ranker, as the benchmarks do it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.mapping.linear_training import fit_linear, fit_memory
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.features.feature_signs import SIGNS
from tests.unit.mapping.test_training import DENSE, MEMORY, make_examples

AGREE, DIFFER = NAMES.index("strengths agree"), NAMES.index("strengths differ")


def test_a_linear_ranker_learns_the_feature_that_tells_targets() -> None:
    seen, unseen = make_examples(400, 1), make_examples(400, 2)
    linear = fit_linear(seen, penalty=1.0, penalty_domain=10.0)
    assert linear.weights[DENSE] > 1
    assert (unseen.target_ranks(linear.score_examples(unseen)) == unseen.target_ranks(unseen.dense)).all()


def test_no_domain_gets_a_negative_weight_for_agreement_or_a_positive_one_for_contradiction() -> None:
    examples = make_examples(400, 1, memory=True)
    # Both speak against their meaning here.
    examples.features[:, AGREE] = ~examples.is_target
    examples.features[:, DIFFER] = examples.is_target
    examples.features[:, MEMORY] = ~examples.is_target
    linear = fit_memory(examples, fit_linear(examples, penalty=1.0, penalty_domain=10.0))
    for correction in linear.corrections.values():
        assert (SIGNS * (linear.weights + correction) >= -1e-6).all()
    assert linear.weights[MEMORY] == 0
    assert linear.weights[DENSE] > 1


def test_weights_of_the_memory_leave_a_site_without_approvals_as_it_was() -> None:
    plain = fit_linear(make_examples(400, 1), penalty=1.0)
    with_memory = fit_memory(make_examples(400, 3, memory=True), plain)
    assert with_memory.weights[MEMORY] > 1
    other = make_examples(200, 4)
    assert (with_memory.score_examples(other) == plain.score_examples(other)).all()
    unseen = make_examples(400, 5, memory=True)
    before, after = (unseen.target_ranks(linear.score_examples(unseen)) for linear in (plain, with_memory))
    assert (after == 1).sum() > (before == 1).sum()


def test_what_ships_learns_from_no_unlicensed_set_and_no_family_from_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    from gold import GoldTerm
    from train_default import family_codes, fit_by_family, fit_memory_by_family, teaching_terms

    sets = np.array(["amstel_drug", "mimic4_lab", "finomop_lab"]).repeat(100)
    terms = [
        GoldTerm(
            name,
            name.split("_")[0].rstrip("4"),
            str(number),
            "",
            None,
            frozenset({1}),
            findable=True,
            scored=True,
        )
        for number, name in enumerate(sets.tolist())
    ]
    assert teaching_terms(terms).tolist() == list(range(200))
    examples = replace(make_examples(300, 1), sources=sets)
    models, codes = fit_by_family(terms, examples), family_codes(terms)
    spoiled = replace(examples, features=examples.features.copy())
    spoiled.features[spoiled.rows(np.arange(100, 300)), DENSE] = 0
    others = fit_by_family(terms, spoiled)
    # mimic learned from amstel alone, which is as it was; finomop from both of the others.
    assert (others[codes[100]].weights == models[codes[100]].weights).all()
    assert (others[codes[200]].weights != models[codes[200]].weights).any()
    spoiled.features[spoiled.rows(np.arange(200)), DENSE] = examples.features[
        examples.rows(np.arange(200)), DENSE
    ]
    of_licensed = fit_by_family(terms, spoiled)[codes[200]]
    assert (of_licensed.weights == models[codes[200]].weights).all()

    remembering = replace(make_examples(300, 2, memory=True), sources=sets)
    unlicensed = replace(remembering, features=remembering.features.copy())
    unlicensed.features[unlicensed.rows(np.arange(200, 300)), MEMORY] = 0
    untested = np.zeros(300, bool)
    of_all, of_two = (fit_memory_by_family(terms, one, models, untested) for one in (remembering, unlicensed))
    for code in np.unique(codes):
        assert of_all[code].weights[MEMORY] > 1
        assert (of_all[code].weights == of_two[code].weights).all()
