"""The concept card: what the vocabulary and the spaces hold about a concept, cut, counted and by index."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import psycopg
import pytest
from sqlalchemy.orm import Session

from omop_emb.database.engine import database_engine, driver_connection
from omop_emb.errors import InputError, UnknownConceptError, VocabularyError
from omop_emb.indexing.build import build_index
from omop_emb.records import IndexType
from omop_emb.service import concept_card, concept_relatives, find_similar, relatives_page
from tests.conftest import NewDatabase, as_url
from tests.small_vocabulary import ConceptRow, SmallVocabulary, counting_client

REVERSE = {"Is a": "Subsumes", "Maps to": "Mapped from", "Concept replaced by": "Concept replaces"}
CODE: dict[str, Any] = {"vocabulary": "ICD10CM", "standard": ""}
ROWS = (
    ConceptRow(1, "Disease"),
    ConceptRow(2, "Lung disease", relationships=(("Is a", 1),), ancestors=((1, 1),)),
    ConceptRow(3, "Heart disease", relationships=(("Is a", 1),), ancestors=((1, 1),)),
    ConceptRow(
        4,
        "Asthma",
        synonyms=("Bronchial asthma", "Asthma"),
        german=("Bronchialasthma",),
        relationships=(("Is a", 2), ("Maps to", 4), ("Has finding site", 14), ("Due to", 99)),
        ancestors=((1, 2), (2, 1), (4, 0)),
    ),
    ConceptRow(5, "Asthma, unspecified", relationships=(("Maps to", 4),), **CODE),
    ConceptRow(6, "Asthma, old", invalid="U", relationships=(("Concept replaced by", 4),), **CODE),
    # Above each other by concept_ancestor alone, as RxNorm's are.
    ConceptRow(7, "Aspirin", domain="Drug", vocabulary="RxNorm", ancestors=((7, 0),)),
    ConceptRow(8, "Aspirin 81 MG", domain="Drug", vocabulary="RxNorm", ancestors=((7, 1), (8, 0))),
    ConceptRow(9, "Aspirin 325 MG", domain="Drug", vocabulary="RxNorm", ancestors=((7, 1), (9, 0))),
    # Codes, which concept_ancestor does not have; the last two name each other.
    ConceptRow(10, "J00-J99", **CODE),
    ConceptRow(11, "J45", relationships=(("Is a", 10),), **CODE),
    ConceptRow(12, "J45.9", relationships=(("Is a", 11), ("Is a", 13)), **CODE),
    ConceptRow(13, "J45.90", relationships=(("Is a", 12),), **CODE),
    ConceptRow(14, "Lung structure", domain="Spec Anatomic Site", standard="C"),
)


def with_reverse(rows: tuple[ConceptRow, ...]) -> list[ConceptRow]:
    """Each relationship the other way round as well, as Athena delivers it."""
    added: dict[int, list[tuple[str, int]]] = {}
    for row in rows:
        for name, other in row.relationships:
            if name in REVERSE:
                added.setdefault(other, []).append((REVERSE[name], row.concept_id))
    return [replace(row, relationships=(*row.relationships, *added.get(row.concept_id, ()))) for row in rows]


@pytest.fixture(scope="module")
def database(
    server_conninfo: str,
    migrated_template: str,
    new_database: NewDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The vocabulary above, its standard concepts embedded."""
    with new_database(migrated_template) as name:
        url = as_url(server_conninfo, dbname=name)
        engine = database_engine(url)
        SmallVocabulary(engine, tmp_path_factory.mktemp("cards")).load(*with_reverse(ROWS))
        build_index(engine, counting_client(), index_type=IndexType.HNSW)
        engine.dispose()
        yield url


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    engine = database_engine(database)
    with Session(engine) as opened:
        yield opened
        opened.rollback()
    engine.dispose()


