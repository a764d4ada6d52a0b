"""Vote results: what second votes say of a review: how far two people agree, how precise the file is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from omop_emb.errors import InputError
from omop_emb.service.review.agreement import Agreement, agreement_by, choice
from omop_emb.service.review.decision_records import (
    Action,
    DecisionResult,
    Equivalence,
    NewDecision,
)
from omop_emb.service.review.decision_store import decide
from omop_emb.service.review.precision_audit import AuditResult, finite_interval
from omop_emb.service.review.vote_differences import VotedTerm, voted_terms
from omop_emb.service.review.vote_samples import Sample, SampleKind, find_sample


@dataclass(frozen=True, kw_only=True)
class SampleResult:
    """What the votes of a sample say.

    Attributes:
        overall, by_domain: agreement with the decisions when they were drawn; votes that flag are left out.
        flagged: votes of a person who could not tell.
        open_differences: terms that differ or are flagged, without a third decision.
        audit: of a sample that is one; None for second votes.
    """

    sample: Sample
    overall: Agreement
    by_domain: Mapping[str, Agreement]
    flagged: int
    open_differences: int
    audit: AuditResult | None


def sample_result(connection: psycopg.Connection[Any], project_id: int, sample_id: int) -> SampleResult:
    """The result of a sample so far."""
    sample = find_sample(connection, project_id, sample_id)
    terms = voted_terms(connection, project_id, sample_id)
    overall, by_domain = agreement_by(
        (one.domain, choice(one.first), choice(one.second)) for one in terms if not one.is_undecided
    )
    return SampleResult(
        sample=sample,
        overall=overall,
        by_domain=by_domain,
        flagged=sum(one.is_undecided for one in terms),
        open_differences=sum(not one.is_settled for one in terms),
        audit=audit_result(sample, terms) if sample.kind is SampleKind.AUDIT else None,
    )


def audit_result(sample: Sample, terms: Sequence[VotedTerm]) -> AuditResult:
    """The precision that the voted terms of an audit show: of the file as it was when they were drawn."""
    settled = [one for one in terms if one.is_settled]
    right = sum(one.agrees or choice(one.current) == choice(one.first) for one in settled)
    n = len(settled)
    return AuditResult(
        population=sample.population,
        drawn=sample.terms,
        right=right,
        wrong=n - right,
        unsettled=len(terms) - n,
        unanswered=sample.terms - len(terms),
        settled_by_one_of_two=sum(
            not one.agrees and one.decided_by in (one.first_reviewer, one.second_reviewer) for one in settled
        ),
        interval=finite_interval(right, n, sample.population) if n else None,
    )


def adjudicate(
    connection: psycopg.Connection[Any], project_id: int, sample_id: int, reviewer: str, new: NewDecision
) -> DecisionResult:
    """Store the third decision on a term on which two people differ; the caller commits.

    Like any decision it is not stored if the term has changed since the person saw it. One that keeps the
    targets keeps their equivalence if it says none.

    Raises:
        InputError: the sample has no such term, or nobody has voted on it.
    """
    find_sample(connection, project_id, sample_id)
    found = voted_terms(connection, project_id, sample_id, [new.position])
    if not found:
        raise InputError(f"sample {sample_id} has no second vote on a term at position {new.position}")
    current = found[0].current
    if choice(new.verdict) == choice(current) and new.verdict.equivalence is Equivalence.UNREVIEWED:
        new = replace(new, verdict=replace(new.verdict, equivalence=current.equivalence))
    (result,) = decide(connection, project_id, reviewer, [new], action=Action.ADJUDICATE)
    return result
