"""Training of the shipped linear ranker, as the benchmarks do it."""

from __future__ import annotations

from benchmarks.mapping.linear_training import fit_linear, fit_memory
from tests.unit.mapping.test_training import DENSE, MEMORY, make_examples


def test_a_linear_ranker_learns_the_feature_that_tells_targets() -> None:
    seen, unseen = make_examples(400, 1), make_examples(400, 2)
    linear = fit_linear(seen, penalty=1.0, penalty_domain=10.0)
    assert linear.weights[DENSE] > 1
    assert (unseen.target_ranks(linear.score_examples(unseen)) == unseen.target_ranks(unseen.dense)).all()


def test_weights_of_the_memory_leave_a_site_without_approvals_as_it_was() -> None:
    plain = fit_linear(make_examples(400, 1), penalty=1.0)
    with_memory = fit_memory(make_examples(400, 3, memory=True), plain)
    assert with_memory.weights[MEMORY] > 1
    other = make_examples(200, 4)
    assert (with_memory.score_examples(other) == plain.score_examples(other)).all()
    unseen = make_examples(400, 5, memory=True)
    before, after = (unseen.target_ranks(linear.score_examples(unseen)) for linear in (plain, with_memory))
    assert (after == 1).sum() > (before == 1).sum()
