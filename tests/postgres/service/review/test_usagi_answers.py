"""Files of a review that were worked on in Usagi: what was decided there is decided here."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from hypothesis import given, settings, strategies as st

from omop_emb.service.review.answers import ReadBackReport, read_back
from omop_emb.service.review.decision_records import Action, Equivalence, ReviewState, Target, Verdict
from omop_emb.service.review.decision_store import history
from omop_emb.service.review.exports.usagi_export import UsagiExport
from omop_emb.service.review.project_store import delete_project, read_terms
from tests.postgres.service.review.review_samples import (
    ASTHMA,
    DIABETES,
    HYPERTENSION,
    decided,
    make_review,
    suggest,
    verdict,
)
from tests.usagi_reader import (
    EQUIVALENCES,
    STATUSES,
    TYPES,
    CodeMapping,
    Target as UsagiTarget,
    read_usagi,
    save_usagi,
)

LATER = 4_000_000_000_000
Edit = Callable[[dict[str, CodeMapping]], object]


def usagi_file(*states: str) -> bytes:
    """A file that Usagi saved: source codes A, B … in some states, all with asthma as the target."""
    mappings = []
    for code, state in zip("ABCDEFGHIJ", states, strict=False):
        is_decided = state in ("APPROVED", "FLAGGED", "IGNORED")
        mappings.append(
            CodeMapping(
                code=code,
                name=f"name {code}",
                frequency=1,
                auto_assigned=set(),
                additional={"ward": 'a "b", c'},
                score=0.5,
                status=state,
                status_set_by="Eve" if is_decided else "",
                status_set_on=1_600_000_000_000 if is_decided else 0,
                equivalence="EQUAL" if is_decided else "UNREVIEWED",
                assigned_reviewer="",
                comment="",
                targets=[UsagiTarget(ASTHMA, "MAPS_TO", "<auto>", 0)],
            )
        )
    return save_usagi(mappings)


def worked_on(engine: sqlalchemy.Engine, project_id: int, folder: Path, edit: Edit) -> Path:
    """Export a review, and change it as Usagi does."""
    out = io.BytesIO()
    UsagiExport().write(engine, project_id, {}, out)
    mappings = read_usagi(out.getvalue())
    edit({one.code: one for one in mappings})
    path = folder / "worked on.csv"
    path.write_bytes(save_usagi(mappings))
    return path


def approve(one: CodeMapping, *concepts: int, author: str = "Uma", on: int = LATER) -> None:
    """What Usagi's button Approve does, after the targets have been chosen."""
    one.status, one.equivalence, one.status_set_by, one.status_set_on = "APPROVED", "EQUAL", author, on
    one.targets = [UsagiTarget(concept, "MAPS_TO", author, on) for concept in concepts]


def counts(report: ReadBackReport) -> tuple[int, int, int, int]:
    return report.decided, report.unchanged, report.conflict_count, report.problem_count


@pytest.fixture
def own(reviews: psycopg.Connection) -> int:
    """A review of Usagi's file: A is open, B was approved by Eve, C is open, D flagged; imported as such."""
    made = make_review(reviews, usagi_file("UNCHECKED", "APPROVED", "AUTO_MAPPED_TO_1", "FLAGGED"))
    imported = verdict("approved", ASTHMA, equivalence=Equivalence.EQUAL)
    decided(reviews, made, 2, imported, reviewer="Eve", action=Action.IMPORT)
    flagged = verdict("flagged", ASTHMA, equivalence=Equivalence.EQUAL)
    decided(reviews, made, 4, flagged, reviewer="Eve", action=Action.IMPORT)
    reviews.execute(
        "update omop_emb.review_decision set decided_at = to_timestamp(1600000000) where project_id = %s",
        (made,),
    )
    return made


@pytest.fixture
def new(reviews: psycopg.Connection) -> int:
    """A review of a CSV: A, B and C, each with two candidates."""
    made = make_review(reviews, b"code,name\nA,first\nB,second\nC,third\n")
    for one in read_terms(reviews, made):
        suggest(reviews, made, one.position, one.term, (HYPERTENSION, "HTN"), (ASTHMA, "Asthma"))
    return made


@pytest.mark.parametrize("kind", ["own", "new"])
def test_a_file_that_usagi_only_opened_and_saved_changes_nothing(
    review_engine: sqlalchemy.Engine,
    reviews: psycopg.Connection,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    kind: str,
) -> None:
    project_id = request.getfixturevalue(kind)
    said = verdict("approved", HYPERTENSION, (DIABETES, "MAPS_TO_VALUE"), comment='a "b"\nc\\n, d')
    decided(reviews, project_id, 1, said)
    path = worked_on(review_engine, project_id, tmp_path, lambda _: None)
    report = read_back(review_engine, project_id, path, "Bob")
    assert counts(report) == (0, 4 if kind == "own" else 3, 0, 0)


