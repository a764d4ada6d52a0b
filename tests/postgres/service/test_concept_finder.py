"""Concept finder: mapping's own ranking for one text, warm, and never of an earlier state of the database."""

from __future__ import annotations

import gc
import shutil
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
from sqlalchemy.orm import Session

from omop_emb import ConceptFilter, database_engine, find_concepts
from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.errors import DatabaseError, InputError, OmopEmbError, UnknownValueError
from omop_emb.mapping.approvals.approval_store import Approval, remember_approvals, withdraw_approvals
from omop_emb.mapping.mapper import map_terms
from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.retrieval.vocabulary_index import needed_index
from omop_emb.mapping.settings import Settings
from omop_emb.providers.local import LocalProvider
from omop_emb.service import ConceptFinder, FoundConcepts, demo
from omop_emb.service.warm_resources import WarmResources
from omop_emb.spaces import lifecycle, registry
from omop_emb.spaces.recipe import STANDARD_AND_VALID
from omop_emb.vocabulary import loader
from omop_emb.vocabulary.releases import rollback_vocabulary
from tests.close_answers import assert_close
from tests.conftest import NewDatabase, as_url

ANY = ConceptFilter()


@pytest.fixture(scope="module")
def shared_engine(
    sample_template: str, server_conninfo: str, new_database: NewDatabase
) -> Iterator[sqlalchemy.Engine]:
    """The embedded sample vocabulary, for tests that change nothing in it."""
    with new_database(sample_template) as name:
        engine = database_engine(as_url(server_conninfo, dbname=name))
        yield engine
        engine.dispose()


@pytest.fixture(scope="module")
def finder(shared_engine: sqlalchemy.Engine) -> Iterator[ConceptFinder]:
    with ConceptFinder(shared_engine) as opened:
        yield opened


@pytest.fixture
def own_engine(sample_database_url: str) -> Iterator[sqlalchemy.Engine]:
    engine = database_engine(sample_database_url)
    yield engine
    engine.dispose()


def _activate(engine: sqlalchemy.Engine, name: str) -> None:
    with session_scope(engine) as session:
        connection = driver_connection(session)
        lifecycle.activate_space(connection, registry.space_by_name(connection, name))


def _ids(found: FoundConcepts) -> list[int]:
    return [hit.concept.concept_id for hit in found.concepts]


@pytest.mark.parametrize(
    ("text", "concept_id", "through"),
    [
        ("heart attack", 4329847, "synonym 'Heart attack'"),
        ("HEART ATTACK", 4329847, "synonym 'Heart attack'"),
        ("Myocardial infarction", 4329847, "exact name"),
        ("HTN", 316866, "abbreviation: HTN = hypertension; synonym 'Hypertension'"),
        ("T2DM", 201826, "abbreviation: T2DM = type 2 diabetes mellitus; exact name"),
        ("MI", 4329847, "abbreviation: MI = myocardial infarction; exact name"),
        ("hypertensn", 316866, "spelling of 'hypertensn'"),
        ("SNOMED:22298006", 4329847, "code SNOMED 22298006"),
        ("sct:22298006", 4329847, "code SNOMED 22298006"),
        ("22298006", 4329847, "code SNOMED 22298006"),
        ("2160-0", 3016723, "code LOINC 2160-0"),
        ("4329847", 4329847, "concept id 4329847"),
        (" 4329847.0 ", 4329847, "concept id 4329847"),
        ("k92.2", 35208414, "code ICD10CM K92.2"),
        (" K92.2", 35208414, "code ICD10CM K92.2"),
    ],
)
def test_a_hit_says_through_what_it_was_found(
    finder: ConceptFinder, text: str, concept_id: int, through: str
) -> None:
    first = finder.find(text).concepts[0]
    assert first.concept.concept_id == concept_id
    assert first.found_through.startswith(through)


def _asked() -> list[str]:
    """The demo's terms, and others: in capitals, misspelt, with a word that is not clinical."""
    names = [term.source_term for term in demo.terms()]
    return [
        *names,
        *(name.upper() for name in names),
        *(f"pt with {name}" for name in names),
        "MS",
        "T4",
        "%",
    ]


