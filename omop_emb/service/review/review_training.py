"""Review training: a site's ranker trained on what its reviews and its memory have approved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import psycopg

from omop_emb.database.engine import short_transaction
from omop_emb.errors import InputError
from omop_emb.mapping.approvals.approval_store import stored_approvals
from omop_emb.mapping.evaluation.gold import GoldFile, GoldTerm
from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.training.site_training import TrainedRanker, Training, train_on
from omop_emb.service.review.decision_records import Action, ReviewState
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.project_store import list_projects, read_terms
from omop_emb.service.review.suggestion_store import current_terms

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session


def approved_terms(connection: psycopg.Connection[Any], site: str) -> GoldFile:
    """What a site has approved: in its reviews, with those decided as no match, and in its memory.

    Raises:
        InputError: it has approved nothing.
    """
    terms: dict[tuple[str, str], GoldTerm] = {}
    known: set[tuple[str, str]] = set()
    for project in list_projects(connection):
        if project.site == site:
            for gold, is_looked_at in _of_review(connection, project):
                known.add(gold.term.key)
                if is_looked_at:
                    terms.setdefault(gold.term.key, gold)
    for approval in stored_approvals(connection, site):
        term = SourceTerm(
            name=approval.source_name,
            code=approval.source_code,
            source_vocabulary=approval.source_vocabulary or None,
        )
        if term.key not in known:
            earlier = terms.get(term.key)
            targets = frozenset([approval.concept_id]) | (earlier.targets if earlier else frozenset())
            terms[term.key] = GoldTerm(term=term, targets=targets, source=approval.approved_from)
    if not terms:
        raise InputError(f"the site {site!r} has approved nothing yet, so there is nothing to train on")
    sources = dict.fromkeys((gold.source for gold in terms.values()), "")
    return GoldFile(terms=tuple(terms.values()), problems=(), notes=(), digests=sources)


def train_on_reviews(
    session: Session | Connection,
    project: Project,
    *,
    on_message: Callable[[str], None] = lambda _: None,
) -> TrainedRanker:
    """Train, cross-validate and store a ranker for a project's site, which then uses it; the caller commits.

    A session that is in no transaction is in none while it trains.

    Raises:
        InputError: there are too few approvals.
        MissingExtraError: LightGBM is not installed.
    """
    with short_transaction(session) as connection:
        gold = approved_terms(connection, project.site)
    # What is approved is in the memory already, as sync_memory() sees to it.
    return train_on(
        session, gold, Training(site=project.site, remember=False, also_spaces=None), on_message=on_message
    )


def _of_review(connection: psycopg.Connection[Any], project: Project) -> Iterator[tuple[GoldTerm, bool]]:
    """What a review approved or found no match for, and whether a person looked at the single term.

    A bulk approval says what the ranker says: who learned from it would only find itself confirmed.
    """
    decided = {
        one.position: one
        for one in current_terms(connection, project.project_id)
        if one.verdict.state in (ReviewState.APPROVED, ReviewState.NO_MATCH)
    }
    for one in read_terms(connection, project.project_id, decided):
        verdict = decided[one.position].verdict
        targets = frozenset(target.concept_id for target in verdict.targets if target.is_mapping)
        has_only_values = bool(verdict.targets) and not targets
        if one.term.has_name and not has_only_values:
            gold = GoldTerm(term=one.term, targets=targets, source=f"review {project.name}")
            yield gold, decided[one.position].action is not Action.BULK
