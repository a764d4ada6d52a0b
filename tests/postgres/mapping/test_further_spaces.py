"""Further spaces: candidates, features, probabilities and refusals where several spaces are searched."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import psycopg
import pytest
import sqlalchemy
from click.testing import CliRunner
from sqlalchemy.orm import Session

from omop_emb import ConceptFilter, EmbeddingClient, database_engine, find_concepts
from omop_emb.database.engine import driver_connection, session_scope, waiting_session
from omop_emb.errors import ConfigurationError, InputError, SpaceError, SpaceNotFoundError
from omop_emb.mapping.approvals.reviewed_table import ApprovedColumns
from omop_emb.mapping.evaluation.evaluate import EvaluationOptions, measure
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.mapper import map_terms, open_mapper
from omop_emb.mapping.ranking import ranker_store, stored_rankers
from omop_emb.mapping.ranking.linear import FURTHER_WEIGHT, default_ranker
from omop_emb.mapping.ranking.ranker_spaces import as_trained
from omop_emb.mapping.ranking.trees import TreeRanker
from omop_emb.mapping.records import Retriever, SourceTerm
from omop_emb.mapping.settings import Settings
from omop_emb.mapping.training.site_training import Training, train
from omop_emb.records import IndexType
from omop_emb.service import ConceptFinder, demo
from omop_emb.spaces import registry
from tests.builds import build_with
from tests.conftest import NewDatabase, as_url
from tests.fake_providers import Call, FakeProviders, Fault, fake_vector

# Words that the model of the second space understands; for all others its vectors say which text it is.
FINNISH = {"nivelrikko": "Osteoarthritis", "sinuiitti": "Sinusitis"}
DIMENSIONS = 64
EMBEDDED = ("Condition", "Procedure", "Measurement", "Observation")
ALL = ApprovedColumns(all_approved=True)


def _as_meant(call: Call) -> Fault:
    """Queries have the vectors of the documents that they mean."""
    meant = [
        f"passage: {FINNISH.get(text.removeprefix('query: '), text.removeprefix('query: '))}"
        if text.startswith("query: ")
        else text
        for text in call.texts
    ]
    return Fault(change=lambda _vectors: [fake_vector(text, DIMENSIONS) for text in meant])


def _understands(fake: FakeProviders) -> None:
    fake.reset()
    fake.dimensions, fake.fault = DIMENSIONS, _as_meant


def _second_client() -> EmbeddingClient:
    return EmbeddingClient("ollama:nomic-embed-text", document_prefix="passage: ", query_prefix="query: ")


@pytest.fixture(scope="module")
def template(
    sample_template: str, server_conninfo: str, new_database: NewDatabase, fake_server: FakeProviders
) -> Iterator[str]:
    """The embedded sample with a second space: no drug in it, by a model with a prefix a role."""
    with new_database(sample_template) as name, pytest.MonkeyPatch.context() as patch:
        fake_server.reset()
        _understands(fake_server)
        fake_server.point_to(patch)
        engine = database_engine(as_url(server_conninfo, dbname=name))
        build_with(
            engine,
            _second_client(),
            index_type=IndexType.FLAT,
            name="second",
            concept_filter=ConceptFilter(domains=EMBEDDED, standard_only=True, valid_only=True),
        )
        engine.dispose()
        yield name


@pytest.fixture
def url(template: str, server_conninfo: str, new_database: NewDatabase, fake: FakeProviders) -> Iterator[str]:
    _understands(fake)
    with new_database(template) as name:
        yield as_url(server_conninfo, dbname=name)


@pytest.fixture
def engine(url: str) -> Iterator[sqlalchemy.Engine]:
    opened = database_engine(url)
    yield opened
    opened.dispose()


@pytest.fixture
def session(engine: sqlalchemy.Engine) -> Iterator[Session]:
    with Session(engine) as opened:
        yield opened


def _store_site_ranker(session: Session, *further: str) -> str:
    """The shipped ranker as a site's own that learned with further spaces; returns its name."""
    connection = driver_connection(session)
    spaces = [registry.space_by_name(connection, name) for name in further]
    ranker = replace(default_ranker(), is_site_trained=True, further_spaces=as_trained(spaces))
    name = ranker_store.store_ranker(connection, "default", ranker, figures={}, trained_on={})
    session.commit()
    return name