def test_concepts_are_ranked_as_map_ranks_them(
    finder: ConceptFinder, shared_engine: sqlalchemy.Engine
) -> None:
    texts = _asked()
    settings = Settings(candidates=12)
    with Session(shared_engine) as session:
        mapped = map_terms(session, texts, settings=settings)
    answers = finder.find_all(texts, k=12)
    for text, of_map, answer in zip(texts, mapped, answers, strict=True):
        assert_close(tuple(hit.candidate for hit in answer.concepts), of_map.candidates, text)
        one_alone = finder.find(text, k=12)
        assert _ids(one_alone) == [candidate.concept_id for candidate in of_map.candidates], text
        assert [hit.probability for hit in one_alone.concepts[:1]] == pytest.approx(
            [candidate.probability for candidate in of_map.candidates[:1]], abs=1e-4
        )


@pytest.mark.parametrize("settings", [None, Settings(candidates=3, explain=2), Settings(concept_filter=ANY)])
def test_terms_are_mapped_exactly_as_map_terms_does(
    finder: ConceptFinder, shared_engine: sqlalchemy.Engine, settings: Settings | None
) -> None:
    terms = [
        SourceTerm(name="heart attack", domain="condition"),
        SourceTerm(name="", code="22298006", source_vocabulary="SNOMED"),
        SourceTerm(name="glucose", frequency=3),
    ]
    with Session(shared_engine) as session:
        assert_close(finder.map(terms, settings=settings), map_terms(session, terms, settings=settings))


def test_one_search_in_a_transaction_of_ones_own_answers_the_same(
    finder: ConceptFinder, shared_engine: sqlalchemy.Engine
) -> None:
    with Session(shared_engine) as session:
        for text in ("heart attack", "HTN", "22298006", "999999999"):
            assert_close(find_concepts(session, text), finder.find(text))


def test_a_preference_by_hand_orders_a_search_as_it_orders_mapping(
    finder: ConceptFinder, shared_engine: sqlalchemy.Engine
) -> None:
    preferred = finder.find("glucose", k=12, prefer=["specimen=blood"])
    assert _ids(preferred) != _ids(finder.find("glucose", k=12))
    with Session(shared_engine) as session:
        settings = Settings(candidates=12, prefer=["specimen=blood"])
        (mapped,) = map_terms(session, ["glucose"], settings=settings)
        assert [one.concept_id for one in mapped.candidates] == _ids(preferred)
        assert _ids(find_concepts(session, "glucose", k=12, prefer=["specimen=blood"])) == _ids(preferred)
    with pytest.raises(UnknownValueError, match="specimen=blood"):
        finder.find("glucose", prefer=["specimen=bloods"])


def test_pages_are_parts_of_one_ranking(finder: ConceptFinder) -> None:
    whole = finder.find("diabetes", k=9)
    pages = [finder.find("diabetes", k=3, offset=offset) for offset in (0, 3, 6)]
    assert tuple(hit for page in pages for hit in page.concepts) == whole.concepts
    assert [hit.rank for hit in pages[2].concepts] == [7, 8, 9]
    assert finder.find("diabetes", k=1, offset=999).concepts == ()


@pytest.mark.parametrize(
    ("text", "expansions"),
    [
        ("HTN", ("hypertension",)),
        ("MS", ("multiple sclerosis", "mental status")),
        ("MI", ("myocardial infarction", "mitral insufficiency")),
        ("hx of HTN", ("history of hypertension",)),
        ("hypertension", ()),
    ],
)
def test_each_reading_of_an_abbreviation_is_said(
    finder: ConceptFinder, text: str, expansions: tuple[str, ...]
) -> None:
    assert finder.find(text).expansions == expansions


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("diabtes", "diabetes"),
        ("hypertensoin", "hypertension"),
        ("metfromin", "metformin"),
        ("myocardial infraction", None),  # a word of the vocabulary, or found as it stands
        ("hypertension", None),
        ("qqqq zzzz", None),
        ("HTN", None),
        ("1234567 mg", None),
    ],
)
def test_a_better_spelling_is_suggested_and_finds_something(
    finder: ConceptFinder, text: str, suggestion: str | None
) -> None:
    found = finder.find(text)
    if suggestion is None:
        assert not found.suggestions or text == "myocardial infraction"
    else:
        assert found.suggestions[0] == suggestion
    for better in found.suggestions:
        assert finder.find(better).concepts


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("999999999", "there is no concept 999999999"),
        ("SNOMED:000", "has no code '000'"),
        ("ICD9CM:250.00", "no concept of vocabulary ICD9CM is loaded"),
        ("ICD10XM:E11.9", "there is no vocabulary 'ICD10XM'"),
    ],
)
def test_an_id_or_code_that_does_not_exist_is_reported_and_never_searched_as_text(
    finder: ConceptFinder, text: str, note: str
) -> None:
    found = finder.find(text)
    assert (found.concepts, found.is_missing) == ((), True)
    assert note in found.notes[0]