@pytest.mark.parametrize(
    ("concept_id", "kind", "expected"),
    [
        (4, "parents", [("Is a", 2, 1)]),
        (4, "children", []),
        (4, "siblings", []),
        (4, "ancestors", [("ancestor", 2, 1), ("ancestor", 1, 2)]),
        (4, "descendants", []),
        (4, "maps_to", [("Maps to", 4, None)]),
        (4, "mapped_from", [("Mapped from", 4, None), ("Mapped from", 5, None)]),
        (
            4,
            "related",
            [
                ("Concept replaces", 6, None),
                ("Due to", 99, None),
                ("Has finding site", 14, None),
                ("Is a", 2, None),
                ("Mapped from", 4, None),
                ("Mapped from", 5, None),
                ("Maps to", 4, None),
            ],
        ),
        (2, "siblings", [("sibling", 3, None)]),
        (2, "children", [("Subsumes", 4, 1)]),
        (1, "children", [("Subsumes", 2, 1), ("Subsumes", 3, 1)]),
        (1, "descendants", [("descendant", 2, 1), ("descendant", 3, 1), ("descendant", 4, 2)]),
        (5, "maps_to", [("Maps to", 4, None)]),
        (8, "parents", [("ancestor", 7, 1)]),
        (8, "siblings", [("sibling", 9, None)]),
        (7, "children", [("descendant", 8, 1), ("descendant", 9, 1)]),
        (12, "ancestors", [("ancestor", 11, 1), ("ancestor", 13, 1), ("ancestor", 10, 2)]),
        (10, "descendants", [("descendant", 11, 1), ("descendant", 12, 2), ("descendant", 13, 3)]),
        (14, "related", []),
    ],
)
def test_relatives_are_found_by_relationship_or_in_the_hierarchy(
    session: Session, concept_id: int, kind: str, expected: list[tuple[str, int, int | None]]
) -> None:
    def plain(found: Any) -> list[tuple[str, int, int | None]]:
        return [(one.relationship, one.concept.concept_id, one.distance) for one in found]

    assert plain(concept_relatives(session, concept_id, kind)) == expected
    card = concept_card(session, concept_id)
    assert plain(getattr(card, kind)) == expected
    assert card.counts[kind] == len(expected)
    pages = [concept_relatives(session, concept_id, kind, limit=1, offset=n) for n in range(len(expected))]
    assert [one for page in pages for one in plain(page)] == expected
    assert concept_relatives(session, concept_id, kind, offset=len(expected)) == ()
    assert relatives_page(session, concept_id, kind, limit=1).total == len(expected)


def test_a_card_says_what_the_vocabulary_and_the_spaces_hold(session: Session) -> None:
    card = concept_card(session, 4)
    assert (card.concept.concept_name, card.valid_start, card.valid_end) == (
        "Asthma",
        date(1970, 1, 1),
        date(2099, 12, 31),
    )
    assert [(one.text, one.language) for one in card.synonyms] == [
        ("Asthma", None),
        ("Bronchial asthma", None),
        ("Bronchialasthma", "language 4182504"),
    ]
    assert card.relationships["Mapped from"] == 2
    assert [(one.space, one.is_active, one.texts) for one in card.spaces] == [("m-hnsw", True, 2)]
    assert card.not_loaded == ()
    assert card.athena_url.endswith("/4")
    assert (card.releases.release, card.releases.previous_release) == ("release 1", None)
    # Where what it leads to is not loaded, the id is all that is known.
    (due_to,) = (one.concept for one in card.related if one.relationship == "Due to")
    assert (due_to.concept_id, due_to.concept_name) == (99, "")
    assert [one.concept_id for one in concept_card(session, 6).releases.replaced_by] == [4]


def test_lists_are_cut_and_counted(session: Session) -> None:
    card = concept_card(session, 1, limit=1)
    assert [len(card.children), len(card.descendants), len(card.related)] == [1, 1, 1]
    assert [card.counts[kind] for kind in ("children", "descendants", "related")] == [2, 3, 2]
    cut = concept_card(session, 4, limit=1)
    assert (len(cut.synonyms), cut.counts["synonyms"]) == (1, 3)
    assert [one.relationship for one in cut.related] == list(cut.relationships)


