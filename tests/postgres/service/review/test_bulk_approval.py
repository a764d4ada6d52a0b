"""Bulk approval: only above a calibrated bound, never against an objection, and only what was shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from omop_emb.errors import InputError
from omop_emb.mapping.ranking.calibration import Calibration, PrecisionCurve
from omop_emb.mapping.ranking.linear import default_ranker
from omop_emb.mapping.ranking.ranker_store import store_ranker
from omop_emb.mapping.records import MappedValue
from omop_emb.service.review.bulk_approval import CHANGED, OTHER_CONCEPT, approve_bulk, preview_bulk
from omop_emb.service.review.bulk_check import NOT_ABOVE, OTHER_RANKER
from omop_emb.service.review.bulk_records import BulkTerms
from omop_emb.service.review.decision_records import Action, NewDecision, ReviewState, Target, Verdict
from omop_emb.service.review.decision_store import decide, history, undo
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.project_store import find_project
from omop_emb.service.review.suggestion_store import current_terms
from tests.postgres.service.review.made_reviews import make_review, suggest

Suggest = Callable[..., None]
# 200 of 200 right from .9 on, which shows .95; 380 of 400 from .8 on, which shows .9 only.
CURVE = PrecisionCurve(probability=(0.9, 0.8), count=(200, 400), right=(200, 380))
STRICT, LOOSE = BulkTerms(precision=0.95), BulkTerms(precision=0.9)
NO_MATCH = Verdict(state=ReviewState.NO_MATCH)


@pytest.fixture
def opened(sample_database_url: str) -> Iterator[psycopg.Connection]:
    """A database with an active space, in which the shipped ranker has probabilities."""
    with psycopg.connect(sample_database_url.replace("+psycopg", "")) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def project(opened: psycopg.Connection) -> Project:
    names = ["asthma", "cough", "fever", "rash", "itch", "Fevers", "pain", "ache"]
    return find_project(opened, make_review(opened, names))


@pytest.fixture
def ranker_name(opened: psycopg.Connection) -> str:
    """A ranker trained at the site, with bounds for conditions."""
    calibration = replace(_calibration(), curves={"Condition": CURVE})
    own = replace(default_ranker(), is_site_trained=True, calibration=calibration)
    return store_ranker(opened, "north", own, figures={}, trained_on={})


@pytest.fixture
def suggesting(opened: psycopg.Connection, project: Project, ranker_name: str) -> Suggest:
    """Stores a suggestion of the site's ranker for a position."""

    def store(position: int, probability: float, concept_id: int = 1, **changed: Any) -> None:
        suggest(
            opened,
            project.project_id,
            position,
            (concept_id, f"concept {concept_id}"),
            (99, "another"),
            probability=probability,
            **{"ranker": ranker_name, "fingerprint": default_ranker().fingerprint, **changed},
        )

    return store


def _calibration() -> Calibration:
    calibration = default_ranker().calibration
    assert calibration is not None
    return calibration


def shown(preview: Any) -> list[tuple[int, int, int]]:
    return [(row.position, row.version, row.concept_id) for row in preview.rows]


def states(opened: psycopg.Connection, project: Project) -> dict[int, str]:
    return {one.position: one.verdict.state.value for one in current_terms(opened, project.project_id)}


def test_only_what_is_above_the_bound_of_the_precision_is_shown(
    opened: psycopg.Connection, project: Project, suggesting: Suggest
) -> None:
    suggesting(1, 0.95)
    suggesting(2, 0.85)
    suggesting(3, 0.7)
    suggesting(4, 0.99, domain="Drug")  # where nothing is known
    suggesting(5, 0.9)
    strict, loose = (preview_bulk(opened, project, terms) for terms in (STRICT, LOOSE))
    assert [row.position for row in strict.rows] == [1, 5]
    assert [row.position for row in loose.rows] == [1, 5, 2]
    assert loose.expected_errors == pytest.approx(0.05 + 0.1 + 0.15)
    assert loose.most_errors == pytest.approx(0.3)
    assert (strict.rows[0].source_name, strict.rows[0].concept_name) == ("asthma", "concept 1")
    assert strict.refusal == ""
    some = preview_bulk(opened, project, LOOSE, positions=[2, 3])
    assert [row.position for row in some.rows] == [2]


def test_what_is_decided_or_flagged_by_a_person_is_not_shown(
    opened: psycopg.Connection, project: Project, suggesting: Suggest
) -> None:
    for position in (1, 2, 3):
        suggesting(position, 0.95)
    flagged = Verdict(state=ReviewState.FLAGGED)
    new = [
        NewDecision(position=1, version=0, verdict=NO_MATCH),
        NewDecision(position=2, version=0, verdict=flagged),
    ]
    decide(opened, project.project_id, "Ada", new)
    assert [row.position for row in preview_bulk(opened, project, STRICT).rows] == [3]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"flags": ("laterality: left, not right",)}, "differs from the term in a flag"),
        ({"disagrees": True}, "the code leads to another concept"),
        ({"by_code": (7,)}, "the code leads to another concept"),
        ({"previous": (7,)}, "an earlier approval"),
        ({"outdated": "7 is replaced"}, "an earlier approval"),
        ({"ranker": "north-0"}, OTHER_RANKER),
        ({"fingerprint": "other"}, OTHER_RANKER),
    ],
)
def test_what_speaks_against_a_row_leaves_it_out_and_is_said(
    opened: psycopg.Connection, project: Project, suggesting: Suggest, changed: dict[str, Any], reason: str
) -> None:
    suggesting(1, 0.95, **changed)
    preview = preview_bulk(opened, project, STRICT)
    assert preview.rows == []
    ((words, count),) = preview.left_out.items()
    assert reason in words
    assert count == 1


