"""Rows go into a space and come out nearest first; 3-d vectors that one can check in the head."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray
from psycopg import sql

from omop_emb.database import migrations
from omop_emb.errors import InputError, SpaceError, SpaceNotFoundError, UnknownValueError
from omop_emb.records import (
    Concept,
    ConceptFilter,
    ConceptMatch,
    Fingerprint,
    IndexType,
    MetricType,
    TextKind,
)
from omop_emb.search import search
from omop_emb.search.options import SearchOptions
from omop_emb.spaces import copy_rows, lifecycle, registry, upsert
from omop_emb.spaces.registry import Space
from omop_emb.spaces.tables import ROW_DTYPE
from omop_emb.spaces.text_rows import TextRows, vector_hashes
from tests.small_vocabulary import text_vector

Connection = psycopg.Connection[Any]


def fingerprint(dimensions: int = 3, **changes: str) -> Fingerprint:
    return Fingerprint(provider="test", model="three", revision="1", dimensions=dimensions, **changes)


@pytest.fixture(params=list(IndexType), ids=lambda index_type: index_type.value)
def space(request: pytest.FixtureRequest, connection: Connection) -> Space:
    migrations.migrate(connection)
    return lifecycle.ensure_space(connection, fingerprint(), request.param)[0]


def condition(concept_id: int, name: str = "", **changes: Any) -> Concept:
    described = {
        "domain_id": "Condition",
        "vocabulary_id": "SNOMED",
        "concept_class_id": "Disorder",
        "standard_concept": "S",
        "concept_code": str(concept_id),
    } | changes
    return Concept(concept_id, name or f"concept {concept_id}", **described)


def write(
    connection: Connection,
    space: Space,
    entries: Sequence[tuple[Concept, str, Sequence[float]]],
    *,
    replace_concepts: bool = True,
) -> upsert.UpsertResult:
    vectors = np.array([vector for _, _, vector in entries], np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = TextRows.from_concepts(
        concepts=[concept for concept, _, _ in entries],
        kinds=[TextKind.NAME if text == c.concept_name else TextKind.SYNONYM for c, text, _ in entries],
        texts=[text for _, text, _ in entries],
        text_hashes=upsert.text_hashes(text for _, text, _ in entries),
        vectors=vectors,
    )
    return upsert.upsert_rows(connection, space, rows, replace_concepts=replace_concepts)


def nearest(
    connection: Connection,
    space: Space,
    query: Sequence[float] | NDArray[np.float32],
    k: int = 10,
    *,
    metric_type: MetricType = MetricType.COSINE,
    concept_filter: ConceptFilter | None = None,
) -> list[ConceptMatch]:
    vector = np.asarray(query, np.float32)
    vector = vector / np.linalg.norm(vector)
    options = SearchOptions(space.index_type, metric_type, k, concept_filter)
    return search.search(connection, space, vector[None].astype(np.float32), options).matches[0]


def ids(matches: Sequence[ConceptMatch]) -> list[int]:
    return [match.concept_id for match in matches]


def stored(connection: Connection, space: Space) -> list[tuple[int, str, str]]:
    return connection.execute(
        f"select concept_id, text_kind, text from omop_emb.space_{space.space_id}_text order by 1, 2, 3"  # noqa: S608 - a number of ours
    ).fetchall()


def test_the_nearest_concept_comes_first_with_distance_and_similarity(
    connection: Connection, space: Space
) -> None:
    write(
        connection,
        space,
        [
            (condition(1), "concept 1", (1, 0, 0)),
            (condition(2), "concept 2", (0, 1, 0)),
            (condition(3), "concept 3", (-1, 0, 0)),
        ],
    )
    matches = nearest(connection, space, (1, 0, 0))
    assert ids(matches) == [1, 2, 3]
    assert [match.distance for match in matches] == pytest.approx([0, 1, 2])
    assert [match.similarity for match in matches] == pytest.approx([1, 0, -1])
    first = matches[0]
    assert (first.concept_name, first.domain_id, first.vocabulary_id) == ("concept 1", "Condition", "SNOMED")
    assert (first.concept_class_id, first.standard_concept, first.concept_code) == ("Disorder", "S", "1")


@pytest.mark.parametrize(
    ("metric_type", "distances"),
    [
        (MetricType.COSINE, [0, 1, 2]),
        (MetricType.L2, [0, 2**0.5, 2]),
        (MetricType.INNER_PRODUCT, [-1, 0, 1]),
        (MetricType.L1, [0, 2, 2]),
    ],
)
def test_each_metric_reports_its_own_distance_and_always_the_cosine(
    connection: Connection, space: Space, metric_type: MetricType, distances: list[float]
) -> None:
    entries = [
        (condition(n), f"concept {n}", v) for n, v in ((1, (1, 0, 0)), (2, (0, 1, 0)), (3, (-1, 0, 0)))
    ]
    write(connection, space, entries)
    matches = nearest(connection, space, (1, 0, 0), metric_type=metric_type)
    assert ids(matches) == [1, 2, 3]
    assert [match.distance for match in matches] == pytest.approx(distances, abs=1e-6)
    assert [match.similarity for match in matches] == pytest.approx([1, 0, -1])


def test_a_concept_appears_once_with_its_nearest_text(connection: Connection, space: Space) -> None:
    write(
        connection,
        space,
        [
            (condition(1, "Myocardial infarction"), "Myocardial infarction", (0, 1, 0)),
            (condition(1, "Myocardial infarction"), "Heart attack", (1, 0, 0)),
            (condition(2), "concept 2", (1, 1, 0)),
        ],
    )
    matches = nearest(connection, space, (1, 0.1, 0), k=5)
    assert [(match.concept_id, match.matched_text) for match in matches] == [
        (1, "Heart attack"),
        (2, "concept 2"),
    ]
    assert matches[0].concept_name == "Myocardial infarction"


def test_k_concepts_are_found_although_one_has_more_texts_than_are_fetched_at_once(
    connection: Connection, space: Space
) -> None:
    many = [(condition(1), f"text {n}", (1, n / 1e4, 0)) for n in range(300)]
    write(connection, space, [*many, *((condition(n), f"concept {n}", (0, 1, n)) for n in range(2, 6))])
    assert len(nearest(connection, space, (1, 0, 0), k=5)) == 5


def test_the_same_text_may_belong_to_several_concepts_and_ties_go_by_concept_id(
    connection: Connection, space: Space
) -> None:
    entries = [(condition(n, "Fever"), "Fever", (1, 0, 0)) for n in range(60, 0, -1)]
    write(connection, space, entries)
    assert ids(nearest(connection, space, (1, 0, 0), k=7)) == list(range(1, 8))


def test_later_texts_replace_a_concepts_earlier_ones_but_no_other_concepts(
    connection: Connection, space: Space
) -> None:
    write(connection, space, [(condition(1), "old", (1, 0, 0)), (condition(2), "other", (0, 1, 0))])
    written = write(connection, space, [(condition(1), "new", (0, 0, 1))])
    assert (written.written, written.deleted) == (1, 1)
    assert stored(connection, space) == [(1, "s", "new"), (2, "s", "other")]


def test_an_approved_alias_outlives_its_concepts_other_texts(connection: Connection, space: Space) -> None:
    alias = TextRows.from_concepts(
        [condition(1)],
        [TextKind.ALIAS],
        ["hse term"],
        upsert.text_hashes(["hse term"]),
        np.eye(1, 3, dtype=np.float32),
    )
    upsert.upsert_rows(connection, space, alias)
    write(connection, space, [(condition(1), "new", (0, 0, 1))])
    assert stored(connection, space) == [(1, "a", "hse term"), (1, "s", "new")]


def test_the_same_batch_twice_changes_nothing_and_keeps_the_state(
    connection: Connection, space: Space
) -> None:
    entries = [(condition(1), "concept 1", (1, 0, 0)), (condition(2), "concept 2", (0, 1, 0))]
    assert write(connection, space, entries) == upsert.UpsertResult(2, 0)
    before = connection.execute("select count(*) from omop_emb.space_write").fetchone()
    assert write(connection, space, entries) == upsert.UpsertResult(0, 0)
    assert connection.execute("select count(*) from omop_emb.space_write").fetchone() == before


def test_a_changed_vector_is_written_although_its_text_is_unchanged(
    connection: Connection, space: Space
) -> None:
    write(connection, space, [(condition(1), "concept 1", (1, 0, 0))])
    assert write(connection, space, [(condition(1), "concept 1", (0, 1, 0))]).written == 1
    assert nearest(connection, space, (0, 1, 0))[0].distance == pytest.approx(0, abs=1e-6)


def test_a_changed_domain_is_found_by_the_filter(connection: Connection, space: Space) -> None:
    write(connection, space, [(condition(1), "concept 1", (1, 0, 0)), (condition(2), "concept 2", (1, 1, 0))])
    write(connection, space, [(condition(1, domain_id="Procedure"), "concept 1", (1, 0, 0))])
    found = nearest(connection, space, (1, 0, 0), concept_filter=ConceptFilter(domains=("Procedure",)))
    assert [(match.concept_id, match.domain_id) for match in found] == [(1, "Procedure")]


def test_duplicates_inside_a_batch_are_one_row(connection: Connection, space: Space) -> None:
    entry = (condition(1), "concept 1", (1, 0, 0))
    assert write(connection, space, [entry, entry]).written == 1


def test_one_text_with_two_vectors_is_refused_and_nothing_is_written(
    connection: Connection, space: Space
) -> None:
    with pytest.raises(
        InputError, match="concept 1 has one text with two different vectors, at positions 0 and 1"
    ):
        write(
            connection,
            space,
            [(condition(1), "concept 1", (1, 0, 0)), (condition(1), "concept 1", (0, 1, 0))],
        )
    assert stored(connection, space) == []


def test_a_concept_without_a_vocabulary_has_no_domain(connection: Connection, space: Space) -> None:
    write(connection, space, [(Concept(7, "local"), "local", (1, 0, 0))])
    match = nearest(connection, space, (1, 0, 0))[0]
    assert (match.concept_id, match.concept_name, match.domain_id, match.standard_concept) == (
        7,
        "local",
        None,
        None,
    )


@pytest.mark.parametrize(
    ("concept_filter", "expected"),
    [
        (ConceptFilter(), [1, 2, 3, 4]),
        (ConceptFilter(domains=("Drug",)), [3]),
        (ConceptFilter(domains=("Drug", "Condition"), standard_only=True), [1, 3]),
        (ConceptFilter(vocabularies=("ICD10CM",)), [2]),
        (ConceptFilter(concept_classes=("Ingredient",)), [3]),
        (ConceptFilter(concept_ids=(4, 2, 99)), [2, 4]),
        (ConceptFilter(valid_only=True), [1, 2, 3]),
        (ConceptFilter(concept_ids=()), []),
        (ConceptFilter(domains=()), []),
    ],
)
def test_a_filter_returns_exactly_what_passes(
    connection: Connection, space: Space, concept_filter: ConceptFilter, expected: list[int]
) -> None:
    entries = [
        (condition(1), "a", (1, 0.1, 0)),
        (condition(2, vocabulary_id="ICD10CM", standard_concept=None), "b", (1, 0.2, 0)),
        (condition(3, domain_id="Drug", concept_class_id="Ingredient"), "c", (1, 0.3, 0)),
        (condition(4, invalid_reason="D", standard_concept=None), "d", (1, 0.4, 0)),
    ]
    write(connection, space, entries)
    assert ids(nearest(connection, space, (1, 0, 0), concept_filter=concept_filter)) == expected


def test_an_unknown_domain_is_an_error_that_names_the_nearest(connection: Connection, space: Space) -> None:
    write(connection, space, [(condition(1), "a", (1, 0, 0))])
    with pytest.raises(UnknownValueError, match="no domain 'condition'; did you mean 'Condition'"):
        nearest(connection, space, (1, 0, 0), concept_filter=ConceptFilter(domains=("condition",)))


def test_no_queries_give_no_lists_and_an_empty_space_gives_empty_ones(
    connection: Connection, space: Space
) -> None:
    def found(queries: NDArray[np.float32]) -> list[list[ConceptMatch]]:
        return search.search(connection, space, queries, SearchOptions(k=3)).matches

    assert found(np.zeros((0, 3), np.float32)) == []
    assert found(np.eye(2, 3, dtype=np.float32)) == [[], []]


def test_k_below_one_is_refused(connection: Connection, space: Space) -> None:
    with pytest.raises(InputError, match="k must be a whole number, at least 1; found 0"):
        nearest(connection, space, (1, 0, 0), k=0)


def test_an_hnsw_search_of_a_flat_space_is_refused(connection: Connection) -> None:
    migrations.migrate(connection)
    flat = lifecycle.ensure_space(connection, fingerprint(), IndexType.FLAT)[0]
    with pytest.raises(SpaceError, match="has no HNSW index"):
        search.search(connection, flat, np.eye(1, 3, dtype=np.float32), SearchOptions(IndexType.HNSW))


@pytest.mark.parametrize("metric_type", list(MetricType), ids=lambda metric: metric.value)
def test_flat_agrees_with_float64_brute_force_on_the_stored_values(
    connection: Connection, metric_type: MetricType
) -> None:
    migrations.migrate(connection)
    space = lifecycle.ensure_space(connection, fingerprint(48), IndexType.FLAT)[0]
    random = np.random.default_rng(7)
    matrix = random.normal(size=(900, 48)).astype(np.float32)
    matrix[100:200] = matrix[:100]  # ties under other ids
    write(connection, space, [(condition(n), f"concept {n}", tuple(row)) for n, row in enumerate(matrix)])
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    kept = unit.astype(np.float16).astype(np.float64)
    for query in random.normal(size=(20, 48)):
        wanted = (query / np.linalg.norm(query)).astype(np.float32).astype(np.float64)
        truth = {
            MetricType.COSINE: 1 - kept @ wanted / np.linalg.norm(kept, axis=1) / np.linalg.norm(wanted),
            MetricType.L2: np.linalg.norm(kept - wanted, axis=1),
            MetricType.INNER_PRODUCT: -(kept @ wanted),
            MetricType.L1: np.abs(kept - wanted).sum(axis=1),
        }[metric_type]
        order = sorted(range(len(truth)), key=lambda n: (truth[n].round(9), n))[:25]
        matches = nearest(connection, space, wanted.astype(np.float32), 25, metric_type=metric_type)
        assert ids(matches) == order
        assert [match.distance for match in matches] == pytest.approx(truth[order], abs=1e-6)


def test_hnsw_finds_what_flat_finds_and_k_rows_under_a_narrow_filter(connection: Connection) -> None:
    migrations.migrate(connection)
    flat = lifecycle.ensure_space(connection, fingerprint(32), IndexType.FLAT)[0]
    hnsw = lifecycle.ensure_space(connection, fingerprint(32), IndexType.HNSW)[0]
    random = np.random.default_rng(11)
    centres = random.normal(size=(60, 32))
    matrix = centres[random.integers(0, 60, 3000)] + 0.6 * random.normal(size=(3000, 32))
    entries = [
        (condition(n, domain_id="Drug" if n % 100 == 0 else "Condition"), f"concept {n}", tuple(row))
        for n, row in enumerate(matrix)
    ]
    for space in (flat, hnsw):
        write(connection, space, entries)
    queries = centres[random.integers(0, 60, 40)] + 0.6 * random.normal(size=(40, 32))
    found = sum(
        len({*ids(nearest(connection, flat, query))} & {*ids(nearest(connection, hnsw, query))})
        for query in queries.astype(np.float32)
    )
    assert found / 400 >= 0.98
    drugs = ConceptFilter(domains=("Drug",))
    for query in queries.astype(np.float32):
        assert ids(nearest(connection, hnsw, query, concept_filter=drugs)) == ids(
            nearest(connection, flat, query, concept_filter=drugs)
        )


def test_a_space_is_found_by_its_fingerprint_and_a_missing_one_says_what_differs(
    connection: Connection,
) -> None:
    with pytest.raises(SpaceNotFoundError, match="nothing is embedded here yet for test:three: run omop-emb"):
        registry.space_by_fingerprint(connection, fingerprint(), IndexType.FLAT)
    migrations.migrate(connection)
    made, new = lifecycle.ensure_space(connection, fingerprint(query_prefix="query: "), IndexType.FLAT)
    assert new
    assert lifecycle.ensure_space(connection, fingerprint(query_prefix="query: "), IndexType.FLAT) == (
        made,
        False,
    )
    with pytest.raises(SpaceNotFoundError, match="space 'three-flat' has query_prefix 'query: ', not ''"):
        registry.space_by_fingerprint(connection, fingerprint(), IndexType.FLAT)
    with pytest.raises(SpaceNotFoundError, match="index type FLAT, not HNSW"):
        registry.space_by_fingerprint(connection, fingerprint(query_prefix="query: "), IndexType.HNSW)


def test_one_space_is_active_at_a_time_and_cannot_be_dropped(connection: Connection) -> None:
    migrations.migrate(connection)
    first = lifecycle.ensure_space(connection, fingerprint(), IndexType.FLAT)[0]
    second = lifecycle.ensure_space(connection, fingerprint(), IndexType.HNSW)[0]
    with pytest.raises(SpaceNotFoundError, match="no space is active; there are 'three-flat', 'three-hnsw'"):
        registry.active_space(connection)
    lifecycle.activate_space(connection, first)
    lifecycle.activate_space(connection, second)
    assert registry.active_space(connection).name == "three-hnsw"
    with pytest.raises(SpaceError, match="'three-hnsw' is active"):
        lifecycle.drop_space(connection, second)
    lifecycle.drop_space(connection, first)
    assert [space.name for space in registry.all_spaces(connection)] == ["three-hnsw"]


@pytest.mark.parametrize("dimensions", [3900, 3901, 4000, 4096])
def test_wide_vectors_are_stored_and_found(connection: Connection, dimensions: int) -> None:
    migrations.migrate(connection)
    wide = fingerprint(dimensions)
    space = lifecycle.ensure_space(connection, wide, IndexType.FLAT)[0]
    rows = np.random.default_rng(3).normal(size=(5, dimensions)).astype(np.float32)
    write(connection, space, [(condition(n), f"concept {n}", tuple(row)) for n, row in enumerate(rows)])
    assert ids(nearest(connection, space, rows[3], 1)) == [3]
    if dimensions > 4000:
        with pytest.raises(SpaceError, match="at most 4,000 dimensions, found 4,096"):
            lifecycle.ensure_space(connection, wide, IndexType.HNSW)
    else:
        assert lifecycle.ensure_space(connection, wide, IndexType.HNSW)[1]


def test_new_concepts_are_inserted_at_once_and_existing_ones_are_compared(
    connection: Connection, space: Space
) -> None:
    def count(query: str) -> int:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0])

    staging = "select count(*) from pg_class where relname like 'staged%' and relpersistence = 't'"
    one, two, three, four = (condition(number) for number in (1, 2, 3, 4))
    first = [(one, "one", [1, 0, 0]), (two, "two", [0, 1, 0])]
    assert write(connection, space, first) == upsert.UpsertResult(2, 0)
    assert write(connection, space, [(three, "three", [0, 0, 1])]) == upsert.UpsertResult(1, 0)
    assert count(staging) == 0
    mixed = [(three, "three", [0, 0, 1]), (two, "zwei", [0, 1, 0]), (four, "four", [1, 1, 0])]
    assert write(connection, space, mixed) == upsert.UpsertResult(2, 1)
    assert count(staging) == 2
    assert count("select count(*) from omop_emb.space_write") == 3
    assert count(f"select count(*) from omop_emb.space_{space.space_id}") == 4  # noqa: S608 - a number


def test_another_writer_may_add_the_same_new_concept_meanwhile(
    connection: Connection, space: Space, database_url: str
) -> None:
    connection.commit()
    entries = [(condition(1), "one", [1.0, 0.0, 0.0])]
    with psycopg.connect(database_url) as other:
        write(other, space, entries)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(write, connection, space, [(condition(1), "one", [0.0, 1.0, 0.0])])
            while other.execute("select count(*) from pg_locks where not granted").fetchone() == (0,):
                assert not waiting.done()
            other.commit()
            assert waiting.result() == upsert.UpsertResult(1, 0)


def test_an_upsert_sends_only_the_vectors_that_changed(
    connection: Connection, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [
        (condition(number), f"text {number}", text_vector(str(number), 3).tolist()) for number in range(20)
    ]
    sent: list[int] = []
    real = copy_rows._row_keys

    def row_keys(connection: Connection, rows: TextRows) -> NDArray[np.void]:
        sent.append(len(rows))
        return real(connection, rows)

    monkeypatch.setattr(copy_rows, "_row_keys", row_keys)
    assert write(connection, space, entries) == upsert.UpsertResult(20, 0)
    assert write(connection, space, entries) == upsert.UpsertResult(0, 0)
    entries[7] = (condition(7), "text 7", text_vector("99", 3).tolist())
    entries[8] = (condition(8, domain_id="Drug"), "text 8", text_vector("8", 3).tolist())
    assert write(connection, space, entries) == upsert.UpsertResult(2, 0)
    assert sent == [20, 2]
    (found,) = nearest(connection, space, text_vector("99", 3), k=1)
    assert found.concept_id == 7
    assert found.similarity == pytest.approx(1, abs=1e-3)


def test_a_vector_that_a_build_wrote_over_an_upserted_one_is_not_mistaken_for_it(
    connection: Connection, space: Space
) -> None:
    entry = (condition(1), "one", [1.0, 0.0, 0.0])
    write(connection, space, [entry])
    keys = np.zeros(1, ROW_DTYPE)
    keys["concept_id"], keys["text_kind"], keys["text_hash"] = 1, b"s", upsert.text_hash("one")
    keys["standard"], keys["valid"] = b"S", True
    texts = sql.SQL(
        "select concept_id, text_kind, text_hash, text, concept_name, domain_id, vocabulary_id, "
        "concept_class_id, standard_concept, concept_code, invalid_reason from {}"
    ).format(space.tables.texts)
    upsert.insert_block(connection, space, keys, np.array([[0, 1, 0]], np.float32), texts=texts)
    assert write(connection, space, [entry]) == upsert.UpsertResult(1, 0)
    (found,) = nearest(connection, space, [1.0, 0.0, 0.0], k=1)
    assert found.similarity == pytest.approx(1, abs=1e-3)


def test_hashes_of_vectors_differ_where_one_half_precision_value_does() -> None:
    vectors = np.random.default_rng(5).standard_normal((500, 24)).astype(np.float32)
    near = vectors.copy()
    near[:, 3] = np.nextafter(near[:, 3].astype(np.float16), np.float16(9)).astype(np.float32)
    swapped = -vectors
    sets = [vector_hashes(rows.astype(np.float16)) for rows in (vectors, near, swapped, vectors.copy())]
    assert len(set(np.concatenate(sets[:3]).tolist())) == 1500
    assert (sets[0] == sets[3]).all()
