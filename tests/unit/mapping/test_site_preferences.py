"""What a site approved, or a person chose, corrects the shipped ranker where a term says nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from omop_emb.errors import InputError, UnknownValueError
from omop_emb.mapping.engine import Engine
from omop_emb.mapping.ranking.linear import default_ranker
from omop_emb.mapping.ranking.reasons import compare
from omop_emb.mapping.ranking.site_preferences import NO_PREFERENCES, check_preferences, preference_values
from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.results import RankedBatch
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.concept_attributes import ConceptAttributes, concept_attributes
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.settings import Settings
from tests.unit.mapping.small_index import small_index

DRUGS = ("Aspirin", "Codeine", "Digoxin", "Ibuprofen", "Lisinopril", "Metformin", "Morphine", "Warfarin")


@pytest.fixture(scope="module")
def lexical() -> LexicalIndex:
    """Of each drug the ingredient (100, 200 …) and a tablet of 10 mg (101, 201 …)."""
    names = {
        100 * number + offset: f"{drug}{ending}"
        for number, drug in enumerate(DRUGS, start=1)
        for offset, ending in enumerate(("", " 10 MG Oral Tablet"))
    }
    return small_index(
        [
            {"concept_id": concept, "concept_name": name, "domain_id": "Drug", "vocabulary_id": "RxNorm"}
            for concept, name in names.items()
        ]
    )


@pytest.fixture(scope="module")
def attributes(lexical: LexicalIndex) -> ConceptAttributes:
    return concept_attributes(lexical)


def engine_of(
    lexical: LexicalIndex,
    attributes: ConceptAttributes,
    approved: Sequence[tuple[str, int]] = (),
    earlier: Engine | None = None,
) -> Engine:
    memory = None
    if approved:
        rows = lexical.lexicon.rows([concept for _, concept in approved])
        memory = MemoryIndex(lexical, [name for name, _ in approved], rows)
    ranker = default_ranker()
    return Engine(lexical, attributes, None, None, ranker, calibrated=False, memory=memory, earlier=earlier)


def rank(engine: Engine, name: str, **settings: object) -> RankedBatch:
    chosen = Settings(**settings)  # type: ignore[arg-type]  # any of its fields
    return engine.rank([engine.build_query(SourceTerm(name=name, domain="Drug"), chosen)], chosen)


def score_of(engine: Engine, ranked: RankedBatch, concept_id: int) -> float:
    (number,) = np.flatnonzero(engine.lexicon.concept_id[ranked.candidates.concept] == concept_id)
    return float(ranked.scores[number])


def lead(engine: Engine, name: str, ingredient: int, **settings: object) -> float:
    """By how much the ingredient is before its tablet."""
    ranked = rank(engine, name, **settings)
    return score_of(engine, ranked, ingredient) - score_of(engine, ranked, ingredient + 1)


TERM = "warfarin 10 mg tablet"
INGREDIENTS = [(f"{drug} 10 mg tablet", 100 * number) for number, drug in enumerate(DRUGS[:-1], start=1)]


def test_a_site_that_approved_nothing_is_ranked_as_before(
    lexical: LexicalIndex, attributes: ConceptAttributes
) -> None:
    engine = engine_of(lexical, attributes)
    assert engine.learned_preferences is NO_PREFERENCES
    with_them, without = rank(engine, TERM), rank(engine, TERM, use_preferences=False)
    assert with_them.scores.tolist() == without.scores.tolist()


def test_ingredients_are_preferred_the_more_of_them_were_approved(
    lexical: LexicalIndex, attributes: ConceptAttributes
) -> None:
    leads = []
    for approvals in (1, 3, 7):
        engine = engine_of(lexical, attributes, INGREDIENTS[:approvals])
        learned = lead(engine, TERM, 800) - lead(engine, TERM, 800, use_preferences=False)
        leads.append(learned)
    assert 0 < leads[0] < leads[1] < leads[2]


def test_tablets_are_preferred_where_tablets_were_approved(
    lexical: LexicalIndex, attributes: ConceptAttributes
) -> None:
    approved = [(drug, 100 * number + 1) for number, drug in enumerate(DRUGS[:-1], start=1)]
    engine = engine_of(lexical, attributes, approved)
    assert lead(engine, "warfarin", 800) < lead(engine, "warfarin", 800, use_preferences=False)


def test_an_approval_is_learned_from_as_if_it_were_not_remembered(
    lexical: LexicalIndex, attributes: ConceptAttributes
) -> None:
    (approved,) = INGREDIENTS[:1]
    engine = engine_of(lexical, attributes, [approved])
    assert engine.learned_preferences is not NO_PREFERENCES
    ((key, example),) = engine._examples.items()
    bare = engine_of(lexical, attributes)
    ranked = rank(bare, approved[0], variants=1)
    assert key[0] == approved[0]
    assert example.scores.max() == pytest.approx(float(ranked.scores.max()), abs=1e-4)


def test_examples_of_an_earlier_engine_are_used_again(
    lexical: LexicalIndex, attributes: ConceptAttributes
) -> None:
    first = engine_of(lexical, attributes, INGREDIENTS[:3])
    assert first.learned_preferences.counts.any()
    second = engine_of(lexical, attributes, INGREDIENTS[:4], earlier=first)
    again = second.learned_preferences
    assert all(second._examples[key] is example for key, example in first._examples.items())
    alone = engine_of(lexical, attributes, INGREDIENTS[:4]).learned_preferences
    np.testing.assert_allclose(again.weights, alone.weights, atol=1e-5)


def test_reasons_say_how_often_the_site_approved_so(
    lexical: LexicalIndex, attributes: ConceptAttributes
) -> None:
    approved = [*INGREDIENTS[:6], ("morphine 10 mg", 701)]
    engine = engine_of(lexical, attributes, approved)
    ranked = rank(engine, TERM)
    ids = engine.lexicon.concept_id[ranked.candidates.concept].tolist()
    own, rival = ((ranked.columns[ids.index(concept)], "Drug") for concept in (800, 801))
    reasons = {one.reason: one.contribution for one in compare(engine.ranker, own, rival, ranked.preferences)}
    assert reasons["this site maps drugs to ingredients: 6 of 7"] > 0
    added = ranked.preferences.score(np.stack([own[0], rival[0]]), ["Drug", "Drug"])
    of_site = ranked.preferences.reasons(own, rival)
    assert sum(of_site.values()) == pytest.approx(float(added[0] - added[1]), abs=1e-4)


def test_a_preference_by_hand_needs_no_approvals(
    lexical: LexicalIndex, attributes: ConceptAttributes
) -> None:
    engine = engine_of(lexical, attributes)
    shipped = lead(engine, "warfarin 10 mg tablet", 800)
    assert lead(engine, TERM, 800, prefer=["drug=ingredient"]) == pytest.approx(shipped + 2, abs=1e-3)
    assert lead(engine, TERM, 800, prefer=["Drug=Strength and dose form"]) == pytest.approx(
        shipped - 2, abs=1e-3
    )


def test_unknown_preferences_name_the_nearest_known_ones() -> None:
    with pytest.raises(UnknownValueError, match="drug=ingredient") as error:
        check_preferences(["drug=ingredients"])
    assert "vocabulary" not in str(error.value)
    with pytest.raises(UnknownValueError, match=r"brand=yes.*vocabulary=SNOMED"):
        check_preferences(["x"])
    with pytest.raises(InputError, match="sequence"):
        Settings(prefer="drug=ingredient")
    assert {"brand=no", "property=Moles/volume", "vocabulary=UCUM"} <= set(preference_values())