@pytest.mark.parametrize("text", ["???", "--", " . "])
def test_a_text_that_says_nothing_finds_nothing_and_says_so(finder: ConceptFinder, text: str) -> None:
    assert finder.find(text).notes == ("the text has no letter or digit to search for",)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "a\0b",
            "SNOMED:\0001",
            "12\0003",
            "gout\0",
            "\ud800",
            "SNOMED:\ud800123",
            "E11\ud800.9",
            "9" * 5000,
        ),
        *(
            "x" * 20_000,
            "gout " * 3_000,
            "a" * 300 + ":1",
            "' or 1=1 --",
            "%s %(x)s",
            "\u202egout",
            "\u0663\u0662",
        ),
    ],
    ids=lambda text: ascii(text[:12]),
)
def test_whatever_is_typed_is_answered_or_refused_as_input(finder: ConceptFinder, text: str) -> None:
    with suppress(InputError):
        assert finder.find(text).query == text
    assert len(finder.complete(text)) <= 10


@pytest.mark.parametrize(
    ("concept_filter", "text", "allowed"),
    [
        (replace(STANDARD_AND_VALID, domains=("Drug",)), "aspirin", lambda c: c.domain_id == "Drug"),
        (
            replace(STANDARD_AND_VALID, vocabularies=("LOINC",)),
            "glucose",
            lambda c: c.vocabulary_id == "LOINC",
        ),
        (
            replace(STANDARD_AND_VALID, concept_classes=("Procedure",)),
            "biopsy",
            lambda c: c.concept_class_id == "Procedure",
        ),
        (
            replace(STANDARD_AND_VALID, concept_ids=(316866, 201826)),
            "HTN",
            lambda c: c.concept_id in (316866, 201826),
        ),
        (STANDARD_AND_VALID, "allergy to nut", lambda c: c.standard_concept == "S"),
        (ConceptFilter(valid_only=True), "allergy to animal dander", lambda c: c.invalid_reason is None),
        (ConceptFilter(standard_only=True), "allergy to nut", lambda c: c.standard_concept == "S"),
    ],
)
def test_only_concepts_that_pass_the_filter_are_found(
    finder: ConceptFinder, concept_filter: ConceptFilter, text: str, allowed: Any
) -> None:
    found = finder.find(text, concept_filter=concept_filter, k=20)
    assert found.concepts
    assert all(allowed(hit.concept) for hit in found.concepts)
    completed = finder.complete(text[:4], concept_filter=concept_filter)
    assert all(allowed(completion.concept) for completion in completed)


def test_a_non_standard_concept_is_found_with_what_it_maps_to(finder: ConceptFinder) -> None:
    of_icd = ConceptFilter(vocabularies=("ICD10CM",))
    hit = finder.find("Gastrointestinal hemorrhage, unspecified", concept_filter=of_icd).concepts[0]
    assert (hit.concept.concept_id, hit.concept.standard_concept, hit.probability) == (35208414, None, None)
    assert [target.concept_id for target in hit.maps_to] == [192671]
    for text in ("35208414", "ICD10CM:K92.2", "K92.2"):
        (looked_up,) = finder.find(text).concepts
        assert (looked_up.concept, looked_up.maps_to) == (hit.concept, hit.maps_to)


def test_why_a_concept_is_invalid_is_said(finder: ConceptFinder) -> None:
    first = finder.find("allergy to animal dander", concept_filter=ANY).concepts[0]
    assert (first.concept.concept_id, first.concept.invalid_reason) == (439406, "U")