@pytest.mark.parametrize("kind", ["own", "new"])
def test_what_was_decided_in_usagi_is_decided_here_by_who_decided_it(
    review_engine: sqlalchemy.Engine,
    reviews: psycopg.Connection,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    kind: str,
) -> None:
    project_id = request.getfixturevalue(kind)

    def edit(by_code: dict[str, CodeMapping]) -> None:
        approve(by_code["A"], HYPERTENSION, ASTHMA)
        approve(by_code["C"])
        by_code["C"].comment = "none fits"

    path = worked_on(review_engine, project_id, tmp_path, edit)
    report = read_back(review_engine, project_id, path, "Bob")
    assert counts(report) == (2, 2 if kind == "own" else 1, 0, 0)
    (first,), (third,) = history(reviews, project_id, 1), history(reviews, project_id, 3)
    assert first.verdict == verdict("approved", HYPERTENSION, ASTHMA, equivalence=Equivalence.EQUAL)
    assert third.verdict == verdict("no match", equivalence=Equivalence.EQUAL, comment="none fits")
    assert {first.reviewer, third.reviewer} == {"Uma"}
    again = read_back(review_engine, project_id, path, "Bob")
    assert again.decided == 0
    assert again.conflicts == ()


def test_where_people_sign_in_a_file_decides_in_no_other_name(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection, own: int, tmp_path: Path
) -> None:
    path = worked_on(review_engine, own, tmp_path, lambda by_code: approve(by_code["A"], HYPERTENSION))
    assert read_back(review_engine, own, path, "Bob", is_checked=True).decided == 1
    assert history(reviews, own, 1)[-1].reviewer == "Bob"


def test_opening_flagging_and_commenting_in_usagi_are_read(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection, own: int, tmp_path: Path
) -> None:
    def edit(by_code: dict[str, CodeMapping]) -> None:
        opened = by_code["B"]
        opened.status, opened.equivalence = "UNCHECKED", "UNREVIEWED"
        opened.status_set_by, opened.status_set_on = "", 0
        flagged = by_code["A"]
        flagged.status, flagged.status_set_by, flagged.status_set_on = "FLAGGED", "Uma", LATER
        by_code["C"].comment = "look"

    path = worked_on(review_engine, own, tmp_path, edit)
    assert counts(read_back(review_engine, own, path, "Bob")) == (3, 1, 0, 0)
    assert history(reviews, own, 2)[-1].verdict == Verdict(state=ReviewState.UNREVIEWED)
    assert history(reviews, own, 2)[-1].reviewer == "Bob"
    assert history(reviews, own, 1)[-1].verdict == verdict(
        "flagged", ASTHMA, equivalence=Equivalence.UNREVIEWED
    )
    assert history(reviews, own, 3)[-1].verdict == Verdict(state=ReviewState.UNREVIEWED, comment="look")


def test_what_was_decided_here_meanwhile_is_a_conflict_in_a_new_file(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection, new: int, tmp_path: Path
) -> None:
    decided(reviews, new, 2, verdict("approved", ASTHMA))

    def edit(by_code: dict[str, CodeMapping]) -> None:
        approve(by_code["A"], ASTHMA)
        approve(by_code["B"], HYPERTENSION)

    path = worked_on(review_engine, new, tmp_path, edit)
    other = decided(reviews, new, 1, verdict("ignored"), reviewer="Cleo").stored
    decided(reviews, new, 3, verdict("ignored"), reviewer="Cleo")
    report = read_back(review_engine, new, path, "Bob")
    assert counts(report) == (1, 1, 1, 0)
    assert report.conflicts[0].current == other
    assert history(reviews, new, 2)[-1].verdict.targets == (Target(HYPERTENSION),)


def test_what_was_decided_here_meanwhile_is_a_conflict_in_usagis_own_file(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection, own: int, tmp_path: Path
) -> None:
    decided(reviews, own, 1, verdict("approved", HYPERTENSION))
    time.sleep(0.01)
    decided(reviews, own, 3, verdict("approved", HYPERTENSION))

    def edit(by_code: dict[str, CodeMapping]) -> None:
        approve(by_code["A"], DIABETES)
        approve(by_code["B"], DIABETES)
        approve(by_code["D"], DIABETES)

    path = worked_on(review_engine, own, tmp_path, edit)
    time.sleep(0.01)
    other = decided(reviews, own, 4, verdict("ignored"), version=1, reviewer="Cleo").stored
    report = read_back(review_engine, own, path, "Bob")
    # A had been decided when the file was written, as C's time in it shows; D was decided after.
    assert counts(report) == (2, 1, 1, 0)
    assert report.conflicts[0].current == other
    assert [one.verdict.targets for one in history(reviews, own, 1)] == [
        (Target(HYPERTENSION),),
        (Target(DIABETES),),
    ]


