"""Reading concepts, codes, values and texts, from a release or from a CDM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from omop_emb.errors import UnknownValueError
from omop_emb.records import Concept, ConceptFilter
from omop_emb.spaces.recipe import Recipe
from omop_emb.vocabulary import reader
from omop_emb.vocabulary.layout import LAYOUTS
from omop_emb.vocabulary.loader import load_vocabulary
from tests.small_vocabulary import desired_texts

Download = Callable[..., Path]
ConceptLine = Callable[..., str]

ASTHMA = Concept(1, "Asthma", "Condition", "SNOMED", "Disorder", "S", "C1", None)


@pytest.fixture(scope="module")
def loaded_conninfo(
    shared_conninfo: str, tmp_path_factory: pytest.TempPathFactory, concept_line: ConceptLine
) -> str:
    """A release, and in the schema "Some CDM" the same tables as a CDM has them, varchar and all."""
    folder = tmp_path_factory.mktemp("release")
    tables = {
        "concept": [
            concept_line(1, "Asthma"),
            concept_line(2, "Asthma inhaler", domain_id="Device", standard_concept="", concept_code="1"),
            concept_line(3, "Wheeze", invalid_reason="D", concept_code="22", standard_concept=""),
            concept_line(4, "Wheezing", concept_code="22"),
            concept_line(5, "", vocabulary_id="CPT4"),
            concept_line(6, "Mumps", vocabulary_id="ICD10", concept_class_id="4-char billing code"),
        ],
        "concept_synonym": [
            "1\tWheezy lung\t4180186",
            "1\tAsthma\t4180186",
            "1\tWheezy lung\t4180186",
            "1\tAirways, twitchy\t4180186",
            "1\tAstma\t4182503",
            "1\t\t4180186",
            "5\tNameless\t4180186",
            "6\tParotitis\t4180186",
        ],
        "vocabulary": ["None\tOMOP\tOMOP\tv5.0 30-AUG-24\t1", "Unused\tUnused\t\t\t2"],
        "domain": ["Condition\tCondition\t19", "Spec Anatomic Site\tSite\t20"],
    }
    columns = {layout.name: layout.columns for layout in LAYOUTS}
    for name, lines in tables.items():
        (folder / f"{name}.csv").write_text("\n".join(["\t".join(columns[name]), *lines]))
    with psycopg.connect(shared_conninfo) as connection:
        release = load_vocabulary(connection, folder).release_id
        connection.execute('create schema "Some CDM"')
        for name in tables:
            names = (Identifier("Some CDM", name), Identifier("omop_emb", f"{name}_{release}"))
            connection.execute(SQL("create table {} as select * from {}").format(*names))
        # As other loaders make them: bounded texts, and '' where ours has null.
        connection.execute(
            'alter table "Some CDM".concept alter concept_name type varchar(255),'
            " alter domain_id type varchar(20), alter concept_code type varchar(50),"
            " alter invalid_reason type char(1) using coalesce(invalid_reason, '')"
        )
    return shared_conninfo


@pytest.fixture(params=["release", "cdm"])
def connection(
    request: pytest.FixtureRequest, loaded_conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[psycopg.Connection]:
    """A connection that reads the same from a loaded release, then from a CDM."""
    if request.param == "cdm":
        monkeypatch.setenv("OMOP_EMB_VOCABULARY_SCHEMA", "Some CDM")
    with psycopg.connect(make_conninfo(loaded_conninfo, options="-c lock_timeout=2s")) as opened:
        yield opened
        opened.rollback()


def test_concepts_are_looked_up_by_id_without_unknown_ids(connection: psycopg.Connection) -> None:
    found = reader.concepts_by_id(connection, [6, 1, 1, 99, -1, 2**40, 2**70])
    assert sorted(found) == [1, 6]
    assert found[1] == ASTHMA
    assert reader.concepts_by_id(connection, []) == {}


def test_empty_fields_are_none_and_a_blank_name_is_empty(connection: psycopg.Connection) -> None:
    found = reader.concepts_by_id(connection, [2, 3, 5])
    assert (found[2].standard_concept, found[2].invalid_reason) == (None, None)
    assert found[3].invalid_reason == "D"
    assert found[5].concept_name == ""


def test_codes_find_their_concepts_the_valid_and_standard_one_first(connection: psycopg.Connection) -> None:
    assert reader.concepts_by_code(connection, ["C1"], vocabularies=["SNOMED"]) == [ASTHMA]
    assert reader.concepts_by_code(connection, ["C1"], vocabularies=["ICD10"]) == []
    assert [one.concept_id for one in reader.concepts_by_code(connection, ["22"])] == [4, 3]


def test_existing_values_come_from_concepts_and_from_the_defining_tables(
    connection: psycopg.Connection,
) -> None:
    assert reader.existing_values(connection, "domain") == ["Condition", "Device", "Spec Anatomic Site"]
    assert reader.existing_values(connection, "vocabulary") == ["CPT4", "ICD10", "None", "SNOMED", "Unused"]
    assert reader.existing_values(connection, "concept class") == ["4-char billing code", "Disorder"]


@pytest.mark.parametrize(
    ("concept_filter", "kind", "value", "nearest"),
    [
        (ConceptFilter(domains=("Condition", "condition")), "domain", "condition", "Condition"),
        (ConceptFilter(domains=("Conditoin",)), "domain", "Conditoin", "Condition"),
        (ConceptFilter(vocabularies=("snowmed",)), "vocabulary", "snowmed", "SNOMED"),
        (ConceptFilter(concept_classes=("disorders",)), "concept class", "disorders", "Disorder"),
    ],
)
def test_an_unknown_value_in_a_filter_is_refused_with_the_closest_ones(
    connection: psycopg.Connection, concept_filter: ConceptFilter, kind: str, value: str, nearest: str
) -> None:
    with pytest.raises(UnknownValueError) as caught:
        reader.check_filter(connection, concept_filter)
    assert (caught.value.kind, caught.value.value, caught.value.nearest[0]) == (kind, value, nearest)


def test_a_filter_of_existing_values_passes(connection: psycopg.Connection) -> None:
    known = ConceptFilter(domains=("Device",), vocabularies=("Unused",), concept_classes=("Disorder",))
    reader.check_filter(connection, known)
    reader.check_filter(connection, ConceptFilter(domains=(), concept_ids=(99,)))


def test_a_build_embeds_each_text_once_and_no_blank_text(connection: psycopg.Connection) -> None:
    expected = [
        (1, "c", "C1"),
        (1, "n", "Asthma"),
        (1, "s", "Airways, twitchy"),
        (1, "s", "Wheezy lung"),
        (2, "c", "1"),
        (2, "n", "Asthma inhaler"),
        (3, "c", "22"),
        (3, "n", "Wheeze"),
        (4, "c", "22"),
        (4, "n", "Wheezing"),
        (6, "c", "C6"),
        (6, "n", "Mumps"),
        (6, "s", "Parotitis"),
    ]
    every = Recipe(texts="name+synonyms+codes", concept_filter=ConceptFilter())
    assert desired_texts(connection, every) == expected
    synonyms = desired_texts(connection, replace(every, texts="name+synonyms"))
    assert synonyms == [row for row in expected if row[1] != "c"]
    assert desired_texts(connection, replace(every, texts="name")) == [
        row for row in expected if row[1] == "n"
    ]


@pytest.mark.parametrize(
    ("languages", "synonyms"),
    [
        ((4182503,), [(1, "s", "Astma")]),
        ((4182503, 4180186), [(1, "s", "Airways, twitchy"), (1, "s", "Astma"), (1, "s", "Wheezy lung")]),
        ((), []),
    ],
)
def test_a_build_embeds_synonyms_of_the_chosen_languages(
    connection: psycopg.Connection, languages: tuple[int, ...], synonyms: list[tuple[int, str, str]]
) -> None:
    recipe = Recipe(synonym_languages=languages, concept_filter=ConceptFilter(concept_ids=(1,)))
    assert [row for row in desired_texts(connection, recipe) if row[1] == "s"] == synonyms


@pytest.mark.parametrize(
    ("concept_filter", "ids"),
    [
        (ConceptFilter(), [1, 2, 3, 4, 6]),
        (ConceptFilter(standard_only=True), [1, 4, 6]),
        (ConceptFilter(valid_only=True), [1, 2, 4, 6]),
        (ConceptFilter(domains=("Device",)), [2]),
        (ConceptFilter(vocabularies=("SNOMED", "ICD10"), standard_only=True), [1, 4, 6]),
        (ConceptFilter(concept_classes=("4-char billing code",)), [6]),
        (ConceptFilter(concept_ids=(4, 5, 99)), [4]),
        (ConceptFilter(domains=()), []),
    ],
)
def test_a_build_embeds_the_concepts_that_pass_the_filter(
    connection: psycopg.Connection, concept_filter: ConceptFilter, ids: list[int]
) -> None:
    recipe = Recipe(texts="name", concept_filter=concept_filter)
    assert [row[0] for row in desired_texts(connection, recipe)] == ids


def test_the_status_shows_the_vocabulary(connection: psycopg.Connection) -> None:
    status = reader.vocabulary_status(connection)
    assert status is not None
    assert status.version == "v5.0 30-AUG-24"
    assert status.blank_names == 1
    assert status.rows["concept"] == 6
    if status.schema == "Some CDM":
        assert (status.source, status.loaded_at, status.has_trigrams) == (None, None, False)
        assert set(status.rows) == {"concept", "concept_synonym", "vocabulary", "domain"}
    else:
        assert status.rows == {"concept": 6, "concept_synonym": 8, "vocabulary": 2, "domain": 2}
        assert status.loaded_at is not None
        assert status.has_trigrams
