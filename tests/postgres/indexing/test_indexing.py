"""index build: what is embedded, updated, left unchanged and deleted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from omop_emb import ConceptFilter, EmbeddingInterface, IndexType
from omop_emb.database.engine import driver_connection
from omop_emb.errors import (
    ConfigurationError,
    ProviderError,
    SpaceError,
    UnknownValueError,
    VocabularyError,
)
from omop_emb.indexing.report import BuildReport
from omop_emb.spaces import lifecycle, registry
from omop_emb.spaces.recipe import Recipe, fill_template
from omop_emb.spaces.registry import Space
from omop_emb.vocabulary.releases import drop_retired
from tests.builds import build_with
from tests.small_vocabulary import (
    ConceptRow,
    CountingProvider,
    SmallVocabulary,
    counting_client,
    five_concepts,
    stored_vectors,
    text_vector,
)

FIRST = [
    (1, "n", "Hypertension"),
    (1, "s", "HTN"),
    (1, "s", "High blood pressure"),
    (2, "n", "Diabetes mellitus"),
    (2, "s", "Diabetes"),
    (3, "n", "Metformin"),
    (4, "n", "Diabetes"),
]


@pytest.fixture
def vocabulary(engine: Engine, tmp_path: Path) -> SmallVocabulary:
    return five_concepts(engine, tmp_path)


@contextmanager
def connected(engine: Engine) -> Iterator[psycopg.Connection[Any]]:
    with engine.connect() as connection:
        yield driver_connection(connection)


def build(
    engine: Engine, provider: CountingProvider | None = None, *, prefix: str = "", **options: Any
) -> tuple[BuildReport, list[str]]:
    """A build's report, and the texts that the model was sent."""
    provider = provider or CountingProvider()
    options.setdefault("index_type", IndexType.FLAT)
    report = build_with(engine, counting_client(provider, prefix), **options)
    return report, sorted(provider.sent)


def rows_of(engine: Engine, name: str | None = None) -> dict[tuple[int, str, str], bytes]:
    with connected(engine) as connection:
        space = registry.space_by_name(connection, name) if name else registry.active_space(connection)
        return stored_vectors(connection, space.space_id)


def active_space(engine: Engine) -> Space:
    with connected(engine) as connection:
        return registry.active_space(connection)


def await_a_waiter(engine: Engine, table: str) -> None:
    waiting = "select exists (select from pg_locks where relation = cast(%s as regclass) and not granted)"
    for _ in range(1000):
        with connected(engine) as connection:
            if connection.execute(waiting, (table,)).fetchone() == (True,):
                return
        time.sleep(0.01)
    raise AssertionError(f"nobody waits for {table}")


@pytest.mark.parametrize("index_type", IndexType)
def test_names_and_english_synonyms_of_standard_valid_concepts_are_embedded_each_text_once(
    engine: Engine, vocabulary: SmallVocabulary, index_type: IndexType
) -> None:
    report, sent = build(engine, index_type=index_type, prefix="doc: ")
    assert sorted(rows_of(engine)) == FIRST
    assert sent == sorted({f"doc: {text}" for _, _, text in FIRST})
    assert (report.embedded, report.embedded_texts, report.new_concepts) == (7, 6, 4)
    assert report.vocabulary_release == "release 1"
    assert report.index_made is (index_type is IndexType.HNSW)
    assert report.is_active


