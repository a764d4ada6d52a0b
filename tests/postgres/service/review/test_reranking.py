"""Open terms are ranked again after approvals, those that gain first, and what is decided is left alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy

from omop_emb import database_engine
from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.mapping.approvals.approval_store import stored_approvals
from omop_emb.mapping.records import SourceTerm
from omop_emb.service import ConceptFinder
from omop_emb.service.review.decision_records import NewDecision, ReviewState, Target, Verdict
from omop_emb.service.review.decision_store import decide, undo
from omop_emb.service.review.memory_worker import LiveMemory, Pace
from omop_emb.service.review.project_records import Project, Suggestion
from omop_emb.service.review.project_store import delete_project, find_project
from omop_emb.service.review.reranking import BATCH_TERMS, SETTINGS, Reranking
from omop_emb.service.review.suggestion_store import read_suggestions, store_suggestions
from tests.conftest import NewDatabase, as_url
from tests.postgres.service.review.made_reviews import make_review

ASTHMA = 317009
NAMES = ["frobnic zapple A", "frobnic zapple B", "frobnic zapple C", "fever", "cough", "glucose", "rash"]
QUICK = Pace(look_seconds=0.05, rest=0.0, busy_seconds=0.0, retry_seconds=0.05)
Reviewing = Callable[[], "Review"]


class Review:
    """A review that is really mapped, in a database of the module's."""

    def __init__(self, engine: sqlalchemy.Engine, finder: ConceptFinder, project: Project) -> None:
        self.engine, self.finder, self.project = engine, finder, project

    def approve(self, position: int, concept_id: int) -> None:
        verdict = Verdict(state=ReviewState.APPROVED, targets=(Target(concept_id),))
        with session_scope(self.engine) as session:
            new = NewDecision(position=position, version=0, verdict=verdict)
            decide(driver_connection(session), self.project.project_id, "Ada", [new])

    def undo(self) -> None:
        with session_scope(self.engine) as session:
            undo(driver_connection(session), self.project.project_id, "Ada")

    def suggestion(self, position: int) -> Suggestion:
        with session_scope(self.engine) as session:
            connection = driver_connection(session)
            return read_suggestions(connection, self.project.project_id, [position])[position]

    def has_asthma(self, position: int) -> bool:
        return any(one.concept_id == ASTHMA for one in self.suggestion(position).mapped.candidates)

    def reranking(self) -> Reranking:
        return Reranking(self.engine, self.finder, self.project)


@pytest.fixture(scope="module")
def engine(
    sample_template: str, server_conninfo: str, new_database: NewDatabase
) -> Iterator[sqlalchemy.Engine]:
    with new_database(sample_template) as name:
        made = database_engine(as_url(server_conninfo, dbname=name))
        yield made
        made.dispose()


@pytest.fixture
def review(engine: sqlalchemy.Engine, request: pytest.FixtureRequest) -> Iterator[Review]:
    """A review of NAMES, at a site of its own."""
    site = request.node.name
    terms = [
        SourceTerm(name=name, frequency=100 - number, context={"of": site})
        for number, name in enumerate(NAMES)
    ]
    with ConceptFinder(engine, site=site) as finder:
        with session_scope(engine) as session:
            project_id = make_review(driver_connection(session), terms, name=site, site=site)
        mapped = finder.map(terms, settings=SETTINGS)
        with session_scope(engine) as session:
            store_suggestions(driver_connection(session), project_id, enumerate(mapped, start=1))
        with session_scope(engine) as session:
            project = find_project(driver_connection(session), project_id)
        yield Review(engine, finder, project)


def eventually(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.05)


def test_a_term_like_an_approved_one_gets_its_concept_as_a_candidate(review: Review) -> None:
    reranking = review.reranking()
    assert reranking.look() == reranking.step() == 0
    before = review.suggestion(2)
    assert not review.has_asthma(2)
    review.approve(1, ASTHMA)
    assert reranking.look() == 1
    reads = review.finder.times_read
    while reranking.step():
        pass
    assert review.has_asthma(2)
    assert review.suggestion(2).revision == before.revision + 1
    assert review.finder.times_read == reads + 1
    review.undo()
    assert reranking.look() == 1
    while reranking.step():
        pass
    assert not review.has_asthma(2)


def test_a_decided_term_keeps_the_suggestion_that_was_seen(review: Review) -> None:
    review.approve(1, ASTHMA)
    review.approve(2, 1)
    reranking = review.reranking()
    reranking.look()
    while reranking.step():
        pass
    assert review.suggestion(1).revision == review.suggestion(2).revision == 1
    assert review.suggestion(3).revision == 2


