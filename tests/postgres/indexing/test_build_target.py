"""Which space a build means, which space answers, and which becomes active."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from omop_emb import EmbeddingClient, EmbeddingRole, IndexType, config
from omop_emb.config import DEFAULT_MODEL
from omop_emb.database.engine import driver_connection
from omop_emb.errors import SpaceError, SpaceMismatchError
from omop_emb.indexing.target import build_target
from omop_emb.providers import int8_model
from omop_emb.spaces import lifecycle, registry
from omop_emb.spaces.release import active_space_warning
from omop_emb.spaces.space_client import client_of
from omop_emb.vocabulary.releases import rollback_vocabulary
from tests.builds import build_with
from tests.small_vocabulary import CountingProvider, SmallVocabulary, counting_client, five_concepts
from tests.tiny_models import layer_folder

FLAT, HNSW = IndexType.FLAT, IndexType.HNSW


@pytest.fixture
def vocabulary(engine: Engine, tmp_path: Path) -> SmallVocabulary:
    return five_concepts(engine, tmp_path)


def active_name(engine: Engine) -> str:
    with engine.connect() as connection:
        return registry.active_space(driver_connection(connection)).name


def warning(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return active_space_warning(driver_connection(connection))


def local_client(query_prefix: str = "") -> EmbeddingClient:
    return EmbeddingClient(DEFAULT_MODEL, document_prefix="", query_prefix=query_prefix)


@pytest.fixture
def spaces(engine: Engine, vocabulary: SmallVocabulary) -> None:
    """Of the packaged model a FLAT space, which is active, and an HNSW space; and one with prefixes."""
    build_with(engine, local_client(), index_type=FLAT, name="flat")
    build_with(engine, local_client(), index_type=HNSW, name="hnsw")
    build_with(engine, local_client(query_prefix="q: "), index_type=HNSW, name="it's prefixed")


@pytest.mark.usefixtures("spaces")
@pytest.mark.parametrize(
    ("variables", "name", "index_type", "query_prefix", "expected"),
    [
        ({}, None, None, "", FLAT),  # the active space
        ({}, None, HNSW, "", HNSW),  # its model
        ({}, "hnsw", None, "", HNSW),
        ({}, "flat", FLAT, "", FLAT),
        ({}, "it's prefixed", None, "q: ", HNSW),
        ({}, "new", None, "", HNSW),
        ({"OMOP_EMB_MODEL": DEFAULT_MODEL}, None, None, "", FLAT),
        ({"OMOP_EMB_QUERY_EMBEDDING_PREFIX": "q: "}, None, None, "q: ", HNSW),
        ({"OMOP_EMB_QUERY_EMBEDDING_PREFIX": "other: "}, None, None, "other: ", HNSW),  # a new space
        ({"OMOP_EMB_QUERY_EMBEDDING_PREFIX": "other: "}, "new", FLAT, "other: ", FLAT),
    ],
)
def test_a_build_means_the_named_space_or_that_of_the_variables_or_the_active_one(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    name: str | None,
    index_type: IndexType | None,
    query_prefix: str,
    expected: IndexType,
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    target = build_target(engine, name=name, index_type=index_type)
    assert target.client.fingerprint.query_prefix == query_prefix
    assert target.index_type is expected


@pytest.mark.usefixtures("spaces")
def test_a_name_that_contradicts_a_variable_or_an_index_type_is_refused(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpaceError, match="space 'flat' is FLAT: leave out --index-type"):
        build_target(engine, name="flat", index_type=HNSW)
    monkeypatch.setenv("OMOP_EMB_QUERY_EMBEDDING_PREFIX", "q: ")
    with pytest.raises(SpaceMismatchError, match="OMOP_EMB_QUERY_EMBEDDING_PREFIX is 'q: '"):
        build_target(engine, name="flat")


@pytest.mark.usefixtures("spaces", "fake")
def test_task_types_choose_a_space_of_their_own(engine: Engine) -> None:
    tasks = dict.fromkeys(EmbeddingRole, "CLUSTERING")
    target = build_target(engine, model="gemini:gemini-embedding-001", tasks=tasks)
    assert target.client.fingerprint.document_task == "CLUSTERING"
    assert target.client.fingerprint.query_task == "CLUSTERING"
    with pytest.raises(SpaceMismatchError, match="OMOP_EMB_DOCUMENT_EMBEDDING_TASK is 'CLUSTERING'"):
        build_target(engine, name="flat", tasks=tasks)


@pytest.mark.parametrize(
    "spelling", ["local:{folder}", "local:{folder}/", "local:./model", "local:model", "local:~/model"]
)
@pytest.mark.parametrize("is_int8", [False, True])
def test_a_space_answers_and_is_built_on_however_its_models_folder_is_spelled(
    engine: Engine,
    vocabulary: SmallVocabulary,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own_cache: Path,
    spelling: str,
    is_int8: bool,
) -> None:
    folder = layer_folder(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OMOP_EMB_MODEL", spelling.format(folder=folder))
    model = int8_model(config.model()) if is_int8 else None
    for _ in range(2):
        target = build_target(engine, name="own", model=model)
        assert build_with(engine, target.client, index_type=target.index_type, name="own").is_active
    if not is_int8:
        with engine.connect() as connection:
            space = registry.active_space(driver_connection(connection))
        assert client_of(space).model == f"local:{folder}"


def test_without_a_space_a_build_makes_an_hnsw_space(engine: Engine, vocabulary: SmallVocabulary) -> None:
    assert build_target(engine).index_type is HNSW


@pytest.mark.parametrize("active", [FLAT, HNSW])
def test_of_a_clients_spaces_the_active_one_answers(
    engine: Engine, vocabulary: SmallVocabulary, active: IndexType
) -> None:
    for index_type in (FLAT, HNSW):
        build_with(engine, counting_client(), index_type=index_type, name=index_type.value)
    with engine.connect() as connection:
        driver = driver_connection(connection)
        lifecycle.activate_space(driver, registry.space_by_name(driver, active.value))
        client = counting_client()
        assert registry.answering_space(driver, client.fingerprint).index_type is active
        assert registry.answering_space(driver).index_type is active
        assert registry.answering_space(driver, client.fingerprint, "hnsw").index_type is HNSW


def test_an_incomplete_space_never_answers(engine: Engine, vocabulary: SmallVocabulary) -> None:
    build_with(engine, counting_client(), index_type=FLAT)
    with pytest.raises(Exception, match="down"):
        build_with(
            engine,
            counting_client(CountingProvider(fails_after=2), "other: "),
            index_type=HNSW,
            name="half's",
        )
    with engine.connect() as connection:
        fingerprint = counting_client(prefix="other: ").fingerprint
        with pytest.raises(SpaceError, match=r"incomplete.*run omop-emb index build --name 'half'\"'\"'s'"):
            registry.answering_space(driver_connection(connection), fingerprint)


def test_the_space_that_is_built_for_a_new_release_becomes_active(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    for index_type in (FLAT, HNSW):
        report = build_with(engine, counting_client(), index_type=index_type, name=index_type.value)
        assert report.replaced_space is None
    assert active_name(engine) == "flat"
    assert warning(engine) is None
    vocabulary.change(1, name="Raised blood pressure")
    assert warning(engine) == (
        "space 'flat' holds release 1, but release 2 is loaded: run omop-emb index build --name flat"
    )
    report = build_with(engine, counting_client(), index_type=HNSW)
    assert (report.is_active, report.replaced_space) == (True, "flat")
    assert active_name(engine) == "hnsw"
    assert warning(engine) is None


def test_a_space_of_another_model_does_not_become_active(engine: Engine, vocabulary: SmallVocabulary) -> None:
    build_with(engine, counting_client(), index_type=FLAT, name="old")
    vocabulary.change(1, name="Raised blood pressure")
    report = build_with(engine, counting_client(prefix="other: "), index_type=HNSW, name="new")
    assert (report.is_active, report.replaced_space) == (False, None)
    assert active_name(engine) == "old"


def test_a_limited_build_does_not_become_active(engine: Engine, vocabulary: SmallVocabulary) -> None:
    build_with(engine, counting_client(), index_type=FLAT, name="whole")
    vocabulary.change(1, name="Raised blood pressure")
    build_with(engine, counting_client(), index_type=HNSW, limit=1)
    assert active_name(engine) == "whole"


def test_a_release_of_the_same_name_but_other_files_is_another_release(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build_with(engine, counting_client(), index_type=FLAT, name="space")
    vocabulary.release -= 1
    vocabulary.load()
    assert warning(engine) is None  # the same files once more
    vocabulary.release -= 1
    vocabulary.change(1, name="Raised blood pressure")
    assert warning(engine) == (
        "space 'space' holds an earlier download of release 1, but a later one is loaded: "
        "run omop-emb index build --name space"
    )


def test_after_a_rollback_the_space_differs_until_it_is_built_again(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build_with(engine, counting_client(), index_type=FLAT, name="space")
    vocabulary.change(1, name="Raised blood pressure")
    build_with(engine, counting_client(), index_type=FLAT)
    with engine.begin() as connection:
        rollback_vocabulary(driver_connection(connection))
    assert warning(engine) == (
        "space 'space' holds release 2, but release 1 is loaded: run omop-emb index build --name space"
    )
    build_with(engine, counting_client(), index_type=FLAT)
    assert warning(engine) is None