def test_a_filter_that_nothing_passes_is_said_and_an_unknown_value_is_an_error(finder: ConceptFinder) -> None:
    nothing = replace(STANDARD_AND_VALID, domains=("Condition",), vocabularies=("RxNorm",))
    assert finder.find("gout", concept_filter=nothing).notes == ("no concept passes the filter",)
    assert finder.complete("gout", concept_filter=nothing) == ()
    for ask in (finder.find, finder.complete):
        with pytest.raises(UnknownValueError, match="did you mean 'Condition'"):
            ask("gout", concept_filter=ConceptFilter(domains=("condition",)))


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("", {}, "give a text"),
        (" \n", {}, "give a text"),
        ("gout", {"k": 0}, "k must be a whole number, at least 1"),
        ("gout", {"offset": -1}, "offset must be a whole number, at least 0"),
        ("gout", {"k": 600, "offset": 600}, "at most 1,000"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    finder: ConceptFinder, text: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        finder.find(text, **options)


@pytest.mark.parametrize(
    ("prefix", "concept_id", "text"),
    [
        ("heart atta", 4329847, "Heart attack"),
        ("HEART ATTA", 4329847, "Heart attack"),
        ("heart attack ", 4329847, "Heart attack"),
        ("infarc", 4329847, None),
        ("haemoglobin", 3000963, None),
        ("htn", 316866, "Hypertension"),
        ("type 2 dia", 201826, "Type 2 diabetes mellitus"),
    ],
)
def test_a_text_is_completed_by_any_of_its_words(
    finder: ConceptFinder, prefix: str, concept_id: int, text: str | None
) -> None:
    completed = {completion.concept.concept_id: completion.text for completion in finder.complete(prefix)}
    assert completed.get(concept_id), completed
    assert text in (None, completed[concept_id])
    assert len(completed) <= 10


@pytest.mark.parametrize("prefix", ["", " ", "???", "qqqqqqq", "\x00", "%"])
def test_nothing_is_completed_where_no_word_begins_so(finder: ConceptFinder, prefix: str) -> None:
    assert finder.complete(prefix) == ()


def test_threads_get_the_answers_that_one_alone_gets(shared_engine: sqlalchemy.Engine) -> None:
    texts = [term.source_term for term in demo.terms()][:24]
    with ConceptFinder(shared_engine) as finder, ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(finder.find, texts))
        assert [_ids(answer) for answer in at_once] == [_ids(finder.find(text)) for text in texts]


def test_the_question_after_an_activation_is_answered_by_the_new_space(own_engine: sqlalchemy.Engine) -> None:
    with ConceptFinder(own_engine) as finder:
        spaces = [finder.find("gout").provenance.space_id]
        for name in ("all-MiniLM-L6-v2-hnsw", "all-MiniLM-L6-v2-flat"):
            _activate(own_engine, name)
            spaces.append(finder.find("gout").provenance.space_id)
        assert spaces == [1, 2, 1]


def test_a_name_that_is_approved_is_found_at_the_next_question_until_it_is_withdrawn(
    own_engine: sqlalchemy.Engine,
) -> None:
    with ConceptFinder(own_engine, site="north") as finder:
        assert finder.find("sugar sickness").concepts[0].concept.concept_id != 201826
        with session_scope(own_engine) as session:
            approval = Approval(source_name="sugar sickness", concept_id=201826)
            remember_approvals(driver_connection(session), "north", [approval], "file.csv")
        first = finder.find("sugar sickness").concepts[0]
        assert (first.concept.concept_id, first.found_through) == (
            201826,
            "approved here before as 'sugar sickness'",
        )
        with session_scope(own_engine) as session:
            withdraw_approvals(driver_connection(session), "north")
        assert finder.find("sugar sickness").concepts[0].concept.concept_id != 201826


def test_the_question_after_a_load_or_rollback_is_answered_by_that_release(
    own_engine: sqlalchemy.Engine, tmp_path: Path
) -> None:
    renamed = tmp_path / "renamed"
    shutil.copytree(demo.SAMPLE, renamed)
    synonyms = renamed / "CONCEPT_SYNONYM.csv"
    synonyms.write_text(synonyms.read_text().replace("Heart attack", "Heartly attackness"))

    with ConceptFinder(own_engine) as following:

        def completed(prefix: str) -> list[int]:
            return [one.concept.concept_id for one in following.complete(prefix)]

        assert completed("heartly") == []
        with session_scope(own_engine) as session:
            loader.load_vocabulary(driver_connection(session), renamed)
        assert completed("heartly") == [4329847]
        found = following.find("heartly attackness")
        assert found.concepts[0].found_through == "synonym 'Heartly attackness'"
        with session_scope(own_engine) as session:
            rollback_vocabulary(driver_connection(session))
        assert completed("heartly") == []


