"""Conflicts of a review: computed from the decisions and the vocabulary, and gone when they are resolved."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import Engine

from omop_emb.errors import BusyError, InputError
from omop_emb.mapping.records import SourceTerm
from omop_emb.service.review.conflict_dismissals import call_right
from omop_emb.service.review.conflict_records import Conflict, ConflictKind
from omop_emb.service.review.decision_records import Action, NewDecision, ReviewState, Target, Verdict
from omop_emb.service.review.decision_store import decide, undo
from omop_emb.service.review.known_conflicts import KnownConflicts
from omop_emb.service.review.project_records import ReviewTerm
from omop_emb.service.review.project_store import create_project, store_terms
from omop_emb.service.review.review_conflicts import conflicts_of_term, find_conflicts
from omop_emb.service.review.term_keys import group_key, text_key
from tests.small_vocabulary import ConceptRow, SmallVocabulary

FRACTURE, LEFT_FRACTURE, OLD, LOCAL, GLUCOSE, ASPIRIN, ARM = 1, 2, 3, 4, 5, 6, 7

VOCABULARY = (
    ConceptRow(FRACTURE, "Fracture of wrist"),
    ConceptRow(LEFT_FRACTURE, "Fracture of left wrist", ancestors=((FRACTURE, 1), (ARM, 2))),
    ConceptRow(OLD, "Old concept", standard="", invalid="D"),
    ConceptRow(LOCAL, "Local concept", standard=""),
    ConceptRow(GLUCOSE, "Glucose measurement", domain="Measurement", concept_class="Lab Test"),
    ConceptRow(ASPIRIN, "Aspirin 100 MG Oral Tablet", domain="Drug", vocabulary="RxNorm"),
    ConceptRow(ARM, "Fracture of arm"),
)


@pytest.fixture
def connection(
    database_url: str, vocabulary_of: Callable[[str], SmallVocabulary]
) -> Iterator[psycopg.Connection]:
    vocabulary_of(database_url).load(*VOCABULARY)
    with psycopg.connect(database_url) as opened:
        yield opened
        opened.rollback()


@pytest.fixture
def vocabulary_of(tmp_path: object, engine: Engine) -> Callable[[str], SmallVocabulary]:
    return lambda _: SmallVocabulary(engine, tmp_path)  # type: ignore[arg-type] # pytest's tmp_path is a Path


Terms = Sequence[tuple[str, str, tuple[int, ...]]]


def review(
    connection: psycopg.Connection, terms: Terms, *, domains: Sequence[str | None] = (), by: str = "Ada"
) -> int:
    """A project of (code, name, targets); no targets is no match."""
    project = create_project(
        connection,
        name=f"review {uuid4()}",
        site="north",
        file_name="terms.csv",
        file_digest="0" * 64,
        settings={},
        created_by="Ada",
        content=io.BytesIO(b"x"),
    )
    sources = [
        SourceTerm(name=name, code=code, line=number + 1, domain=domains[number - 1] if domains else None)
        for number, (code, name, _) in enumerate(terms, start=1)
    ]
    store_terms(
        connection,
        project,
        [
            ReviewTerm(position=number, term=term, text_key=text_key(term.name), group_key=group_key(term))
            for number, term in enumerate(sources, start=1)
        ],
    )
    decide(
        connection,
        project,
        by,
        [deciding(position, targets) for position, (_, _, targets) in enumerate(terms, start=1)],
    )
    return project


def deciding(position: int, targets: Sequence[int], version: int = 0) -> NewDecision:
    state = ReviewState.APPROVED if targets else ReviewState.NO_MATCH
    verdict = Verdict(state=state, targets=tuple(map(Target, targets)))
    return NewDecision(position=position, version=version, verdict=verdict)


def told(conflicts: Sequence[Conflict]) -> list[tuple[str, str, list[int]]]:
    return [(one.kind.value, one.aspect, [term.term.position for term in one.terms]) for one in conflicts]


def test_the_same_code_and_name_with_different_targets(connection: psycopg.Connection) -> None:
    terms: Terms = [
        ("A", "Wrist fracture", (FRACTURE,)),
        ("A", "wrist fractures", (ARM,)),
        ("B", "Arm", (ARM,)),
    ]
    project = review(connection, terms)
    (conflict,) = find_conflicts(connection, project)
    assert told([conflict]) == [("same term", "", [1, 2])]
    assert conflict.is_certain
    decide(connection, project, "Ada", [deciding(2, (FRACTURE,), version=1)])
    assert find_conflicts(connection, project) == []


def test_the_same_code_under_several_names_and_no_match_counts_as_an_answer(
    connection: psycopg.Connection,
) -> None:
    project = review(connection, [("A", "Wrist fracture", (FRACTURE,)), ("A", "Broken wrist", ())])
    assert told(find_conflicts(connection, project)) == [("same code", "", [1, 2])]


def test_terms_without_a_code_are_the_same_by_their_name(connection: psycopg.Connection) -> None:
    terms: Terms = [("", "Wrist fracture", (FRACTURE,)), ("", "WRIST fracture", (ARM,)), ("", "Arm", (ARM,))]
    assert told(find_conflicts(connection, review(connection, terms))) == [("same term", "", [1, 2])]


@pytest.mark.parametrize(
    ("aspect", "names", "target", "is_certain"),
    [
        ("laterality", ["fracture left wrist", "fracture right wrist"], FRACTURE, False),
        ("laterality", ["fracture left wrist", "fracture right wrist"], LEFT_FRACTURE, True),
        ("negation", ["fracture of wrist", "no fracture of wrist"], FRACTURE, False),
        ("history", ["fracture of wrist", "family history of fracture of wrist"], FRACTURE, False),
        ("specimen", ["glucose in urine", "glucose in csf"], GLUCOSE, False),
        ("strength", ["aspirin 100 mg tablet", "aspirin 500 mg tablet"], ASPIRIN, True),
        ("number", ["fracture wrist follow-up 3", "fracture wrist follow-up 4"], FRACTURE, False),
        ("comparator", ["glucose > 5", "glucose < 5"], GLUCOSE, False),
        ("polarity", ["fracture wrist x-ray positive", "fracture wrist x-ray negative"], FRACTURE, False),
    ],
)
def test_one_target_for_terms_that_differ(
    connection: psycopg.Connection, aspect: str, names: list[str], target: int, is_certain: bool
) -> None:
    terms: Terms = [(str(number), name, (target,)) for number, name in enumerate(names)]
    found = find_conflicts(connection, review(connection, terms), kinds=[ConflictKind.CONTRAST])
    assert told(found) == [("contrast", aspect, [1, 2])]
    assert found[0].is_certain is is_certain
    assert found[0].concept is not None
    assert len({term.says for term in found[0].terms}) == 2


@pytest.mark.parametrize(
    ("names", "target"),
    [
        (["fracture left wrist", "fracture of wrist"], FRACTURE),
        (["glucose in blood", "glucose in serum"], GLUCOSE),
        (["aspirin 100 mg tablet", "aspirin tablet 100mg"], ASPIRIN),
        (["E10 fracture of wrist", "fracture wrist 3 weeks ago"], FRACTURE),
    ],
)
def test_terms_that_say_less_or_the_same_are_no_conflict(
    connection: psycopg.Connection, names: list[str], target: int
) -> None:
    terms: Terms = [(str(number), name, (target,)) for number, name in enumerate(names)]
    assert find_conflicts(connection, review(connection, terms), kinds=[ConflictKind.CONTRAST]) == []


def test_targets_that_are_not_valid_standard_concepts(connection: psycopg.Connection) -> None:
    terms: Terms = [("1", "a", (OLD,)), ("2", "b", (LOCAL,)), ("3", "c", (99,)), ("4", "d", (FRACTURE,))]
    found = find_conflicts(connection, review(connection, terms))
    assert told(found) == [
        ("target status", "invalid", [1]),
        ("target status", "non-standard", [2]),
        ("target status", "unknown", [3]),
    ]


def test_a_target_of_another_domain_than_the_terms(connection: psycopg.Connection) -> None:
    terms: Terms = [("1", "a", (GLUCOSE,)), ("2", "b", (GLUCOSE,)), ("3", "c", (GLUCOSE,))]
    project = review(connection, terms, domains=["Condition", None, "Condition|Measurement"])
    assert told(find_conflicts(connection, project)) == [("domain", "", [1])]


def test_a_concept_above_although_one_has_the_terms_name(connection: psycopg.Connection) -> None:
    terms: Terms = [
        ("1", "FRACTURE of left wrist", (ARM,)),
        ("2", "Fracture of left wrist", (LEFT_FRACTURE,)),
        ("3", "fracture of arm", (LEFT_FRACTURE,)),
    ]
    found = find_conflicts(connection, review(connection, terms), kinds=[ConflictKind.EXACT_NAME])
    assert told(found) == [("exact name", "", [1])]
    assert found[0].better is not None
    assert found[0].better.concept_id == LEFT_FRACTURE


def test_a_decision_that_another_person_overrode(connection: psycopg.Connection) -> None:
    project = review(connection, [("1", "wrist", (FRACTURE,))])
    decide(connection, project, "Bob", [deciding(1, (ARM,), version=1)])
    (conflict,) = find_conflicts(connection, project)
    assert told([conflict]) == [("reviewers", "overridden", [1, 1])]
    assert [term.says for term in conflict.terms] == ["Ada", "Bob"]
    undo(connection, project, "Bob")
    assert find_conflicts(connection, project) == []
    decide(connection, project, "Bob", [deciding(1, (ARM,), version=3)])
    assert len(find_conflicts(connection, project)) == 1
    decide(connection, project, "Eve", [deciding(1, (ARM,), version=4)], action=Action.ADJUDICATE)
    assert find_conflicts(connection, project) == []


def test_ones_own_second_thought_is_no_conflict(connection: psycopg.Connection) -> None:
    project = review(connection, [("1", "wrist", (FRACTURE,))])
    decide(connection, project, "Ada", [deciding(1, (ARM,), version=1)])
    assert find_conflicts(connection, project) == []


def test_what_somebody_calls_right_stays_right_until_it_says_more(connection: psycopg.Connection) -> None:
    terms: Terms = [
        ("1", "fracture left wrist", (FRACTURE,)),
        ("2", "fracture right wrist", (FRACTURE,)),
        ("3", "left wrist broken", (ARM,)),
        ("4", "both wrists, fracture", (ARM,)),
    ]
    project = review(connection, terms)
    first, second = find_conflicts(connection, project)
    request = uuid4()
    for _ in range(2):
        call_right(
            connection,
            project,
            "Bob",
            key=first.key,
            kind=first.kind,
            request_id=request,
            reason="no side is known",
        )
    with pytest.raises(InputError, match="another conflict"):
        call_right(connection, project, "Bob", key=second.key, kind=second.kind, request_id=request)
    dismissed, still = find_conflicts(connection, project)
    assert dismissed.dismissal is not None
    assert (dismissed.dismissal.reviewer, dismissed.dismissal.reason) == ("Bob", "no side is known")
    assert still.dismissal is None
    decide(connection, project, "Ada", [deciding(3, (FRACTURE,), version=1)])
    assert next(iter(find_conflicts(connection, project))).dismissal is not None  # another left one
    decide(connection, project, "Ada", [deciding(4, (FRACTURE,), version=1)])
    assert [one.dismissal for one in find_conflicts(connection, project)] == [None]  # now both sides at once
    decide(connection, project, "Ada", [deciding(4, (ARM,), version=2)])
    call_right(connection, project, "Eve", key=first.key, kind=first.kind, request_id=uuid4(), is_right=False)
    assert [one.dismissal for one in find_conflicts(connection, project)] == [None]


def test_a_term_is_checked_before_it_is_approved(connection: psycopg.Connection) -> None:
    terms: Terms = [
        ("A", "fracture left wrist", (FRACTURE,)),
        ("B", "fracture right wrist", (ARM,)),
        ("A", "left wrist", ()),
    ]
    project = review(connection, terms)
    assert told(conflicts_of_term(connection, project, 2)) == []
    found = conflicts_of_term(connection, project, 2, [Target(FRACTURE)])
    assert told(found) == [("contrast", "laterality", [1, 2])]
    assert told(conflicts_of_term(connection, project, 1)) == [("same code", "", [1, 3])]
    assert told(conflicts_of_term(connection, project, 3, [Target(FRACTURE)])) == []
    assert told(conflicts_of_term(connection, project, 2, [Target(OLD)])) == [
        ("target status", "invalid", [2])
    ]
    call_right(connection, project, "Ada", key=found[0].key, kind=found[0].kind, request_id=uuid4())
    assert conflicts_of_term(connection, project, 2, [Target(FRACTURE)]) == []
    with pytest.raises(InputError, match="no term at position 9"):
        conflicts_of_term(connection, project, 9, [Target(1)])


def test_a_large_conflict_lists_terms_of_every_side(connection: psycopg.Connection) -> None:
    terms: Terms = [(str(number), f"left wrist, case {number}", (FRACTURE,)) for number in range(150)]
    project = review(connection, [*terms, ("x", "right wrist", (FRACTURE,))])
    conflict = find_conflicts(connection, project)[0]
    assert conflict.count == 151
    assert len(conflict.terms) <= 100
    assert {term.says for term in conflict.terms} == {"left", "right"}


def test_conflicts_are_found_again_when_decisions_or_the_vocabulary_have_changed(
    connection: psycopg.Connection, engine: Engine, tmp_path: Path
) -> None:
    project = review(connection, [("1", "a", (LOCAL,)), ("2", "b", (FRACTURE,))])
    connection.commit()
    first = find_conflicts(connection, project)
    assert find_conflicts(connection, project)[0] is first[0]  # nothing has changed
    decide(connection, project, "Ada", [deciding(2, (LOCAL,), version=1)])
    assert [one.count for one in find_conflicts(connection, project)] == [2]
    connection.rollback()
    decide(connection, project, "Ada", [deciding(2, (OLD,), version=1)])  # as many decisions as then
    assert sorted(one.aspect for one in find_conflicts(connection, project)) == ["invalid", "non-standard"]
    connection.commit()
    (tmp_path / "next").mkdir()
    SmallVocabulary(engine, tmp_path / "next").load(
        *VOCABULARY[:2], ConceptRow(LOCAL, "Local concept"), *VOCABULARY[4:]
    )
    assert [one.aspect for one in find_conflicts(connection, project)] == ["unknown"]


def test_conflicts_that_another_thread_is_finding_are_not_found_twice(
    connection: psycopg.Connection,
) -> None:
    project = review(connection, [("1", "a", (LOCAL,))])
    known = KnownConflicts()

    def find(opened: psycopg.Connection, asked: int) -> list[Conflict]:
        with pytest.raises(BusyError, match="being computed"):
            known.find(opened, asked, find)
        return []

    assert known.find(connection, project, find) == []
    decide(connection, project, "Ada", [deciding(1, (FRACTURE,), version=1)])

    def fail(*_: object) -> list[Conflict]:
        raise InputError("once")

    with pytest.raises(InputError, match="once"):
        known.find(connection, project, fail)
    assert known.find(connection, project, lambda *_: []) == []  # an error keeps nobody out