def test_a_code_that_leads_to_the_same_concept_is_no_objection(
    opened: psycopg.Connection, project: Project, suggesting: Suggest
) -> None:
    suggesting(1, 0.95, by_code=(1,))
    assert len(preview_bulk(opened, project, STRICT).rows) == 1


def test_a_candidate_with_a_value_beside_it_or_suggested_by_the_file_alone_is_left_out(
    opened: psycopg.Connection, project: Project, suggesting: Suggest
) -> None:
    suggesting(1, 0.95)
    suggesting(2, 0.95)
    opened.execute(
        "update omop_emb.review_suggestion set result = jsonb_set(result::jsonb, "
        "'{candidates,0,retrievers}', '{\"suggested\": 1.0}')::text where position = 1"
    )
    value = {"relationship_id": "Maps to value", "concept_id": 3, "concept_name": "x"}
    assert MappedValue(**value)  # type: ignore[arg-type] # a value is stored with these names
    opened.execute(
        "update omop_emb.review_suggestion set result = jsonb_set(result::jsonb, "
        "'{candidates,0,mapped_values}', '[{\"concept_id\": 3}]')::text where position = 2"
    )
    assert preview_bulk(opened, project, STRICT).rows == []


def test_a_text_that_was_decided_differently_elsewhere_in_the_file_is_left_out(
    opened: psycopg.Connection, project: Project, suggesting: Suggest
) -> None:
    suggesting(6, 0.95)
    same = Verdict(state=ReviewState.APPROVED, targets=(Target(1),))
    decide(opened, project.project_id, "Ada", [NewDecision(position=3, version=0, verdict=same)])
    assert len(preview_bulk(opened, project, STRICT).rows) == 1
    decide(opened, project.project_id, "Ada", [NewDecision(position=3, version=1, verdict=NO_MATCH)])
    assert preview_bulk(opened, project, STRICT).rows == []


def test_it_is_refused_with_the_reason_where_nothing_holds(
    opened: psycopg.Connection, project: Project
) -> None:
    refused = preview_bulk(opened, project, STRICT)
    assert "thresholds learned at other hospitals do not hold here" in refused.refusal
    allowed = BulkTerms(precision=0.95, accept_untrained=True)
    assert "no undecided term is above the bound of 0.95" in preview_bulk(opened, project, allowed).refusal
    with pytest.raises(InputError, match="do not hold here"):
        approve_bulk(opened, project, "Ada", STRICT, [(1, 0, 1)], uuid4())
    opened.execute("update omop_emb.space set model = 'other'")
    assert "no probabilities yet" in preview_bulk(opened, project, allowed).refusal
    with pytest.raises(InputError, match=r"at least 0.5 and below 1"):
        BulkTerms(precision=1.0)


def test_what_was_shown_is_approved_as_one_batch_that_one_undo_takes_back(
    opened: psycopg.Connection, project: Project, suggesting: Suggest
) -> None:
    for position in (1, 2, 3):
        suggesting(position, 0.96)
    preview = preview_bulk(opened, project, STRICT)
    suggesting(4, 0.99)  # above the bound, but nobody has seen it
    request = uuid4()
    result = approve_bulk(opened, project, "Ada", STRICT, shown(preview), request)
    assert [(one.position, one.action, one.rank, one.batch_id) for one in result.stored] == [
        (position, Action.BULK, 1, request) for position in (1, 2, 3)
    ]
    assert states(opened, project)[4] == "unreviewed"
    details = opened.execute("select details from omop_emb.review_batch").fetchall()
    assert details == [
        (
            {
                "precision": 0.95,
                "accept_untrained": False,
                "ranker": preview.ranker,
                "terms": 3,
                "expected errors": 0.12,
            },
        )
    ]
    again = approve_bulk(opened, project, "Ada", STRICT, shown(preview), request)
    assert (again.stored, again.left_out) == (result.stored, {})
    assert len(history(opened, project.project_id, 1)) == 1
    assert len(undo(opened, project.project_id, "Ada")) == 3
    assert set(states(opened, project).values()) == {"unreviewed"}


def test_what_has_changed_since_the_preview_is_left_out_and_said(
    opened: psycopg.Connection, project: Project, suggesting: Suggest
) -> None:
    for position in (1, 2, 3, 4, 5, 7):
        suggesting(position, 0.96)
    preview = preview_bulk(opened, project, STRICT)
    decide(opened, project.project_id, "Bob", [NewDecision(position=1, version=0, verdict=NO_MATCH)])
    decide(opened, project.project_id, "Bob", [NewDecision(position=5, version=0, verdict=NO_MATCH)])
    undo(opened, project.project_id, "Bob")
    suggesting(2, 0.97, concept_id=2)
    suggesting(3, 0.5)
    suggesting(4, 0.96, flags=("number: 1, not 2",))
    result = approve_bulk(opened, project, "Ada", STRICT, shown(preview), uuid4())
    assert [one.position for one in result.stored] == [7]
    assert result.left_out == {
        1: CHANGED,
        2: OTHER_CONCEPT,
        3: NOT_ABOVE,
        4: "the concept differs from the term in a flag",
        5: CHANGED,
    }


def test_nothing_is_approved_that_does_not_qualify_whatever_is_sent(
    opened: psycopg.Connection, project: Project, suggesting: Suggest
) -> None:
    suggesting(1, 0.5)
    result = approve_bulk(opened, project, "Ada", STRICT, [(1, 0, 1), (99, 0, 1)], uuid4())
    assert result.stored == []
    assert set(result.left_out) == {1, 99}
    assert opened.execute("select count(*) from omop_emb.review_batch").fetchone() == (0,)
    with pytest.raises(InputError, match="1 to 5,000 terms"):
        approve_bulk(opened, project, "Ada", STRICT, [], uuid4())