def test_few_indexes_of_non_standard_concepts_stay_in_memory(shared_engine: sqlalchemy.Engine) -> None:
    resources = WarmResources(shared_engine, "default")
    filters = [ConceptFilter(vocabularies=(name,)) for name in ("ICD10CM", "SNOMED", "LOINC", "RxNorm")]
    with session_scope(shared_engine) as session:
        question = resources.ask(session)
    read = [resources.get(question, Settings(concept_filter=chosen)) for chosen in (*filters, filters[-1])]
    assert read[-1] is read[-2]
    kept = weakref.WeakSet(read)
    del read
    gc.collect()
    assert len(kept) == 2


def test_a_filter_of_domains_needs_no_index_of_its_own() -> None:
    by_domain, by_class = ConceptFilter(domains=("Drug",)), ConceptFilter(concept_classes=("Ingredient",))
    assert needed_index(by_domain) == needed_index(by_class) == ANY
    assert needed_index(replace(STANDARD_AND_VALID, vocabularies=("LOINC",))) == STANDARD_AND_VALID


def test_no_transaction_waits_while_the_model_embeds(
    own_engine: sqlalchemy.Engine, sample_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[int] = []
    embed_batch = LocalProvider.embed_batch

    def watched(*arguments: Any, **options: Any) -> Any:
        with psycopg.connect(sample_database_url) as watcher:
            row = watcher.execute(
                "select count(*) from pg_stat_activity where datname = current_database() "
                "and state like 'idle in transaction%'"
            ).fetchone()
            waiting.append(row[0] if row else -1)
        return embed_batch(*arguments, **options)

    with ConceptFinder(own_engine, site="north") as finder:
        with session_scope(own_engine) as session:
            approval = Approval(source_name="sugar sickness", concept_id=201826)
            remember_approvals(driver_connection(session), "north", [approval], "file.csv")
        monkeypatch.setattr(LocalProvider, "embed_batch", watched)
        finder.find("a text that nobody has embedded")
    assert len(waiting) == 2
    assert set(waiting) == {0}


def test_while_the_database_is_away_an_error_says_so_and_afterwards_it_answers_again(
    own_engine: sqlalchemy.Engine, sample_database_url: str, server_conninfo: str
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(sample_database_url)["dbname"]
    allow = psycopg.sql.SQL("alter database {} allow_connections {}")
    with ConceptFinder(own_engine) as finder, psycopg.connect(server_conninfo, autocommit=True) as server:
        before = finder.find("gout")
        server.execute(allow.format(psycopg.sql.Identifier(str(name)), psycopg.sql.SQL("false")))
        server.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
        try:
            for ask in (finder.find, finder.complete):
                with pytest.raises(DatabaseError):
                    ask("gout")
        finally:
            server.execute(allow.format(psycopg.sql.Identifier(str(name)), psycopg.sql.SQL("true")))
        assert finder.find("gout") == before


def test_a_question_during_an_activation_never_fails_or_waits_for_ever(own_engine: sqlalchemy.Engine) -> None:
    errors: list[OmopEmbError] = []
    spaces: set[int | None] = set()
    stop = threading.Event()

    def ask(asked: ConceptFinder) -> None:
        while not stop.is_set():
            try:
                spaces.add(asked.find("gout").provenance.space_id)
            except OmopEmbError as error:
                errors.append(error)

    with ConceptFinder(own_engine) as finder, ThreadPoolExecutor(3) as pool:
        askers = [pool.submit(ask, finder) for _ in range(3)]
        for name in ("all-MiniLM-L6-v2-hnsw", "all-MiniLM-L6-v2-flat") * 2:
            _activate(own_engine, name)
            finder.find("gout")
        stop.set()
        for asker in askers:
            asker.result(60)
    assert (errors, spaces) == ([], {1, 2})


def test_an_empty_database_is_an_error_that_says_what_to_run(
    engine: sqlalchemy.Engine, empty_database_url: str, tmp_path: Path
) -> None:
    empty = database_engine(empty_database_url)
    for bare in (engine, empty):
        with ConceptFinder(bare) as finder, pytest.raises(OmopEmbError, match="omop-emb index build"):
            finder.find("gout")
    empty.dispose()