def test_a_further_space_finds_what_the_first_does_not_understand(session: Session) -> None:
    (alone,) = map_terms(session, ["nivelrikko"])
    (both,) = map_terms(session, ["nivelrikko"], also_spaces=["second"])
    assert "Osteoarthritis" not in [candidate.concept_name for candidate in alone.candidates]
    assert both.best is not None
    assert both.best.concept_name == "Osteoarthritis"
    assert both.best.retrievers[Retriever.FURTHER] == pytest.approx(1, abs=1e-3)
    assert both.provenance.further_spaces.startswith("ollama:nomic-embed-text ")
    assert alone.provenance.further_spaces == ""
    found = find_concepts(session, "nivelrikko", also_spaces=["second"])
    assert found.concepts[0].found_through.startswith("similar in meaning in a further space (")
    assert found.concepts[0].concept.concept_name == "Osteoarthritis"


def test_without_calibration_there_are_no_probabilities_and_the_order_is_explained(session: Session) -> None:
    with open_mapper(session, also_spaces=["second"], settings=Settings(explain=1)) as mapper:
        (mapped,) = mapper.map([SourceTerm(name="nivelrikko")])
        notes = mapper.notes
    assert (mapped.probability, mapped.provenance.calibrated) == (None, False)
    assert "also searched: 'second'" in notes[-1]
    assert f"adds {FURTHER_WEIGHT:g} to a score" in notes[-1]
    assert "omop-emb calibrate APPROVED --also-space second" in notes[-1]
    assert mapped.best is not None
    assert mapped.best.contributions[0].reason == "similar meaning in a further space"


def test_features_are_the_cosines_of_each_space_and_missing_where_it_lacks_a_concept(
    session: Session,
) -> None:
    with open_mapper(session, also_spaces=["second"]) as mapper:
        query = mapper.engine.build_query(SourceTerm(name="aspirin for sinuiitti"), Settings())
        ranked = mapper.engine.rank([query], Settings())
        lexicon, further = mapper.engine.lexicon, mapper.engine.further[0].dense
    rows = ranked.candidates.concept
    columns = ranked.scored.features[:, len(NAMES) :]
    is_missing = np.array([lexicon.domains[code] not in EMBEDDED for code in lexicon.domain[rows]])
    assert 0 < is_missing.sum() < len(is_missing)
    assert (np.isnan(columns).all(axis=1) == is_missing).all()
    # By hand: the best of a concept's texts, for each variant.
    texts = [variant.text for variant in query.variants]
    queries = np.array([fake_vector(f"passage: {FINNISH.get(text, text)}", DIMENSIONS) for text in texts])
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    vectors = further.vectors[further.vector_row].astype(np.float32)
    truth = np.array(
        [(queries @ vectors[further.concept == row].T).max(axis=1) for row in rows[~is_missing]], np.float32
    )
    own = columns[~is_missing]
    assert np.allclose(own[:, 0], truth[:, 0], atol=2e-3)
    best = truth.max(axis=1)
    assert np.allclose(own[:, 1], best, atol=2e-3)
    assert np.allclose(own[:, 2], (best - best.mean()) / best.std(), atol=2e-2)
    assert np.allclose(own[:, 3], best - best.max(), atol=3e-3)


def test_every_text_is_embedded_as_a_query_of_its_own_space(session: Session, fake: FakeProviders) -> None:
    map_terms(session, ["nivelrikko", "HTN"], also_spaces=["second"])
    texts = [text for call in fake.embedding_calls for text in call.texts]
    assert "query: hypertension" in [text.lower() for text in texts]
    assert all(text.startswith("query: ") for text in texts)