def test_what_is_decided_while_it_is_mapped_keeps_the_suggestion_that_was_seen(
    review: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    review.approve(1, ASTHMA)
    reranking = review.reranking()
    reranking.look()
    map_terms = review.finder.map

    def slow(*args: Any, **kwargs: Any) -> Any:
        if not decided:
            decided.append(3)
            review.approve(3, 1)
        return map_terms(*args, **kwargs)

    decided: list[int] = []
    monkeypatch.setattr(review.finder, "map", slow)
    while reranking.step():
        pass
    assert review.suggestion(3).revision == 1
    assert review.suggestion(2).revision == 2


def test_no_transaction_is_open_while_terms_are_mapped(
    review: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    review.approve(1, ASTHMA)
    reranking = review.reranking()
    reranking.look()
    map_terms = review.finder.map
    open_transactions: list[int] = []

    def watched(*args: Any, **kwargs: Any) -> Any:
        with review.engine.connect() as connection:
            count = connection.exec_driver_sql(
                "select count(*) from pg_stat_activity where datname = current_database() "
                "and state like 'idle in transaction%%' and pid <> pg_backend_pid()"
            )
            open_transactions.append(count.scalar_one())
        return map_terms(*args, **kwargs)

    monkeypatch.setattr(review.finder, "map", watched)
    assert reranking.step() > 0
    assert open_transactions == [0]


def test_a_batch_is_small_and_each_term_is_ranked_once_for_a_change(review: Review) -> None:
    review.approve(1, ASTHMA)
    reranking = review.reranking()
    reranking.look()
    sizes = []
    while size := reranking.step():
        sizes.append(size)
    assert max(sizes) <= BATCH_TERMS
    assert sum(sizes) == reranking.ranked == len(NAMES) - 1
    assert reranking.look() == 0
    assert reranking.step() == 0
    reranking.rank_all()
    assert reranking.step() > 0


def test_a_thread_remembers_and_ranks_again_while_somebody_works(review: Review) -> None:
    live = LiveMemory(review.engine, review.finder, site=review.project.site, pace=QUICK)
    try:
        assert not live.is_working
        live.wake(review.project.project_id)
        review.approve(1, ASTHMA)
        eventually(lambda: review.has_asthma(2))
        with session_scope(review.engine) as session:
            (approval,) = stored_approvals(driver_connection(session), review.project.site)
        assert (approval.source_name, approval.approved_from) == (NAMES[0], f"review {review.project.name}")
        live.wake(review.project.project_id)
        assert sum(thread.name == "omop-emb-live-memory" for thread in threading.enumerate()) == 1
    finally:
        live.close(60)
    assert not live.is_working


def test_a_review_of_another_site_is_ranked_with_that_sites_memory(review: Review) -> None:
    with ConceptFinder(review.engine, site="somewhere else") as other:
        live = LiveMemory(review.engine, other, site="somewhere else", pace=QUICK)
        try:
            live.wake(review.project.project_id)
            review.approve(1, ASTHMA)
            eventually(lambda: review.has_asthma(2))
        finally:
            live.close(60)


def test_a_thread_ends_when_nobody_works_any_more_or_the_review_is_deleted(review: Review) -> None:
    pace = Pace(look_seconds=0.05, idle_seconds=0.2, retry_seconds=0.05)
    live = LiveMemory(review.engine, review.finder, site=review.project.site, pace=pace)
    live.wake(review.project.project_id)
    eventually(lambda: not live.is_working)
    with session_scope(review.engine) as session:
        delete_project(driver_connection(session), review.project.project_id)
    live.wake(review.project.project_id)
    eventually(lambda: not live.is_working)
    live.close()
    live.wake(review.project.project_id)
    assert not live.is_working


def test_others_go_first(review: Review) -> None:
    busy = threading.Event()
    busy.set()
    pace = Pace(look_seconds=0.05, rest=0.0, busy_seconds=30.0)
    live = LiveMemory(review.engine, review.finder, site=review.project.site, is_busy=busy.is_set, pace=pace)
    try:
        review.approve(1, ASTHMA)
        live.wake(review.project.project_id)
        time.sleep(0.5)
        assert review.suggestion(2).revision == 1
        busy.clear()
        eventually(lambda: review.has_asthma(2))
    finally:
        live.close(60)
