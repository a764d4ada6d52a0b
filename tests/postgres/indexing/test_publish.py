"""index publish: a space is copied to Qdrant, and readers see the copy when it is complete."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from psycopg.sql import SQL
from sqlalchemy import Engine

from omop_emb import ConceptFilter, EmbeddingInterface, MetricType, database_engine
from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.errors import (
    ConfigurationError,
    DatabaseError,
    InputError,
    OmopEmbError,
    SpaceError,
    SpaceMismatchError,
    SpaceNotFoundError,
)
from omop_emb.indexing import publish, published_collection
from omop_emb.indexing.publish import publish_index
from omop_emb.indexing.published_collection import UnusedCollection
from omop_emb.records import Fingerprint, IndexType
from omop_emb.search.options import SearchOptions
from omop_emb.search.qdrant.qdrant_server import QdrantAddress
from omop_emb.search.qdrant.qdrant_store import QdrantStore
from omop_emb.search.search import SearchResult
from omop_emb.search.stores import PostgresStore
from omop_emb.spaces import lifecycle, row_counts
from omop_emb.spaces.registry import Space
from tests.conftest import as_url
from tests.postgres.search.test_search_property import DIMENSIONS, Case, Stored, fill
from tests.qdrant_server import QdrantServer, RefusalError, qdrant_server
from tests.serving import OMOP_EMB

NAME = "small one"
ROWS = 600
STORED = Stored.of(Case(1, ROWS, 500, 300, False, 10, 20, MetricType.COSINE, None, True))


@pytest.fixture(scope="module")
def running() -> Iterator[QdrantServer]:
    with qdrant_server() as server:
        yield server


@pytest.fixture
def qdrant(running: QdrantServer, monkeypatch: pytest.MonkeyPatch) -> QdrantServer:
    running.reset()
    monkeypatch.setattr(published_collection, "_POLL_SECONDS", 0)
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
    return running


@pytest.fixture(scope="module")
def small_url(shared_conninfo: str) -> str:
    return as_url(shared_conninfo)


@pytest.fixture(scope="module")
def engine(small_url: str) -> Iterator[Engine]:
    made = database_engine(small_url)
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def space(engine: Engine) -> Space:
    """600 rows of 12 dimensions, of a model that may be cut."""
    fingerprint = Fingerprint(
        provider="ollama", model="nomic-embed-text:v1.5", revision="", dimensions=DIMENSIONS
    )
    with session_scope(engine) as session:
        connection = driver_connection(session)
        made, _ = lifecycle.ensure_space(connection, fingerprint, IndexType.HNSW, name=NAME)
        fill(connection, made, STORED)
        row_counts.recount_rows(connection, made)
    return made


@pytest.fixture
def queries() -> NDArray[np.float32]:
    return STORED.queries


def searched(
    engine: Engine, space: Space, queries: NDArray[np.float32], qdrant: QdrantServer | None, **options: Any
) -> SearchResult:
    store = PostgresStore() if qdrant is None else QdrantStore(QdrantAddress.parse(qdrant.address))
    with session_scope(engine) as session:
        return store.search(driver_connection(session), space, queries, SearchOptions(**options))


@pytest.mark.parametrize(
    "concept_filter",
    [
        None,
        ConceptFilter(domains=("Drug", "Condition"), standard_only=True, valid_only=True),
        ConceptFilter(vocabularies=("SNOMED",)),
        ConceptFilter(concept_ids=(7, 8, 9)),
        ConceptFilter(domains=()),
    ],
)
@pytest.mark.parametrize("metric_type", [MetricType.COSINE, MetricType.L2, MetricType.INNER_PRODUCT])
def test_the_copy_gives_the_matches_of_the_space_itself(
    engine: Engine,
    space: Space,
    queries: NDArray[np.float32],
    qdrant: QdrantServer,
    metric_type: MetricType,
    concept_filter: ConceptFilter | None,
) -> None:
    publish_index(engine, NAME, qdrant.address)
    options: dict[str, Any] = {"metric_type": metric_type, "concept_filter": concept_filter, "exact": True}
    expected = searched(engine, space, queries, None, **options)
    assert searched(engine, space, queries, qdrant, **options).matches == expected.matches


def test_readers_search_where_the_variable_says(
    sample_database_url: str, qdrant: QdrantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = database_engine(sample_database_url)
    publication = publish_index(made, "all-MiniLM-L6-v2-flat", qdrant.address)
    assert (publication.rows, publication.small, publication.replaced) == (3101, None, None)
    texts = ["heart attack", "T2DM"]
    with session_scope(made) as session:
        expected = EmbeddingInterface().get_nearest_concepts_from_query_texts(
            session=session, query_texts=texts, k=3, exact=True
        )
        monkeypatch.setenv("OMOP_EMB_SEARCH_URL", qdrant.address)
        interface = EmbeddingInterface()
        found = interface.explain_search(session=session, query_texts=texts, k=3)
        similar = interface.get_similar_concepts(session=session, concept_ids=[201826], k=3)
    assert found.matches == expected
    assert found.plan.index == publication.collection
    assert 201826 not in [match.concept_id for match in similar[0]]
    made.dispose()


def test_what_is_sent_and_where_is_said_before_it_is_sent(
    engine: Engine, space: Space, qdrant: QdrantServer
) -> None:
    said: list[str] = []
    sent_at_first: list[int] = []

    def listen(line: str) -> None:
        said.append(line)
        sent_at_first.append(sum(method == "PUT" for method, _ in qdrant.requests))

    publish_index(engine, NAME, qdrant.address, on_message=listen)
    assert sent_at_first == [0]
    assert said[0].startswith(f"600 texts of space {NAME!r} are sent to {qdrant.url}, on this machine: ")


@pytest.mark.parametrize(
    ("url", "is_here"),
    [
        ("qdrant+http://localhost:1", True),
        ("qdrant+http://127.0.0.2", True),
        ("qdrant+http://[::1]:1", True),
        ("qdrant+https://qdrant.example.org/a", False),
        ("qdrant+http://10.0.0.1", False),
    ],
)
def test_another_machine_is_known_as_one(url: str, is_here: bool) -> None:
    assert QdrantAddress.parse(url).is_this_machine is is_here


def kill_at(number: int, path_end: str, method: str, kill: Callable[[], None]) -> Callable[[str, str], None]:
    """A hook that kills at the nth request whose path ends so."""
    left = [number]

    def before(asked: str, path: str) -> None:
        if asked == method and path.endswith(path_end):
            left[0] -= 1
            if left[0] == 0:
                kill()

    return before


def test_a_killed_publication_changes_nothing_for_readers_and_the_next_says_what_is_left(
    engine: Engine, small_url: str, space: Space, queries: NDArray[np.float32], qdrant: QdrantServer
) -> None:
    first = publish_index(engine, NAME, qdrant.address)
    command = subprocess.Popen(
        [OMOP_EMB, "index", "publish", NAME, qdrant.address],
        env={**os.environ, "OMOP_EMB_DATABASE_URL": small_url},
        stderr=subprocess.PIPE,
        text=True,
    )
    qdrant.before = kill_at(2, "/points", "PUT", lambda: os.kill(command.pid, signal.SIGKILL))
    assert command.communicate(timeout=120)[1].count("are sent to") == 1
    assert command.returncode == -signal.SIGKILL
    qdrant.before = None
    assert qdrant.aliases == {"omop_emb": first.collection}
    assert searched(engine, space, queries, qdrant).plan.index == first.collection
    asked: list[UnusedCollection] = []

    def refuse(unused: Sequence[UnusedCollection]) -> bool:
        asked.extend(unused)
        return False

    second = publish_index(engine, NAME, qdrant.address, approve_deletion=refuse)
    assert second.deleted == ()
    assert second.replaced == first.collection
    assert {one.name for one in second.unused} == set(qdrant.collections) - {second.collection}
    assert {(one.is_complete, one.rows < ROWS) for one in asked} == {(True, False), (False, True)}
    third = publish_index(engine, NAME, qdrant.address, approve_deletion=lambda _: True)
    assert len(third.deleted) == 3
    assert (set(qdrant.collections), third.unused) == ({third.collection}, ())


def test_a_reader_follows_the_alias_although_the_earlier_copy_is_deleted(
    engine: Engine, space: Space, queries: NDArray[np.float32], qdrant: QdrantServer
) -> None:
    publish_index(engine, NAME, qdrant.address)
    store, options = QdrantStore(QdrantAddress.parse(qdrant.address)), SearchOptions(exact=True)
    with session_scope(engine) as session:
        connection = driver_connection(session)
        before = store.search(connection, space, queries, options)
        second = publish_index(engine, NAME, qdrant.address, approve_deletion=lambda _: True)
        after = store.search(connection, space, queries, options)
        assert (after.matches, after.plan.index) == (before.matches, second.collection)

        def switch() -> None:
            """Another copy takes the place of this one, between the reader's two requests."""
            qdrant.before = None
            publish_index(engine, NAME, qdrant.address, approve_deletion=lambda _: True)

        qdrant.before = kill_at(1, "/query/batch", "POST", switch)
        assert store.search(connection, space, queries, options).matches == before.matches


