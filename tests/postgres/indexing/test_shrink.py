"""A build that takes over a fifth of its texts from a space is refused, and changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from omop_emb import ConceptFilter, EmbeddingInterface, IndexType
from omop_emb.database.engine import driver_connection
from omop_emb.errors import ShrinkError
from omop_emb.spaces import registry
from tests.builds import build_with
from tests.small_vocabulary import ConceptRow, SmallVocabulary, counting_client, stored_vectors

CONDITIONS = [ConceptRow(number, f"Condition {number}", synonyms=(f"C{number}",)) for number in range(1, 11)]
DRUGS = [ConceptRow(number, f"Drug {number}", domain="Drug") for number in range(11, 31)]


@pytest.fixture
def vocabulary(engine: Engine, tmp_path: Path) -> SmallVocabulary:
    """10 conditions with two texts each, 20 drugs with one: 40 texts, in a space."""
    small = SmallVocabulary(engine, tmp_path)
    small.load(*CONDITIONS, *DRUGS)
    build_with(engine, counting_client(), index_type=IndexType.FLAT)
    return small


def build(engine: Engine, **options: Any) -> Any:
    options.setdefault("allow_shrink", False)
    return build_with(engine, counting_client(), index_type=IndexType.FLAT, **options)


def rows(engine: Engine) -> int:
    with engine.connect() as connection:
        driver = driver_connection(connection)
        return len(stored_vectors(driver, registry.active_space(driver).space_id))


@pytest.mark.parametrize(
    ("changed", "lost"),
    [
        ({"concept_filter": ConceptFilter(domains=("Condition",), standard_only=True, valid_only=True)}, 20),
        ({"concept_filter": ConceptFilter(vocabularies=("None",), standard_only=True, valid_only=True)}, 40),
        (
            {
                "concept_filter": ConceptFilter(
                    concept_ids=tuple(range(1, 16)), standard_only=True, valid_only=True
                )
            },
            15,
        ),
        ({"texts": "name"}, 10),
        ({"synonym_languages": (4182504,)}, 10),
    ],
)
def test_other_filters_or_texts_that_take_many_away_are_refused(
    engine: Engine, vocabulary: SmallVocabulary, changed: dict[str, Any], lost: int
) -> None:
    with pytest.raises(ShrinkError, match=f"has 40 texts and would lose {lost}, .*--allow-shrink"):
        build(engine, **changed)
    assert rows(engine) == 40
    assert build(engine, dry_run=True, **changed).loss
    build(engine, allow_shrink=True, **changed)
    assert rows(engine) == 40 - lost
    build(engine)  # with the filters that were agreed to
    assert rows(engine) == 40 - lost


@pytest.mark.parametrize(("removed", "refused"), [(8, False), (9, True), (20, True)])
def test_a_vocabulary_that_lost_over_a_fifth_is_refused(
    engine: Engine, vocabulary: SmallVocabulary, removed: int, refused: bool
) -> None:
    vocabulary.load(without=range(11, 11 + removed))
    if refused:
        with pytest.raises(ShrinkError, match=f"would lose {removed}, {removed} of them because {removed} "):
            build(engine)
        assert rows(engine) == 40
    else:
        build(engine)
        assert rows(engine) == 40 - removed


def test_new_concepts_do_not_hide_those_that_another_filter_takes_away(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    vocabulary.load(*(ConceptRow(n, f"Device {n}", domain="Device") for n in range(100, 150)))
    with pytest.raises(ShrinkError, match="would lose 40"):
        build(engine, concept_filter=ConceptFilter(domains=("Device",), standard_only=True, valid_only=True))
    assert rows(engine) == 40


def test_concepts_that_no_vocabulary_has_are_not_deleted_without_a_question(
    engine: Engine, tmp_path: Path
) -> None:
    with Session(engine) as session:
        EmbeddingInterface(counting_client()).embed_and_upsert_concepts(
            session=session,
            index_type=IndexType.FLAT,
            concept_ids=range(2_000_000_001, 2_000_000_011),
            concept_texts=[f"Own concept {number}" for number in range(10)],
        )
        session.commit()
    SmallVocabulary(engine, tmp_path).load(*CONDITIONS, *DRUGS)
    with pytest.raises(ShrinkError, match="has 10 texts and would lose 10"):
        build(engine)
    assert rows(engine) == 10


def test_the_price_is_not_asked_for_a_build_that_is_refused(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    asked: list[object] = []
    with pytest.raises(ShrinkError):
        build(
            engine,
            concept_filter=ConceptFilter(domains=("Condition",), standard_only=True, valid_only=True),
            approve=asked.append,
        )
    assert asked == []