def test_a_target_that_usagi_does_not_know_decides_nothing(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection, own: int, tmp_path: Path
) -> None:
    out = io.BytesIO()
    UsagiExport().write(review_engine, own, {}, out)
    path = tmp_path / "saved.csv"
    path.write_bytes(save_usagi(read_usagi(out.getvalue(), known={HYPERTENSION})))
    report = read_back(review_engine, own, path, "Bob")
    assert counts(report) == (0, 4, 0, 0)
    assert any(
        "4 source codes have a target that Usagi's vocabulary does not know" in n for n in report.notes
    )


def test_rows_that_are_no_terms_of_the_review_are_named(
    review_engine: sqlalchemy.Engine, reviews: psycopg.Connection, own: int, tmp_path: Path
) -> None:
    def edit(by_code: dict[str, CodeMapping]) -> None:
        by_code["A"].name = "something else"
        approve(by_code["C"], HYPERTENSION)

    path = worked_on(review_engine, own, tmp_path, edit)
    report = read_back(review_engine, own, path, "Bob")
    assert counts(report) == (1, 2, 0, 1)
    assert str(report.problems[0]) == "line 2: its code and name are no term of the review"


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=12)
WORKED = st.fixed_dictionaries(
    {
        "status": st.sampled_from(STATUSES),
        "equivalence": st.sampled_from(EQUIVALENCES),
        "comment": TEXTS,
        "targets": st.lists(
            st.tuples(st.sampled_from([ASTHMA, HYPERTENSION, DIABETES]), st.sampled_from(TYPES)),
            max_size=4,
            unique=True,
        ),
        "author": st.sampled_from(["Uma", "Vik", "<auto>", "omop-emb", ""]),
    }
)


@pytest.fixture(scope="module")
def lasting(review_database_url: str) -> Iterator[psycopg.Connection]:
    """A connection for many examples, each of which deletes its review."""
    with psycopg.connect(review_database_url, autocommit=True) as opened:
        yield opened


@settings(max_examples=60)
@given(
    before=st.lists(st.sampled_from(STATUSES), min_size=1, max_size=5),
    works=st.lists(WORKED, min_size=5, max_size=5),
)
def test_every_state_goes_in_is_worked_on_and_comes_out(
    review_engine: sqlalchemy.Engine,
    lasting: psycopg.Connection,
    tmp_path_factory: pytest.TempPathFactory,
    before: list[str],
    works: list[dict[str, object]],
) -> None:
    content, folder = usagi_file(*before), tmp_path_factory.mktemp("worked")
    project_id = make_review(lasting, content)
    try:

        def edit(by_code: dict[str, CodeMapping]) -> None:
            for one, work in zip(by_code.values(), works, strict=False):
                one.status, one.equivalence = str(work["status"]), str(work["equivalence"])
                one.comment, one.status_set_by = str(work["comment"]), str(work["author"])
                one.status_set_on = LATER
                listed = work["targets"]
                assert isinstance(listed, list)
                one.targets = [UsagiTarget(concept, kind, "Uma", LATER) for concept, kind in listed]

        path = worked_on(review_engine, project_id, folder, edit)
        report = read_back(review_engine, project_id, path, "Bob")
        assert (report.rows, report.conflict_count, report.problem_count) == (len(before), 0, 0)
        out = io.BytesIO()
        UsagiExport().write(review_engine, project_id, {}, out)
        for wanted, found in zip(read_usagi(path.read_bytes()), read_usagi(out.getvalue()), strict=True):
            is_person = wanted.status in ("APPROVED", "FLAGGED", "IGNORED") and wanted.status_set_by not in (
                "<auto>",
                "omop-emb",
            )
            if not is_person:
                continue
            assert found.status == wanted.status
            if wanted.status != "IGNORED" and wanted.targets:
                kinds = {(one.concept_id, one.mapping_type) for one in wanted.targets}
                assert {(one.concept_id, one.mapping_type) for one in found.targets} == kinds
            assert found.comment.strip() == wanted.comment.strip() or not wanted.comment.strip()
    finally:
        delete_project(lasting, project_id)
