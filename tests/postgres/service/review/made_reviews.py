"""Reviews made without mapping: terms, and suggestions as a ranker would have made them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg

from omop_emb.mapping.records import (
    Candidate,
    Decision,
    MappedTerm,
    Provenance,
    Retriever,
    SourceTerm,
    Variant,
)
from omop_emb.service.review.project_records import ReviewTerm
from omop_emb.service.review.project_store import create_project, mark_ready, store_terms
from omop_emb.service.review.suggestion_store import store_suggestions
from omop_emb.service.review.term_keys import group_key, text_key


def make_review(
    connection: psycopg.Connection,
    terms: Sequence[SourceTerm | str],
    *,
    name: str = "made",
    site: str = "north",
) -> int:
    """A review of these terms, at the positions 1, 2 …; nothing is suggested."""
    project_id = create_project(
        connection,
        name=name,
        site=site,
        file_name="terms.csv",
        file_digest="0" * 64,
        settings={},
        created_by="Ada",
        content=io.BytesIO(b""),
    )
    listed = [SourceTerm(name=one) if isinstance(one, str) else one for one in terms]
    store_terms(
        connection,
        project_id,
        [
            ReviewTerm(position=number, term=term, text_key=text_key(term.name), group_key=group_key(term))
            for number, term in enumerate(listed, start=1)
        ],
    )
    mark_ready(connection, project_id)
    return project_id


def suggest(
    connection: psycopg.Connection,
    project_id: int,
    position: int,
    *concepts: tuple[int, str],
    probability: float | None = 0.5,
    domain: str = "Condition",
    flags: tuple[str, ...] = (),
    ranker: str = "north-1",
    fingerprint: str = "f",
    **changed: Any,
) -> None:
    """Store candidates, each an id and a name, for a term; the first has the probability."""
    candidates = tuple(
        Candidate(
            rank=rank,
            concept_id=concept_id,
            concept_name=name,
            domain_id=domain,
            vocabulary_id="SNOMED",
            concept_class_id="Disorder",
            standard_concept="S",
            concept_code=str(concept_id),
            score=1.0 / rank,
            probability=probability if rank == 1 else None,
            variant=Variant(name),
            matched_text=name,
            matched_kind="name",
            retrievers={Retriever.DENSE: 0.9},
            flags=flags if rank == 1 else (),
        )
        for rank, (concept_id, name) in enumerate(concepts, start=1)
    )
    mapped = MappedTerm(
        term=SourceTerm(name="made"),
        candidates=candidates,
        decision=Decision.REVIEW,
        reason="made",
        probability=probability,
        priority=1.0,
        provenance=Provenance(
            space_id=1,
            model="test:3d",
            fingerprint=fingerprint,
            vocabulary="v",
            ranker=ranker,
            calibrated=probability is not None,
            accept_precision=None,
            accept_untrained=False,
            version="0",
        ),
    )
    store_suggestions(connection, project_id, [(position, replace(mapped, **changed))])
