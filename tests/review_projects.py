"""Reviews for tests: terms that real mapping on the sample vocabulary has suggestions for."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import psycopg

from omop_emb.mapping.records import MappedTerm, SourceTerm
from omop_emb.mapping.settings import Settings
from omop_emb.service import ConceptFinder
from omop_emb.service.review.project_records import ReviewTerm
from omop_emb.service.review.project_store import create_project, mark_ready, store_provenance, store_terms
from omop_emb.service.review.suggestion_store import store_suggestions
from omop_emb.service.review.term_keys import group_key, text_key

TERMS = (
    SourceTerm(name="HTN", code="A1", frequency=900, context={"ward": "cardiology"}, line=2),
    SourceTerm(name="myocardial infarction", code="A2", frequency=800, line=3),
    SourceTerm(name="metformin 500 mg", code="A3", frequency=700, line=4),
    SourceTerm(name="Asthma", code="A4", frequency=600, line=5),
    SourceTerm(name="asthmas", code="A5", frequency=500, line=6),
    SourceTerm(name="glucose in urine", code="A6", frequency=400, line=7),
    SourceTerm(name="t2dm", code="A7", frequency=300, line=8),
    SourceTerm(name="<b>fever</b> & chills", code="A8", frequency=200, line=9),
    SourceTerm(name="no chest pain", code="A9", frequency=100, line=10),
    SourceTerm(name="pneumonia", code="A10", frequency=50, line=11),
)
"""Ten terms of the sample vocabulary's domains, the most frequent first."""


def map_for_review(finder: ConceptFinder, terms: Sequence[SourceTerm] = TERMS) -> list[MappedTerm]:
    """The terms mapped as a review maps them."""
    return finder.map(list(terms), settings=Settings(candidates=10, explain=10))


def make_project(
    connection: psycopg.Connection[Any], mapped: Sequence[MappedTerm], *, name: str = "laboratory"
) -> int:
    """A review of mapped terms that nobody has decided; the caller commits."""
    project_id = create_project(
        connection,
        name=name,
        site="default",
        file_name="terms.csv",
        file_digest="0" * 64,
        settings={},
        created_by="Ada",
        content=io.BytesIO(b"name\n"),
    )
    numbered = list(enumerate(mapped, start=1))
    store_terms(
        connection,
        project_id,
        [
            ReviewTerm(
                position=position,
                term=one.term,
                text_key=text_key(one.term.name),
                group_key=group_key(one.term),
            )
            for position, one in numbered
        ],
    )
    store_suggestions(connection, project_id, numbered)
    store_provenance(connection, project_id, {"ranker": mapped[0].provenance.ranker} if mapped else {})
    mark_ready(connection, project_id)
    return project_id