def test_variables_of_the_first_space_say_nothing_of_a_further_one(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMOP_EMB_MODEL", "local:all-MiniLM-L6-v2")
    monkeypatch.setenv("OMOP_EMB_DIMENSIONS", "384")
    (mapped,) = map_terms(session, ["nivelrikko"], also_spaces=["second"])
    assert mapped.candidates[0].concept_name == "Osteoarthritis"


def test_no_transaction_waits_while_a_further_provider_is_asked(
    engine: sqlalchemy.Engine, url: str, fake: FakeProviders
) -> None:
    waiting: list[int] = []

    def watched(call: Call) -> Fault:
        with psycopg.connect(url) as watcher:
            row = watcher.execute(
                "select count(*) from pg_stat_activity where datname = current_database() "
                "and state like 'idle in transaction%'"
            ).fetchone()
            waiting.append(row[0] if row else -1)
        return _as_meant(call)

    fake.fault = watched
    with ConceptFinder(engine, also_spaces=["second"]) as finder:
        finder.find("nivelrikko")
    with waiting_session(engine) as session, open_mapper(session, also_spaces=["second"]) as mapper:
        list(mapper.map([SourceTerm(name="sinuiitti")]))
    assert len(waiting) >= 2
    assert set(waiting) == {0}


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["third"], SpaceNotFoundError, "there is no space 'third'"),
        (["second", "second"], InputError, "--also-space 'second' adds nothing"),
        (["all-MiniLM-L6-v2-hnsw"], InputError, "has the same vectors as 'all-MiniLM-L6-v2-flat'"),
        ("second", InputError, "a sequence of names"),
    ],
)
def test_a_further_space_that_cannot_help_is_refused(
    session: Session, names: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        map_terms(session, ["gout"], also_spaces=names)


def test_a_further_space_of_another_vocabulary_is_refused_with_the_command(session: Session) -> None:
    session.execute(
        sqlalchemy.text(
            "update omop_emb.space set release_id = null, vocabulary_release = 'another' "
            "where name = 'second'"
        )
    )
    with pytest.raises(SpaceError, match=r"another vocabulary .* omop-emb index build --name second"):
        map_terms(session, ["gout"], also_spaces=["second"])


def test_a_sites_ranker_is_used_with_the_spaces_that_it_learned_with_and_no_others(session: Session) -> None:
    name = _store_site_ranker(session, "second")
    (mapped,) = map_terms(session, ["nivelrikko"])
    assert mapped.candidates[0].concept_name == "Osteoarthritis"
    assert (mapped.provenance.ranker, mapped.probability is None) == (name, False)
    (named,) = map_terms(session, ["nivelrikko"], also_spaces=["second"])
    assert named == mapped
    with pytest.raises(ConfigurationError, match=f"'{name}' was trained with 'second', but no further space"):
        map_terms(session, ["gout"], also_spaces=[])
    with open_mapper(session, use_own_ranker=False) as mapper:
        assert mapper.further_spaces == []


def test_a_sites_ranker_that_learned_in_one_space_refuses_another(session: Session) -> None:
    name = _store_site_ranker(session)
    with pytest.raises(
        ConfigurationError,
        match=f"'{name}' was trained with no further space, but 'second' is requested: .*"
        "omop-emb calibrate APPROVED --also-space second",
    ):
        map_terms(session, ["gout"], also_spaces=["second"])


def test_a_space_that_a_ranker_learned_with_and_that_is_gone_is_named(session: Session) -> None:
    name = _store_site_ranker(session, "second")
    session.execute(sqlalchemy.text("update omop_emb.space set fingerprint = 'x' where name = 'second'"))
    session.execute(sqlalchemy.text("update omop_emb.space set model = 'x' where name = 'second'"))
    with pytest.raises(SpaceNotFoundError, match=f"'{name}' was trained with the space 'second' too"):
        map_terms(session, ["gout"])


def test_a_warm_finder_reads_again_when_a_further_space_or_the_ranker_changes(
    engine: sqlalchemy.Engine,
) -> None:
    with ConceptFinder(engine, also_spaces=["second"]) as finder:
        names = [finder.find("nivelrikko").concepts[0].concept.concept_name for _ in range(2)]
        assert (names, finder.times_read) == (["Osteoarthritis"] * 2, 1)
        build_with(
            engine,
            _second_client(),
            index_type=IndexType.FLAT,
            name="second",
            concept_filter=ConceptFilter(domains=("Drug",), standard_only=True, valid_only=True),
        )
        assert finder.find("nivelrikko").concepts[0].concept.concept_name != "Osteoarthritis"
        assert finder.times_read == 2
    with ConceptFinder(engine) as finder:
        assert finder.find("gout").provenance.further_spaces == ""
        with session_scope(engine) as session:
            name = _store_site_ranker(session, "second")
        assert finder.find("gout").provenance.further_spaces.startswith("ollama:nomic-embed-text ")
        with session_scope(engine) as session:
            stored_rankers.drop_ranker(driver_connection(session), name)
        assert finder.find("gout").provenance.further_spaces == ""


def _approved(folder: Path) -> Path:
    """Names of conditions and drugs as a hospital writes them, a quarter in a language of its own."""
    random_ = random.Random(5)  # noqa: S311 - test data, not a secret
    with (demo.SAMPLE / "CONCEPT.csv").open(encoding="utf-8", newline="") as lines:
        rows = [
            row
            for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
            if row["standard_concept"] == "S" and row["domain_id"] in ("Condition", "Procedure")
        ]
    path = folder / "approved.csv"
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["name", "concept_id"])
        for number, row in enumerate(random_.sample(rows, 160)):
            name = row["concept_name"]
            if number % 4 == 0:
                FINNISH[f"sana {number}"] = name
                name = f"sana {number}"
            else:
                name = name.upper()[: random_.choice((15, 30, 60))]
            writer.writerow([name, row["concept_id"]])
    return path