def test_the_vectors_are_those_of_the_model_rounded_to_half_precision(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build(engine)
    for (_, _, text), value in rows_of(engine).items():
        row = text_vector(text, 8).astype(np.float64)
        expected = (row / np.linalg.norm(row)).astype(np.float32).astype(np.float16)
        assert np.abs(np.frombuffer(value[4:], ">f2").astype(np.float16) - expected).max() <= 2**-11


def test_a_second_build_embeds_nothing_and_changes_no_row(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build(engine)
    with connected(engine) as connection:
        before = connection.execute("select xmin, ctid, concept_id from omop_emb.space_1").fetchall()
    report, sent = build(engine)
    with connected(engine) as connection:
        assert connection.execute("select xmin, ctid, concept_id from omop_emb.space_1").fetchall() == before
    assert sent == []
    assert (report.unchanged, report.embedded, report.updated) == (7, 0, 0)


def test_a_renamed_concept_is_embedded_again_and_its_old_name_is_deleted(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build(engine)
    vocabulary.change(3, name="Metformin hydrochloride")
    report, sent = build(engine)
    assert sent == ["Metformin hydrochloride"]
    assert (3, "n", "Metformin") not in rows_of(engine)
    assert (3, "n", "Metformin hydrochloride") in rows_of(engine)
    assert (report.changed_concepts, report.new_concepts, report.obsolete) == (1, 0, 1)


def test_only_an_added_concept_is_embedded(engine: Engine, vocabulary: SmallVocabulary) -> None:
    build(engine)
    vocabulary.load(ConceptRow(6, "Asthma", synonyms=("Bronchial asthma",)))
    report, sent = build(engine)
    assert sent == ["Asthma", "Bronchial asthma"]
    assert (report.new_concepts, report.embedded, report.vocabulary_release) == (1, 2, "release 2")


@pytest.mark.parametrize("how", ["gone", "non-standard", "invalid", "nameless"])
def test_a_withdrawn_concept_is_deleted_with_its_synonyms(
    engine: Engine, vocabulary: SmallVocabulary, how: str
) -> None:
    build(engine)
    change: dict[str, Callable[[], None]] = {
        "gone": lambda: vocabulary.load(without=[1]),
        "non-standard": lambda: vocabulary.change(1, standard=""),
        "invalid": lambda: vocabulary.change(1, invalid="D"),
        "nameless": lambda: vocabulary.change(1, name=""),
    }
    change[how]()
    report, sent = build(engine)
    assert sent == []
    assert {key[0] for key in rows_of(engine)} == {2, 3, 4}
    assert (report.withdrawn_concepts, report.withdrawn) == (1, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"domain": "Observation"},
        {"vocabulary": "ICD10"},
        {"concept_class": "Finding"},
        {"code": "other"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_changed_details_are_updated_without_embedding(
    engine: Engine, vocabulary: SmallVocabulary, change: dict[str, str]
) -> None:
    build(engine)
    vocabulary.change(1, **change)
    report, sent = build(engine)
    assert sent == []
    assert (report.updated, report.unchanged) == (3, 7)
    with Session(engine) as session:
        hit = EmbeddingInterface(counting_client()).get_nearest_concepts(
            session=session,
            index_type=IndexType.FLAT,
            query_embeddings=text_vector("HTN", 8)[None],
            k=1,
            concept_filter=ConceptFilter(
                **{  # type: ignore[arg-type]  # the parametrised name decides
                    {"domain": "domains", "vocabulary": "vocabularies", "concept_class": "concept_classes"}[
                        name
                    ]: (value,)
                    for name, value in change.items()
                    if name != "code"
                }
            ),
        )[0][0]
    shown = {"domain": "domain_id", "vocabulary": "vocabulary_id", "code": "concept_code"}
    for name, value in change.items():
        assert getattr(hit, shown.get(name, "concept_class_id")) == value


def test_validity_is_updated_in_a_space_with_invalid_concepts(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    everything = ConceptFilter()
    build(engine, concept_filter=everything)
    vocabulary.change(1, invalid="U", standard="")
    report, sent = build(engine)
    assert (sent, report.updated) == ([], 3)
    with connected(engine) as connection:
        found = connection.execute(
            "select distinct valid, standard from omop_emb.space_1 where concept_id = 1"
        ).fetchall()
    assert found == [(False, " ")]


def test_changed_synonyms_are_embedded_and_removed_one_by_one(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build(engine)
    vocabulary.change(1, synonyms=("HTN", "Raised blood pressure"))
    report, sent = build(engine)
    assert sent == ["Raised blood pressure"]
    assert {text for concept, _, text in rows_of(engine) if concept == 1} == {
        "Hypertension",
        "HTN",
        "Raised blood pressure",
    }
    assert (report.embedded, report.obsolete, report.changed_concepts) == (1, 1, 1)


def test_the_vector_of_a_text_is_reused_for_another_concept(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build(engine)
    vector = rows_of(engine)[1, "s", "HTN"]
    vocabulary.load(ConceptRow(7, "Raised pressure", synonyms=("HTN",)))
    report, sent = build(engine)
    assert sent == ["Raised pressure"]
    assert report.reused == 1
    assert rows_of(engine)[7, "s", "HTN"] == vector


def test_another_prefix_or_model_makes_another_space_and_leaves_the_first_unchanged(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build(engine, name="old")
    before = rows_of(engine, "old")
    _, sent = build(engine, prefix="passage: ", name="prefixed")
    assert len(sent) == 6
    _, sent = build(engine, CountingProvider("m:newer-tag"), name="newer")
    assert len(sent) == 6
    assert rows_of(engine, "old") == before
    assert active_space(engine).name == "old"


def test_the_second_index_type_of_a_model_embeds_nothing(engine: Engine, vocabulary: SmallVocabulary) -> None:
    build(engine, index_type=IndexType.FLAT, name="flat")
    report, sent = build(engine, index_type=IndexType.HNSW, name="hnsw")
    assert (sent, report.reused, report.index_made) == ([], 7, True)
    assert rows_of(engine, "hnsw") == rows_of(engine, "flat")


def test_codes_other_languages_and_a_template_are_embedded_on_request_and_remembered(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build(engine, texts="name")
    report, sent = build(engine, texts="name+synonyms+codes", synonym_languages=(4182504,))
    assert sent == ["Bluthochdruck", "C1", "C2", "C3", "C4"]
    assert report.unchanged == 4
    report, sent = build(engine, template="{concept_name} ({domain_id})")
    assert "Bluthochdruck (Condition)" in sent
    assert "Diabetes (Observation)" in sent
    assert (report.embedded, report.obsolete) == (9, 9)
    report, sent = build(engine)
    assert (sent, report.unchanged) == ([], 9)
    vocabulary.change(4, domain="Condition")
    _, sent = build(engine)
    assert sent == ["C4 (Condition)", "Diabetes (Condition)"]
    report, sent = build(engine, texts="name", template="")
    assert (report.embedded, report.obsolete) == (4, 9)


def test_the_filter_of_a_space_is_remembered_and_can_be_changed(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    drugs = ConceptFilter(domains=("Drug",), standard_only=True, valid_only=True)
    build(engine, concept_filter=drugs)
    assert {key[0] for key in rows_of(engine)} == {3}
    report, _ = build(engine)
    assert (report.unchanged, report.embedded) == (1, 0)
    build(engine, concept_filter=ConceptFilter())
    assert {key[0] for key in rows_of(engine)} == {1, 2, 3, 4, 5}


def test_an_unknown_domain_names_the_nearest_and_leaves_no_space(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    with pytest.raises(UnknownValueError, match="'Drug'"):
        build(engine, concept_filter=ConceptFilter(domains=("Drugs",)))
    with connected(engine) as connection:
        assert registry.all_spaces(connection) == []


def test_without_a_vocabulary_the_message_says_what_to_run(engine: Engine) -> None:
    with pytest.raises(VocabularyError, match="omop-emb vocabulary load"):
        build(engine)


def test_a_dry_run_counts_and_changes_nothing(engine: Engine, vocabulary: SmallVocabulary) -> None:
    report, sent = build(engine, dry_run=True)
    assert (sent, report.embedded, report.embedded_texts, report.is_dry_run) == ([], 7, 6, True)
    with connected(engine) as connection:
        assert registry.all_spaces(connection) == []
    build(engine)
    before = rows_of(engine)
    vocabulary.load(ConceptRow(6, "Asthma"), ConceptRow(2, "Diabetes mellitus type 2"), without=[4])
    report, sent = build(engine, dry_run=True)
    assert (report.new_concepts, report.changed_concepts, report.withdrawn_concepts) == (1, 1, 1)
    assert (sent, rows_of(engine)) == ([], before)


def test_a_limited_build_takes_the_lowest_ids_and_leaves_the_others_unchanged(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build(engine, limit=2)
    assert {key[0] for key in rows_of(engine)} == {1, 2}
    assert active_space(engine).vocabulary_release is None
    build(engine)
    build(engine, limit=2)
    assert {key[0] for key in rows_of(engine)} == {1, 2, 3, 4}


def test_approved_aliases_stay_as_long_as_their_concept_exists(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build(engine)
    with connected(engine) as connection:
        for table in ("space_1", "space_1_text"):
            connection.execute(
                f"create temporary table copied as select * from omop_emb.{table} where concept_id = 3;"  # noqa: S608 - constants
                "update copied set text_kind = 'a', text_hash = 1;"
                f"insert into omop_emb.{table} select * from copied; drop table copied"
            )
        connection.commit()
    vocabulary.change(3, domain="Device")
    build(engine)
    assert (3, "a", "Metformin") in rows_of(engine)
    vocabulary.change(3, standard="")
    build(engine)
    assert {key for key in rows_of(engine) if key[0] == 3} == {(3, "a", "Metformin")}
    vocabulary.load(without=[3])
    build(engine)
    assert not [key for key in rows_of(engine) if key[0] == 3]


def test_texts_that_the_model_refuses_are_recorded_skipped_and_tried_again(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    report, _ = build(engine, CountingProvider(refuses=["Diabetes"]))
    assert (report.failed, report.embedded) == (1, 5)
    assert not [key for key in rows_of(engine) if key[2] == "Diabetes"]
    with connected(engine) as connection:
        failures = connection.execute(
            "select concept_id, text_kind, reason from omop_emb.build_failure order by 1"
        ).fetchall()
    assert [failure[:2] for failure in failures] == [(2, "s"), (4, "n")]
    assert "Diabetes" not in failures[0][2]
    report, sent = build(engine)
    assert (sent, report.failed) == (["Diabetes"], 0)
    with connected(engine) as connection:
        assert connection.execute("select count(*) from omop_emb.build_failure").fetchone() == (0,)


@pytest.mark.parametrize("index_type", IndexType)
def test_after_a_failing_provider_the_next_build_does_only_the_rest(
    engine: Engine, vocabulary: SmallVocabulary, index_type: IndexType
) -> None:
    provider = CountingProvider(batch_texts=1, fails_after=4)
    with pytest.raises(ProviderError, match="down"):
        build(engine, provider, index_type=index_type, chunk_texts=2)
    with connected(engine) as connection:
        (space,) = registry.all_spaces(connection)
        assert not space.is_active
        kept = {text for _, _, text in stored_vectors(connection, space.space_id)}
    assert kept == set(provider.sent)
    report, sent = build(engine, index_type=index_type)
    assert not kept & set(sent)
    assert sorted(rows_of(engine)) == FIRST
    assert report.is_active


def test_a_release_loaded_during_a_build_is_built_before_it_ends(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    def load_once() -> None:
        if vocabulary.release == 1:
            vocabulary.load(ConceptRow(6, "Asthma"), ConceptRow(3, "Metformin 500 mg"), without=[4])

    report, _ = build(engine, CountingProvider(on_batch=load_once))
    names = {key[2] for key in rows_of(engine) if key[1] == "n"}
    assert names == {"Hypertension", "Diabetes mellitus", "Metformin 500 mg", "Asthma"}
    assert (report.vocabulary_release, active_space(engine).vocabulary_release) == ("release 2", "release 2")


def test_a_release_loaded_while_a_build_is_planned_is_built_before_it_ends(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    with ThreadPoolExecutor(1) as pool, connected(engine) as connection:
        connection.execute("lock table omop_emb.label")  # the plan waits here, its texts found
        building = pool.submit(build, engine)
        await_a_waiter(engine, "omop_emb.label")
        vocabulary.load(ConceptRow(6, "Asthma"), without=[4])
        connection.rollback()
        report, _ = building.result(timeout=30)
    assert {key[0] for key in rows_of(engine)} == {1, 2, 3, 6}
    assert (report.vocabulary_release, active_space(engine).vocabulary_release) == ("release 2", "release 2")


def test_a_build_with_other_settings_is_refused_while_another_is_running(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    refusals: list[str] = []

    def build_otherwise() -> None:
        with pytest.raises(SpaceError) as caught:
            build(engine, texts="name")
        refusals.append(str(caught.value))

    build(engine, CountingProvider(on_batch=build_otherwise))
    assert "is being built with other settings" in refusals[0]
    assert sorted(rows_of(engine)) == FIRST


def test_a_space_dropped_during_its_build_ends_the_build_in_one_line(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    def drop() -> None:
        with connected(engine) as connection:
            for space in registry.all_spaces(connection):
                lifecycle.drop_space(connection, space)
            connection.commit()

    with pytest.raises(SpaceError, match="was dropped while it was being built"):
        build(engine, CountingProvider(on_batch=drop, batch_texts=1), chunk_texts=2)


def test_rows_written_through_the_interface_during_a_build_do_not_conflict(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    def upsert() -> None:
        with Session(engine) as session:
            EmbeddingInterface(counting_client()).embed_and_upsert_concepts(
                session=session,
                index_type=IndexType.FLAT,
                concept_ids=(3, 4),
                concept_texts=("Metformin", "Diabetes"),
            )
            session.commit()

    build(engine, CountingProvider(on_batch=upsert))
    assert sorted(rows_of(engine)) == FIRST


@pytest.mark.parametrize("template", ["{concept}", "{domain_id}", "{concept_name!r}", "{", "{0}"])
def test_an_invalid_template_is_refused(template: str) -> None:
    with pytest.raises(ConfigurationError, match="template"):
        Recipe(template=template)


@pytest.mark.parametrize(
    "template", ["", "{text}", "100 % {concept_name} ({domain_id}) {{x}}", "{text}: {concept_name}"]
)
def test_the_database_fills_and_hashes_a_template_like_python(
    engine: Engine, vocabulary: SmallVocabulary, template: str
) -> None:
    from omop_emb.spaces.upsert import text_hash

    vocabulary.change(3, name="Ménière's disease “x” \\ % 😀")
    _, sent = build(engine, template=template)
    with connected(engine) as connection:
        found = connection.execute(
            "select text_hash, text, concept_name, domain_id, vocabulary_id, concept_class_id, concept_code "
            "from omop_emb.space_1_text"
        ).fetchall()
    names = ("concept_name", "domain_id", "vocabulary_id", "concept_class_id", "concept_code")
    inputs = {fill_template(template, text, dict(zip(names, rest, strict=True))) for _, text, *rest in found}
    assert sent == sorted(inputs)
    for stored_hash, text, *rest in found:
        assert stored_hash == text_hash(fill_template(template, text, dict(zip(names, rest, strict=True))))


def test_repeated_builds_number_labels_without_gaps(engine: Engine, vocabulary: SmallVocabulary) -> None:
    for _ in range(3):
        build(engine)
    vocabulary.change(3, domain="Device")
    build(engine)
    with connected(engine) as connection:
        row = connection.execute("select max(code) - count(*) from omop_emb.label").fetchone()
    assert row == (0,)


def test_a_build_does_not_block_the_vocabulary_loader(engine: Engine, vocabulary: SmallVocabulary) -> None:
    loaded: list[int] = []

    def load_twice() -> None:
        if not loaded:
            loaded.append(1)
            for _ in range(2):
                vocabulary.load()
            with connected(engine) as connection:
                drop_retired(connection)
                connection.commit()

    build(engine, CountingProvider(on_batch=load_twice))
    assert sorted(rows_of(engine)) == FIRST


def test_chunks_of_a_builder_whose_connection_is_lost_are_taken_over_at_once(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build(engine)
    vocabulary.load(ConceptRow(6, "Asthma"))
    with connected(engine) as connection:
        space = registry.active_space(connection)
        connection.execute(
            "insert into omop_emb.build (space_id, settings, lease_until) "
            "values (%s, 'x', now() + interval '1 h')",
            (space.space_id,),
        )
        connection.execute(
            "insert into omop_emb.build_chunk "
            "values (%s, 0, 1, 6, gen_random_uuid(), now() + interval '1 h')",
            (space.space_id,),
        )
        connection.commit()
    report, sent = build(engine)
    assert sent == ["Asthma"]
    assert report.seconds < 30
