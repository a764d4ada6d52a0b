"""A CDM whose names are quoted and in upper case: what is said, and the page's views of it."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy.orm import Session

from omop_emb.database.engine import driver_connection
from omop_emb.errors import VocabularyError
from omop_emb.mapping.mapper import map_terms
from omop_emb.records import ConceptFilter
from omop_emb.service.concept_finder import find_concepts
from omop_emb.vocabulary import reader
from omop_emb.vocabulary.layout import LAYOUTS
from tests.docs.test_examples import fences

PAGE = Path(__file__).parents[3] / "docs/how-to/cdm-schema.md"
VIEWS = next(fence.text for fence in fences(PAGE.read_text()) if fence.info == "sql")
REMEDY = r".*views of them in another schema, as docs/how-to/cdm-schema\.md shows, and set OMOP_EMB_VOCABUL"


def copy_tables(
    connection: psycopg.Connection, tables: str, columns: str, *, only: tuple[str, ...] = ()
) -> None:
    """Copy the sample's tables into the schema "CDM", with names by these methods of a string."""
    connection.execute('create schema if not exists "CDM"')
    for layout in LAYOUTS:
        if only and layout.name not in only:
            continue
        selected = SQL(", ").join(
            SQL("{} as {}").format(Identifier(column), Identifier(getattr(column, columns)()))
            for column in layout.columns
        )
        connection.execute(
            SQL("create table {} as select {} from {}").format(
                Identifier("CDM", getattr(layout.name, tables)()),
                selected,
                Identifier("omop_emb", f"{layout.name}_1"),
            )
        )


@pytest.mark.parametrize(
    ("tables", "columns", "said"),
    [
        ("upper", "upper", '"CONCEPT", "CONCEPT_ANCESTOR", "CONCEPT_CLASS" and 5 more'),
        ("lower", "title", 'CDM.concept has columns "Concept_Id", "Concept_Name", "Domain_Id" and 7 more'),
    ],
)
def test_other_letter_case_is_named_and_the_views_of_the_page_search_and_map(
    sample: Session, monkeypatch: pytest.MonkeyPatch, tables: str, columns: str, said: str
) -> None:
    terms = ["OSTEOARTHRITIS", "aspirin 81mg tab"]
    condition = ConceptFilter(domains=("Condition",))

    def answers() -> list[object]:
        mapped = [(one.probability, one.candidates) for one in map_terms(sample, terms)]
        found = find_concepts(sample, "broken arm", concept_filter=condition).concepts
        return [mapped, [(one.concept, one.score) for one in found]]

    of_the_release = answers()
    connection = driver_connection(sample)
    copy_tables(connection, tables, columns)
    monkeypatch.setenv("OMOP_EMB_VOCABULARY_SCHEMA", "CDM")
    with pytest.raises(VocabularyError, match=re.escape(said) + REMEDY) as caught:
        map_terms(sample, terms)
    assert "\n" not in str(caught.value)
    connection.execute(VIEWS.encode())
    monkeypatch.setenv("OMOP_EMB_VOCABULARY_SCHEMA", "omop_vocabulary")
    status = reader.vocabulary_status(connection)
    assert status is not None
    assert set(status.rows) == {layout.name for layout in LAYOUTS}
    assert answers() == of_the_release


@pytest.mark.parametrize(
    ("statement", "schema", "said"),
    [
        ('alter table "CDM".domain rename to "DOMAIN"', "CDM", r'schema \'CDM\' .* has "DOMAIN": .*views'),
        (
            'alter table "CDM".concept rename concept_code to "Concept_Code"',
            "CDM",
            r'table CDM\.concept has columns "Concept_Code": .*views',
        ),
        (
            'alter table "CDM".domain rename domain_id to "DOMAIN_ID"',
            "CDM",
            r'table CDM\.domain has columns "DOMAIN_ID": .*views',
        ),
        ('alter table "CDM".concept rename to "Concept"', "CDM", r'has "Concept": .*views'),
        ("select 1", "cdm", r"there is no schema 'cdm' .*, but 'CDM': set the variable to that"),
        ("select 1", "Cdm", r"there is no schema 'Cdm' .*, but 'CDM': set the variable to that"),
        ("select 1", '"CDM"', r"there is no schema '\"CDM\"' .*, but 'CDM': .* without quotation marks"),
        ("select 1", "CDM ", None),
        ("select 1", "none", r"schema 'none' .* has no table concept"),
        # What is in lower case beside it is read; what no table of ours names is left alone.
        ('create table "CDM"."CONCEPT" (x int)', "CDM", None),
        ('alter table "CDM".concept add "CONCEPT_ID" int', "CDM", None),
        ('alter table "CDM".concept add "LOADED_AT" date', "CDM", None),
        ('create table "CDM"."PERSON" (x int)', "CDM", None),
        ('create sequence "CDM"."CONCEPT"', "CDM", None),
    ],
)
def test_each_name_in_other_letter_case_is_said_in_one_line(
    sample: Session, monkeypatch: pytest.MonkeyPatch, statement: str, schema: str, said: str | None
) -> None:
    connection = driver_connection(sample)
    copy_tables(connection, "lower", "lower", only=("concept", "domain"))
    connection.execute(statement.encode())
    monkeypatch.setenv("OMOP_EMB_VOCABULARY_SCHEMA", schema)
    if said is None:
        tables = reader.vocabulary_tables(connection)
        assert tables is not None
        assert tables.schema == "CDM"
        return
    with pytest.raises(VocabularyError, match=said) as caught:
        reader.vocabulary_tables(connection)
    assert "\n" not in str(caught.value)
