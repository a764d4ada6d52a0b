"""Answers in cells: what an export writes is read as no change, and another verdict as that verdict."""

from __future__ import annotations

from hypothesis import assume, given, strategies as st

from omop_emb.service.review.answers.cell_answers import read_answer
from omop_emb.service.review.decision_records import (
    MAPPING_TYPES,
    Equivalence,
    ReviewState,
    Target,
    Verdict,
)
from omop_emb.service.review.exports.review_columns import answer_cells, candidate_column

IDS = st.integers(1, 9)
TARGETS = st.lists(st.builds(Target, IDS, st.sampled_from(list(MAPPING_TYPES))), unique=True, max_size=4)
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"]), max_size=8)


@st.composite
def verdicts(draw: st.DrawFn) -> Verdict:
    """A verdict of the kind that cells can say."""
    state = draw(st.sampled_from(ReviewState))
    targets = draw(TARGETS) if state in (ReviewState.APPROVED, ReviewState.FLAGGED) else []
    equivalence = draw(st.sampled_from(Equivalence))
    if state is ReviewState.NO_MATCH:
        equivalence = Equivalence.UNMATCHED
    elif state is ReviewState.UNREVIEWED:
        equivalence = Equivalence.UNREVIEWED
    elif equivalence is Equivalence.UNMATCHED:
        equivalence = Equivalence.INEXACT  # only what matches nothing is unmatched
    assume(targets or state is not ReviewState.APPROVED)
    return Verdict(state=state, targets=tuple(targets), equivalence=equivalence, comment=draw(TEXTS))


def row(said: Verdict, candidates: list[int]) -> dict[str, str]:
    """The cells of an exported row."""
    shown = {candidate_column(n): f"{one} name (Drug)" for n, one in enumerate(candidates, start=1)}
    return {**shown, **answer_cells(said, candidates)}


CANDIDATES = st.lists(IDS, unique=True, max_size=5)


@given(said=verdicts(), candidates=CANDIDATES)
def test_what_an_export_writes_is_no_change(said: Verdict, candidates: list[int]) -> None:
    assert read_answer(row(said, candidates), said) is None


@given(before=verdicts(), after=verdicts(), candidates=CANDIDATES)
def test_the_cells_of_another_verdict_are_read_as_that_verdict(
    before: Verdict, after: Verdict, candidates: list[int]
) -> None:
    assume(after.targets or after.state is not ReviewState.FLAGGED or not before.targets)
    found = read_answer(row(after, candidates), before)
    assert found == after or (found is None and after == before)
