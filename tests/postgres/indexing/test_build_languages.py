"""Synonyms in other languages: chosen by name, code or id, embedded on request, found by terms in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from psycopg.sql import SQL
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from omop_emb import EmbeddingRole, IndexType
from omop_emb.database.engine import driver_connection
from omop_emb.errors import InputError, UnknownValueError
from omop_emb.indexing import RecipeChange
from omop_emb.indexing.build_plan import preview_build
from omop_emb.indexing.estimate import estimate_build
from omop_emb.indexing.status import space_statuses
from omop_emb.mapping import map_terms
from omop_emb.mapping.records import Retriever
from omop_emb.providers.base import EmbeddingResponse
from omop_emb.vocabulary.languages import language_names, resolve_languages
from omop_emb.vocabulary.reader import require_vocabulary
from tests.builds import build_with
from tests.small_vocabulary import (
    ENGLISH,
    GERMAN,
    ConceptRow,
    CountingProvider,
    SmallVocabulary,
    counting_client,
    five_concepts,
)

FINNISH = 4181730


class _AnyRole(CountingProvider):
    """A model that embeds a query as the document of the same text."""

    def embed_batch(
        self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float
    ) -> EmbeddingResponse:
        plain = [text.removeprefix("q: ") for text in texts]
        return super().embed_batch(plain, EmbeddingRole.DOCUMENT, timeout_seconds=timeout_seconds)


@pytest.fixture
def vocabulary(engine: Engine, tmp_path: Path) -> SmallVocabulary:
    return five_concepts(engine, tmp_path)


def resolved(engine: Engine, *wanted: int | str) -> tuple[int, ...]:
    with engine.connect() as connection:
        driver = driver_connection(connection)
        return resolve_languages(driver, require_vocabulary(driver), wanted)


def build(engine: Engine, *languages: int | str) -> list[str]:
    """The texts that a build with these languages embeds."""
    provider = CountingProvider()
    build_with(
        engine,
        counting_client(provider),
        index_type=IndexType.FLAT,
        synonym_languages=languages or None,
    )
    return sorted(provider.sent)


def shown_languages(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return [
            str(one.details()["synonym_languages"]) for one in space_statuses(driver_connection(connection))
        ]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (("de",), (GERMAN,)),
        (("German", "english"), (GERMAN, ENGLISH)),
        (("German language", "de", GERMAN, str(GERMAN)), (GERMAN,)),
        (("all",), (ENGLISH, GERMAN)),
        (("en",), (ENGLISH,)),
    ],
)
def test_languages_are_named_by_code_name_or_concept_id(
    engine: Engine, vocabulary: SmallVocabulary, wanted: tuple[int | str, ...], expected: tuple[int, ...]
) -> None:
    assert resolved(engine, *wanted) == expected


def test_a_language_without_synonyms_or_without_a_concept_is_refused(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    with pytest.raises(InputError, match="no synonyms in Spanish; those that it has are in: English, German"):
        resolved(engine, "es")
    with pytest.raises(InputError, match="no concept of the language Finnish: give its OMOP concept id"):
        resolved(engine, "fi")
    with pytest.raises(UnknownValueError, match="there is no language 'germna'; did you mean 'German'"):
        resolved(engine, "germna")


def test_a_language_that_is_not_in_the_table_is_found_by_its_concept(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    vocabulary.load(ConceptRow(FINNISH, "Finnish language", domain="Observation"))
    with engine.connect() as connection:
        driver = driver_connection(connection)
        tables = require_vocabulary(driver)
        assert tables.concept_synonym is not None
        insert = SQL("insert into {} values (1, 'Verenpainetauti', %s)").format(tables.concept_synonym)
        driver.execute(insert, (FINNISH,))
        for name in ("fi", "Finnish", "finnish language"):
            assert resolve_languages(driver, tables, [name]) == (FINNISH,)
        assert language_names(driver, tables, [FINNISH, GERMAN, 0, 77]) == [
            "Finnish",
            "German",
            "not said",
            "language 77",
        ]
        driver.rollback()


def test_more_languages_embed_only_their_synonyms_and_are_remembered_and_shown(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build(engine)
    assert shown_languages(engine) == ["English"]
    assert build(engine, "en", "de") == ["Bluthochdruck"]
    assert shown_languages(engine) == ["English, German"]
    assert build(engine) == []
    assert shown_languages(engine) == ["English, German"]
    assert build(engine, "en") == []
    assert shown_languages(engine) == ["English"]


def test_an_estimate_counts_the_synonyms_of_the_languages(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build(engine)
    client = counting_client()
    recipe = RecipeChange(synonym_languages=("all",))
    preview = preview_build(engine, client.fingerprint, index_type=IndexType.FLAT, recipe=recipe)
    assert estimate_build(client, preview, measure=False).texts == 1
    with pytest.raises(InputError, match="no synonyms in Spanish"):
        preview_build(
            engine,
            client.fingerprint,
            index_type=IndexType.FLAT,
            recipe=RecipeChange(synonym_languages=("es",)),
        )


def test_a_term_in_another_language_is_found_exactly_by_spelling_and_by_its_vector(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    build(engine, "all")
    with Session(engine) as session:
        client = counting_client(_AnyRole())
        (equal, misspelt) = map_terms(session, ["Bluthochdruck", "Bluthochdruk"], client=client)
    assert equal.best is not None
    assert (equal.best.concept_id, equal.best.matched_text, equal.best.matched_kind) == (
        1,
        "Bluthochdruck",
        "synonym",
    )
    assert {Retriever.EXACT, Retriever.LEXICAL, Retriever.DENSE} <= equal.best.retrievers.keys()
    # Which one is first says nothing here: the vectors are made up.
    found = next(one for one in misspelt.candidates if one.concept_id == 1)
    assert (found.matched_text, Retriever.LEXICAL in found.retrievers) == ("Bluthochdruck", True)