def test_vectors_of_another_model_are_refused(
    engine: Engine, space: Space, queries: NDArray[np.float32], qdrant: QdrantServer
) -> None:
    publish_index(engine, NAME, qdrant.address)
    other = replace(space, fingerprint=replace(space.fingerprint, query_prefix="query: "))
    with pytest.raises(SpaceMismatchError, match="query_prefix '', not 'query: '"):
        searched(engine, other, queries, qdrant)
    assert qdrant.requests[-1][0] == "GET"  # no vector was sent


def test_another_release_is_said_once(
    engine: Engine,
    space: Space,
    queries: NDArray[np.float32],
    qdrant: QdrantServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    publish_index(engine, NAME, qdrant.address)
    store = QdrantStore(QdrantAddress.parse(qdrant.address))
    newer = replace(space, vocabulary_release="v9")
    with session_scope(engine) as session, caplog.at_level(logging.WARNING, "omop_emb.search"):
        for _ in range(2):
            store.search(driver_connection(session), newer, queries, SearchOptions())
    (record,) = [record for record in caplog.records if record.name.startswith("omop_emb.search")]
    assert record.getMessage().endswith(f"but space {NAME!r} holds v9: run omop-emb index publish")


def test_an_incomplete_copy_is_refused_also_by_its_own_name(
    engine: Engine, space: Space, queries: NDArray[np.float32], qdrant: QdrantServer
) -> None:
    def refuse() -> None:
        raise RefusalError(500, "disk full")

    qdrant.before = kill_at(1, "/points/count", "POST", refuse)
    said: list[str] = []
    with pytest.raises(DatabaseError, match="refused the request: status 500, disk full"):
        publish_index(engine, NAME, qdrant.address, on_message=said.append)
    (name,) = qdrant.collections
    assert qdrant.aliases == {}
    assert said[-1].startswith(f"the collection {name!r} was not completed, and no reader sees it.")
    address = QdrantAddress.parse(f"{qdrant.address}/{name}")
    with session_scope(engine) as session, pytest.raises(SpaceError, match="is incomplete"):
        QdrantStore(address).search(driver_connection(session), space, queries, SearchOptions())
    with pytest.raises(SpaceNotFoundError, match="has no collection 'omop_emb'"):
        searched(engine, space, queries, qdrant)


def test_a_copy_that_lacks_rows_is_not_shown_to_readers(
    engine: Engine, space: Space, qdrant: QdrantServer
) -> None:
    qdrant.before = kill_at(
        1, "/points/count", "POST", lambda: qdrant.lose_a_row(next(iter(qdrant.collections)))
    )
    with pytest.raises(SpaceError, match="the copy holds 599 rows, but the space 600: run"):
        publish_index(engine, NAME, qdrant.address)
    assert qdrant.aliases == {}


def test_an_index_that_cannot_be_built_is_not_shown_to_readers(
    engine: Engine, space: Space, qdrant: QdrantServer
) -> None:
    qdrant.colour = "red"
    with pytest.raises(DatabaseError, match="could not index the copy"):
        publish_index(engine, NAME, qdrant.address)
    assert qdrant.aliases == {}


def test_readers_wait_for_the_index(engine: Engine, space: Space, qdrant: QdrantServer) -> None:
    qdrant.colour = "yellow"
    phases: list[str] = []

    def listen(progress: Any) -> None:
        phases.append(progress.phase.name)
        if phases.count("WAIT_FOR_QDRANT") == 3:
            assert qdrant.aliases == {}
            qdrant.colour = "green"

    publish_index(engine, NAME, qdrant.address, on_progress=listen)
    assert phases[-3:] == ["WAIT_FOR_QDRANT"] * 3
    assert list(qdrant.aliases) == ["omop_emb"]


def test_names_that_a_site_approved_are_not_sent(
    engine: Engine, space: Space, queries: NDArray[np.float32], qdrant: QdrantServer
) -> None:
    """As a site approves them: rows of kind "a"."""
    chosen = STORED.concepts[0].concept_id
    texts = {
        text
        for concept, text in zip(STORED.concepts, STORED.texts, strict=True)
        if concept.concept_id == chosen
    }
    with session_scope(engine) as session:
        connection = driver_connection(session)

        def approve(kind: str, earlier: str) -> None:
            for table in (space.tables.rows, space.tables.texts):
                update = SQL("update {} set text_kind = %s where concept_id = %s and text_kind = %s")
                connection.execute(update.format(table), (kind, chosen, earlier))
            connection.commit()

        approve("a", "s")
        publication = publish_index(engine, NAME, qdrant.address)
        approve("s", "a")
    assert publication.rows == ROWS - len(texts) < ROWS
    sent = [
        point["payload"]["text"]
        for body in qdrant.bodies
        if body and "points" in body
        for point in body["points"]
    ]
    assert len(sent) == publication.rows
    assert not texts & set(sent)


def test_what_omop_emb_did_not_make_is_never_replaced(
    engine: Engine, space: Space, qdrant: QdrantServer
) -> None:
    parameters = {"vectors": {"v": {"size": 4, "distance": "Dot", "datatype": "float32"}}}
    qdrant.answer("PUT", "/collections/theirs", "", parameters)
    with pytest.raises(ConfigurationError, match="'theirs' is a collection itself"):
        publish_index(engine, NAME, f"{qdrant.address}/theirs")
    qdrant.aliases["alias"] = "theirs"
    with pytest.raises(SpaceError, match="'theirs' does not say which space it holds"):
        publish_index(engine, NAME, f"{qdrant.address}/alias")
    assert list(qdrant.collections) == ["theirs"]


def test_a_server_without_metadata_is_refused(engine: Engine, space: Space, qdrant: QdrantServer) -> None:
    qdrant.keeps_metadata = False
    with pytest.raises(DatabaseError, match=r"it must be version 1\.16 or later"):
        publish_index(engine, NAME, qdrant.address)
    assert not [path for method, path in qdrant.requests if path.endswith("/points")]


def test_the_key_is_sent_and_never_said(
    engine: Engine,
    space: Space,
    qdrant: QdrantServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    qdrant.key = "s3cret-key"
    said: list[str] = []
    with caplog.at_level(logging.DEBUG):
        with pytest.raises(ConfigurationError, match="set QDRANT_API_KEY"):
            publish_index(engine, NAME, qdrant.address, on_message=said.append)
        monkeypatch.setenv("QDRANT_API_KEY", "wrong-s3cret-key")
        with pytest.raises(ConfigurationError, match="set QDRANT_API_KEY"):
            publish_index(engine, NAME, qdrant.address, on_message=said.append)
        monkeypatch.setenv("QDRANT_API_KEY", qdrant.key)
        publish_index(engine, NAME, qdrant.address, on_message=said.append)
    assert "s3cret" not in caplog.text + "".join(said)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("qdrant+http://me:s3cret@host:6333", "put the key into QDRANT_API_KEY"),
        ("http://host:6333", "must be qdrant"),
        ("qdrant+http://", "must be qdrant"),
        ("qdrant+http://host:port", "cannot be read"),
        ("qdrant+http://host:6333/a/b", "the collection in the URL may have"),
        ("qdrant+http://host:6333?api_key=s3cret", "must be qdrant"),
    ],
)
def test_a_wrong_url_is_refused_without_being_shown(engine: Engine, url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        publish_index(engine, NAME, url)
    assert "s3cret" not in str(refused.value)


def test_a_server_that_does_not_answer_is_named(engine: Engine, running: QdrantServer) -> None:
    with pytest.raises(DatabaseError, match=r"Qdrant at http://127\.0\.0\.1:1 cannot be reached"):
        publish_index(engine, NAME, "qdrant+http://127.0.0.1:1")


def test_an_unknown_domain_and_l1_are_refused_as_elsewhere(
    engine: Engine, space: Space, queries: NDArray[np.float32], qdrant: QdrantServer
) -> None:
    publish_index(engine, NAME, qdrant.address)
    with pytest.raises(OmopEmbError, match="did you mean 'Condition'"):
        searched(engine, space, queries, qdrant, concept_filter=ConceptFilter(domains=("Conditon",)))
    with pytest.raises(InputError, match="cannot rank by L1"):
        searched(engine, space, queries, qdrant, metric_type=MetricType.L1)


def test_exact_searches_compare_every_row(
    engine: Engine, space: Space, queries: NDArray[np.float32], qdrant: QdrantServer
) -> None:
    publish_index(engine, NAME, qdrant.address)
    exact: list[dict[str, Any]] = [{"exact": True}, {"recall": 0.9}, {"index_type": IndexType.FLAT}]
    for options in exact:
        assert searched(engine, space, queries, qdrant, **options).plan.ef_search is None
    assert searched(engine, space, queries, qdrant).plan.ef_search is not None


def test_small_vectors_are_for_models_that_were_trained_for_them() -> None:
    def small(model: str, dimensions: int, requested: int | None) -> int | None:
        fingerprint = Fingerprint(provider="ollama", model=model, revision="", dimensions=dimensions)
        return publish._small(fingerprint, requested)

    assert small("qwen3-embedding:8b", 4096, None) == 768
    assert small("nomic-embed-text:v1.5", 768, None) is None
    assert small("nomic-embed-text:v1.5", 768, 256) == 256
    assert small("all-minilm", 384, None) is None
    with pytest.raises(ConfigurationError, match="small must be left out for ollama:all-minilm"):
        small("all-minilm", 384, 128)
    with pytest.raises(ConfigurationError, match="from 1 to 767"):
        small("nomic-embed-text:v1.5", 768, 768)


def test_small_vectors_are_searched_first(
    engine: Engine, space: Space, queries: NDArray[np.float32], qdrant: QdrantServer
) -> None:
    assert publish_index(engine, NAME, qdrant.address, small=6).small == 6
    exact = searched(engine, space, queries, qdrant, exact=True).matches
    asked = len(qdrant.bodies)
    found = searched(engine, space, queries, qdrant).matches
    (first, *_) = [body for body in qdrant.bodies[asked:] if body and "searches" in body]
    prefetch = first["searches"][0]["prefetch"]
    assert (prefetch["using"], len(prefetch["query"])) == ("small", 6)
    pairs = zip(exact, found, strict=True)
    shared = [len({m.concept_id for m in a} & {m.concept_id for m in b}) for a, b in pairs]
    assert 5 <= np.mean(shared) < 10  # of 10: half of a random vector says something of the rest, but not all


def test_the_command_says_what_it_did(small_url: str, qdrant: QdrantServer, tmp_path: Path) -> None:
    def run(*arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [OMOP_EMB, *arguments],
            env={**os.environ, "OMOP_EMB_DATABASE_URL": small_url, "OMOP_EMB_SEARCH_URL": qdrant.address},
            capture_output=True,
            text=True,
            timeout=120,
            input=answer,
        )

    first = run("index", "publish", NAME, qdrant.address)
    assert (first.returncode, first.stdout) == (0, "")
    (collection,) = qdrant.collections
    assert first.stderr.splitlines()[-1] == f"'omop_emb' is now {collection}: 600 texts"
    second = run("index", "publish", NAME, qdrant.address, "--delete-earlier", answer="n\n")
    assert f"not used any more: {collection}, 600 rows, complete" in second.stderr
    assert "delete 1 collection?" in second.stderr
    assert len(qdrant.collections) == 2
    third = run("index", "publish", NAME, qdrant.address, "--delete-earlier", "--yes")
    assert third.stderr.splitlines()[-1] == "2 earlier collections were deleted"
    refused = run("index", "publish", NAME, qdrant.address, "--yes")
    assert refused.returncode == 2