@pytest.mark.parametrize(
    "concept_id", [0, -1, 999, 2**31, 10**30, pytest.param(10**4000, id="of 4001 digits")]
)
@pytest.mark.parametrize(
    "call",
    [
        concept_card,
        find_similar,
        lambda session, concept_id: concept_relatives(session, concept_id, "parents"),
    ],
)
def test_an_unknown_concept_is_an_error_of_one_line(
    session: Session, call: Callable[[Session, int], object], concept_id: int
) -> None:
    with pytest.raises(UnknownConceptError, match="there is no concept") as caught:
        call(session, concept_id)
    assert (caught.value.concept_id, "\n" in str(caught.value)) == (concept_id, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("4", "parents"), "concept_id must be a whole number; found str"),
        ((True, "parents"), "concept_id must be a whole number; found bool"),
        ((4.0, "parents"), "concept_id must be a whole number; found float"),
        ((None, "parents"), "concept_id must be a whole number; found NoneType"),
        ((4, "uncles"), "kind must be one of RelativeKind.PARENTS"),
        ((4, "parents", 0), "limit must be a whole number, at least 1; found 0"),
        ((4, "parents", 5, -1), "offset must be a whole number, at least 0; found -1"),
        ((4, "parents", True), "limit must be a whole number"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named(
    session: Session, arguments: tuple[Any, ...], message: str
) -> None:
    concept_id, kind, *counts = arguments
    options = dict(zip(("limit", "offset"), counts, strict=False))
    with pytest.raises(InputError, match=message):
        concept_relatives(session, concept_id, kind, **options)


def test_an_id_may_be_numpys(session: Session) -> None:
    number: Any = np.int64(4)
    assert concept_card(session, number).concept.concept_id == 4


def test_similar_concepts_are_those_of_the_concepts_own_vectors(session: Session) -> None:
    found = find_similar(session, 4, k=3)
    assert len(found) == 3
    assert 4 not in [match.concept_id for match in found]
    assert [match.distance for match in found] == sorted(match.distance for match in found)
    with pytest.raises(
        InputError, match="concept 5 is not embedded in space 'm-hnsw': use 4, to which it maps"
    ):
        find_similar(session, 5)


def test_a_release_says_what_changed_of_a_concept(engine: Any, tmp_path: Any) -> None:
    small = SmallVocabulary(engine, tmp_path)
    small.load(*with_reverse(ROWS))
    small.load(
        ConceptRow(4, "Asthma (disorder)", invalid="U", relationships=(("Concept replaced by", 2),)),
        ConceptRow(15, "New"),
    )
    with Session(engine) as session:
        history = concept_card(session, 4).releases
        assert (history.release, history.previous_release) == ("release 2", "release 1")
        assert [(one.change, one.old_name, one.new_name) for one in history.changes] == [
            ("withdrawn", "Asthma", "Asthma (disorder)"),
            ("renamed", "Asthma", "Asthma (disorder)"),
        ]
        assert [one.concept_name for one in history.replaced_by] == ["Lung disease"]
        assert [one.change for one in concept_card(session, 15).releases.changes] == ["new"]
        assert concept_card(session, 1).releases.changes == ()


CDM = """
    create schema cdm;
    create table cdm.concept (
        concept_id bigint, concept_name varchar(255), domain_id varchar(20), vocabulary_id varchar(20),
        concept_class_id varchar(20), standard_concept varchar(1), concept_code varchar(50),
        invalid_reason varchar(1)
    );
    insert into cdm.concept values (1, 'Disease', 'Condition', 'SNOMED', 'Disorder', 'S', 'C1', null);
    insert into cdm.concept values (2, 'Asthma', 'Condition', 'SNOMED', 'Disorder', 'S', 'C2', null);
"""
RELATIONSHIPS = """
    create table cdm.concept_relationship (
        concept_id_1 bigint, concept_id_2 bigint, relationship_id varchar(20), invalid_reason varchar(1)
    );
    insert into cdm.concept_relationship values (2, 1, 'Is a', ''), (2, 2, 'Maps to', 'D');
"""


def test_a_cdm_may_lack_tables_and_dates(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMOP_EMB_VOCABULARY_SCHEMA", "cdm")
    connection = driver_connection(session)
    connection.execute(CDM.encode())
    card = concept_card(session, 2)
    assert (card.concept.concept_name, card.valid_start, card.synonyms, card.ancestors) == (
        "Asthma",
        None,
        (),
        (),
    )
    assert card.not_loaded == ("concept_synonym", "concept_relationship", "concept_ancestor")
    assert (card.releases.release, card.releases.previous_release) == (None, None)
    connection.execute(RELATIONSHIPS.encode())
    card = concept_card(session, 2)
    assert [one.concept.concept_id for one in card.ancestors] == [1]
    assert (card.maps_to, card.not_loaded) == ((), ("concept_synonym", "concept_ancestor"))
    connection.execute("alter table cdm.concept add valid_start_date date, add valid_end_date timestamp")
    connection.execute(
        "update cdm.concept set valid_start_date = '2020-01-02', valid_end_date = '2099-12-31'"
    )
    card = concept_card(session, 2)
    assert (card.valid_start, card.valid_end) == (date(2020, 1, 2), date(2099, 12, 31))


def test_without_a_vocabulary_the_error_says_what_to_run(engine: Any) -> None:
    with (
        Session(engine) as session,
        pytest.raises(VocabularyError, match="run omop-emb vocabulary load PATH"),
    ):
        concept_card(session, 4)


LEADING_COLUMNS = """
    select c.relname, a.attname from pg_index i join pg_class c on c.oid = i.indexrelid
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
"""


def scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes of a plan that read a table or index of a vocabulary or space."""
    for below in plan.get("Plans", ()):
        yield from scans(below)
    if re.match(r"(concept|space)_", str(plan.get("Relation Name", plan.get("Index Name")))):
        yield plan


def test_each_query_finds_its_rows_by_the_first_column_of_an_index(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = driver_connection(session)
    connection.execute("set local enable_seqscan = off")  # small tables are read as large ones would be
    leading: dict[str, str] = dict(connection.execute(LEADING_COLUMNS).fetchall())
    seen: list[dict[str, Any]] = []

    class Explained(psycopg.Cursor[Any]):
        def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            text = query if isinstance(query, str) else query.as_string(connection)
            if "from" in text and "exists (select" not in text:
                with psycopg.Cursor(connection) as plain:
                    explain = b"explain (format json) " + text.encode()
                    ((plans,),) = plain.execute(explain, params).fetchall()
                    seen.extend(scans(plans[0]["Plan"]))
            return super().execute(query, params, **options)

    monkeypatch.setattr(connection, "cursor_factory", Explained)
    for row in ROWS:
        concept_card(session, row.concept_id)
    assert {re.sub("_[0-9]+", "", str(one.get("Relation Name"))) for one in seen} == {
        *("concept", "concept_synonym", "concept_relationship", "concept_ancestor", "space_text"),
    }
    for one in seen:
        if one["Node Type"] != "Bitmap Heap Scan":
            assert leading[one["Index Name"]] in one["Index Cond"], one
