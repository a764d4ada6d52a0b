"""Bundles of all that a bundle can hold map as the database does: thousands of names, trees, 8-bit rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.orm import Session

from omop_emb import EmbeddingClient, IndexType, database_engine, find_concepts
from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.errors import SpaceMismatchError
from omop_emb.mapping.evaluation.gold import GoldTerm, resolve_targets
from omop_emb.mapping.mapper import map_terms, open_mapper
from omop_emb.mapping.ranking import ranker_store
from omop_emb.mapping.ranking.linear import default_ranker
from omop_emb.mapping.ranking.ranker_spaces import as_trained
from omop_emb.mapping.ranking.trees import TreeRanker, train_trees
from omop_emb.mapping.records import Retriever, SourceTerm
from omop_emb.mapping.retrieval import dense_index, similarity_products
from omop_emb.mapping.settings import Settings
from omop_emb.mapping.training.site_examples import build_examples
from omop_emb.service.bundle import make_bundle, open_bundle
from omop_emb.spaces import registry
from tests.builds import build_with
from tests.conftest import NewDatabase, as_url
from tests.fake_providers import FakeProviders
from tests.local_names import concept_names, local_names


@pytest.mark.parametrize("count", [600, pytest.param(10_000, marks=pytest.mark.long)])
def test_a_bundle_maps_local_names_exactly_as_the_database_does(
    sample: Session, tmp_path: Path, count: int
) -> None:
    names = local_names(count)
    make_bundle(sample, tmp_path / "bundle")
    expected = map_terms(sample, names)
    mapped = open_bundle(tmp_path / "bundle").map(names)
    assert len({one.term.name for one in mapped}) == count
    assert [one for one, other in zip(mapped, expected, strict=True) if one != other] == []


@pytest.fixture(scope="module")
def rich(
    sample_template: str,
    server_conninfo: str,
    new_database: NewDatabase,
    fake_server: FakeProviders,
) -> Iterator[sqlalchemy.Engine]:
    """The sample with a second space, and a site whose ranker is trees that learned with it; 8-bit rows."""
    pytest.importorskip("lightgbm", reason="lightgbm is not installed: pip install '.[mapping]'")
    with new_database(sample_template) as name, pytest.MonkeyPatch.context() as patch:
        fake_server.reset()
        fake_server.dimensions = 64
        fake_server.point_to(patch)
        patch.setattr(similarity_products, "_MIN_INTEGER_ROWS", 0)
        engine = database_engine(as_url(server_conninfo, dbname=name))
        client = EmbeddingClient(
            "ollama:nomic-embed-text", document_prefix="passage: ", query_prefix="query: "
        )
        build_with(engine, client, index_type=IndexType.FLAT, name="second")
        with session_scope(engine) as session:
            _store_trees(session)
        yield engine
        engine.dispose()


def _store_trees(session: Session) -> None:
    connection = driver_connection(session)
    terms = [
        GoldTerm(term=SourceTerm(name=name.upper()[:25]), targets=frozenset({concept_id}), source="")
        for concept_id, name in list(concept_names().items())[::15]
    ]
    with open_mapper(session, also_spaces=["second"]) as mapper:
        resolved = resolve_targets(mapper.engine.lexicon, terms)
        examples = build_examples(mapper.engine, resolved, default_ranker())
    ranker = TreeRanker(
        name="",
        fingerprint=registry.active_space(connection).fingerprint.digest,
        calibration=default_ranker().calibration,
        model=train_trees(examples, rounds=8),
        shipped=default_ranker(),
        further_spaces=as_trained([registry.space_by_name(connection, "second")]),
    )
    ranker_store.store_ranker(connection, "north", ranker, figures={}, trained_on={})


@pytest.fixture(scope="module")
def rich_bundle(rich: sqlalchemy.Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared") / "north"
    with Session(rich) as session:
        manifest = make_bundle(session, folder, site="north")
    assert (manifest.ranker, manifest.further_spaces) == ("north-1", ["second"])
    return folder


def test_a_bundle_holds_trees_a_further_space_and_integers(rich_bundle: Path) -> None:
    engine = open_bundle(rich_bundle).resources.engine
    assert isinstance(engine.ranker, TreeRanker)
    for dense in (engine.dense, engine.further[0].dense):
        assert dense is not None
        integers = dense.arrays.integers
        assert integers is not None
        # They are read from the file where they are used, not copied.
        assert not any(block.flags.owndata or block.flags.writeable for block in integers.blocks)
    assert [one.name for one in engine.ranker.further_spaces] == ["second"]


@pytest.mark.parametrize(
    "settings", [Settings(), Settings(explain=2, candidates=4)], ids=["plain", "explained"]
)
def test_a_bundle_with_trees_a_further_space_and_integers_maps_as_the_database_does(
    rich: sqlalchemy.Engine, rich_bundle: Path, settings: Settings
) -> None:
    names = local_names(150)
    with Session(rich) as session:
        expected = map_terms(session, names, site="north", settings=settings)
        shown = find_concepts(session, "HTN", site="north", k=5)
    bundle = open_bundle(rich_bundle)
    mapped = bundle.map(names, settings=settings)
    assert [one for one, other in zip(mapped, expected, strict=True) if one != other] == []
    assert mapped[0].provenance.further_spaces.startswith("ollama:nomic-embed-text ")
    assert any(one.best and Retriever.FURTHER in one.best.retrievers for one in mapped)
    assert bundle.find("HTN", k=5) == shown


def test_a_bundle_with_integers_is_read_where_nothing_multiplies_them(
    rich_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without onnxruntime (the model is a remote one), vectors are compared in float32."""
    expected = open_bundle(rich_bundle).map(["heart attack", "hypertension"])
    monkeypatch.setattr(dense_index, "find_spec", lambda _name: None)
    monkeypatch.setattr(similarity_products, "find_spec", lambda _name: None)
    bundle = open_bundle(rich_bundle)
    assert bundle.resources.engine.further[0].dense.arrays.integers is None
    found = bundle.map(["heart attack", "hypertension"])
    assert [one.best and one.best.concept_id for one in found] == [
        one.best and one.best.concept_id for one in expected
    ]


def test_a_bundle_whose_further_model_has_changed_is_refused(
    rich_bundle: Path, fake_server: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = dict.fromkeys(fake_server.ollama_models, "f" * 64)
    monkeypatch.setattr(fake_server, "ollama_models", changed)
    with pytest.raises(SpaceMismatchError, match="space 'second' was built: revision"):
        open_bundle(rich_bundle).map(["heart attack"])