def test_calibrate_learns_with_a_further_space_and_gains_probabilities(
    session: Session, tmp_path: Path
) -> None:
    approved = _approved(tmp_path)
    training = Training(also_spaces=["second"], remember=False, columns=ALL, rounds=8)
    trained = train(session, [approved], training)
    session.commit()
    with open_mapper(session) as mapper:
        (mapped,) = mapper.map([SourceTerm(name="nivelrikko")])
        ranker, notes = mapper.engine.ranker, mapper.notes
    assert ranker.name == trained.name
    assert [one.name for one in ranker.further_spaces] == ["second"]
    assert f"also searched: 'second', because the ranker {trained.name} learned with" in notes
    assert mapped.candidates[0].concept_name == "Osteoarthritis"
    assert mapped.probability is not None
    if trained.uses_own_trees:
        assert isinstance(ranker, TreeRanker)
        assert "space 1: cosine" in ranker.features
    options = EvaluationOptions(columns=ALL, settings=Settings())
    both, _ = measure(session, [approved], options)
    alone, _ = measure(session, [approved], replace(options, shipped=True))
    found = [[one.ranks["ranker"] == 1 for one in each.outcomes] for each in (both, alone)]
    assert sum(found[0]) > sum(found[1])
    assert any(one.ranks["further spaces"] for one in both.outcomes)
    # What a review learns anew keeps the spaces.
    train(session, [approved], replace(training, also_spaces=None))
    with open_mapper(session) as mapper:
        assert [one.name for one in mapper.further_spaces] == ["second"]


def test_commands_take_further_spaces(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", url)
    terms, mapped = tmp_path / "terms.csv", tmp_path / "mapped.csv"
    terms.write_text("name\nnivelrikko\nsinuiitti\n", encoding="utf-8")

    def run(name: str, *arguments: str) -> tuple[int, str]:
        command = import_module(f"omop_emb.cli.{name}").command
        result = CliRunner().invoke(command, list(arguments), standalone_mode=False)
        if result.exception is not None:
            return 2, getattr(result.exception, "message", str(result.exception))
        return result.return_value, result.output

    code, said = run("map", str(terms), "-o", str(mapped), "--also-space", "second")
    assert (code, "also searched: 'second'" in said) == (0, True)
    assert "knows only English" not in said
    with mapped.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["concept_name"] for row in rows] == ["Osteoarthritis", "Sinusitis"]
    assert all(", and ollama:nomic-embed-text " in row["provenance"] for row in rows)
    code, said = run("search", "nivelrikko", "--also-space", "second", "--format", "json")
    assert (code, "Osteoarthritis" in said) == (0, True)
    code, said = run("search", "nivelrikko", "--dense", "--also-space", "second")
    assert (code, "--dense and files only search the active space" in said) == (2, True)
    code, said = run("evaluate", str(_approved(tmp_path)), "--also-space", "third")
    assert (code, "there is no space 'third'" in said) == (2, True)
