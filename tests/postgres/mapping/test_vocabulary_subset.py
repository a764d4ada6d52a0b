"""A few terms mapped without reading the whole vocabulary: as with the whole, where that can be had."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from omop_emb import disk_cache
from omop_emb.database.engine import driver_connection
from omop_emb.mapping.approvals import approval_store
from omop_emb.mapping.mapper import map_terms, open_mapper
from omop_emb.mapping.records import MappedTerm, Retriever, SourceTerm
from omop_emb.mapping.retrieval import idf_store, vocabulary_subset
from omop_emb.mapping.settings import Settings

pytestmark = pytest.mark.usefixtures("own_cache")

NAMES = [
    "OSTEOARTHRITIS",
    "aspirin 81mg tab",
    "broken arm",
    "chest xray",
    "mmol/L",
    "acute bronchitis NOS",
    "zq",
]
TERMS = [SourceTerm(name=name) for name in NAMES]


def _mapped_near(session: Session, terms: list[SourceTerm], settings: Settings) -> list[MappedTerm]:
    """Each term by itself, with nothing in the cache folder, and only what is near it in memory."""
    result: list[MappedTerm] = []
    for term in terms:
        with open_mapper(session, settings=settings, terms=[term]) as mapper:
            assert len(mapper.engine.lexicon.concept_id) < 1_500
            result += mapper.map([term])
    return result


def test_what_is_near_a_term_is_compared_as_with_the_whole_vocabulary(sample: Session) -> None:
    settings = Settings(candidates=200)
    with open_mapper(sample, settings=settings) as mapper:
        whole = list(mapper.map(TERMS))
    disk_cache.clear()
    for one, other in zip(_mapped_near(sample, TERMS, settings), whole, strict=True):
        ours = {candidate.concept_id: candidate for candidate in one.candidates}
        theirs = {candidate.concept_id: candidate for candidate in other.candidates}
        for key in ours.keys() & theirs.keys():
            for retriever in (Retriever.LEXICAL, Retriever.DENSE):
                left, right = ours[key].retrievers.get(retriever), theirs[key].retrievers.get(retriever)
                if left is not None and right is not None:
                    assert left == pytest.approx(right, abs=1e-5)
        assert (one.best and one.best.concept_id) == (other.best and other.best.concept_id)


def test_names_of_non_standard_concepts_lead_to_their_targets(sample: Session) -> None:
    with open_mapper(sample) as mapper:
        lexicon = mapper.engine.lexicon
        name = next(lexicon.texts[row] for row in (lexicon.text_kind == 4).nonzero()[0].tolist())
        (expected,) = mapper.map([SourceTerm(name=name)])
    disk_cache.clear()
    (found,) = _mapped_near(sample, [SourceTerm(name=name)], Settings())
    assert found.best is not None
    assert expected.best is not None
    assert (found.best.concept_id, found.best.path) == (expected.best.concept_id, expected.best.path)


def test_an_approved_concept_is_near(sample: Session) -> None:
    (target,) = [term.candidates[0].concept_id for term in map_terms(sample, ["Osteoarthritis"])]
    disk_cache.clear()
    approval = approval_store.Approval(source_name="zq local jargon", concept_id=target)
    approval_store.remember(driver_connection(sample), "default", [approval], "test")
    (found,) = _mapped_near(sample, [SourceTerm(name="zq local jargon")], Settings())
    assert found.best is not None
    assert found.best.concept_id == target


@pytest.mark.parametrize("lacking", ["statistics", "trigrams", "few terms", "a free domain"])
def test_the_whole_vocabulary_is_read_where_there_is_no(sample: Session, lacking: str) -> None:
    connection = driver_connection(sample)
    if lacking != "statistics":
        with open_mapper(sample):
            pass
        disk_cache.clear()
    if lacking == "trigrams":
        connection.execute("drop extension pg_trgm cascade")
    terms = TERMS[:1] * (vocabulary_subset.FEW + 1) if lacking == "few terms" else TERMS[:1]
    if lacking == "a free domain":
        terms = [SourceTerm(name="Osteoarthritis", domain="Condition")]
    with open_mapper(sample, terms=terms) as mapper:
        assert len(mapper.engine.lexicon.concept_id) > 1_500
    assert idf_store.find(connection, _state(sample)) is not None


def _state(session: Session) -> str:
    from omop_emb.mapping.retrieval.load import kept_vocabulary

    found = kept_vocabulary(driver_connection(session))
    assert found is not None
    return found.state


def test_who_may_only_read_leaves_no_statistics_and_maps_all_the_same(sample: Session) -> None:
    connection = driver_connection(sample)
    connection.execute("set transaction read only")
    (mapped,) = map_terms(sample, ["Osteoarthritis"])
    assert mapped.best is not None
    assert idf_store.find(connection, _state(sample)) is None
