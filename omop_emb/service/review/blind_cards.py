"""Blind cards: terms as a second person sees them, without anything that tells the first decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from psycopg.rows import dict_row

from omop_emb.mapping.records import Candidate
from omop_emb.service.review.decision_records import Target, Verdict
from omop_emb.service.review.decision_store import verdict_of
from omop_emb.service.review.project_store import read_terms
from omop_emb.service.review.review_card import with_values
from omop_emb.service.review.suggestion_store import read_suggestions
from omop_emb.service.review.vote_samples import Sample

_CANDIDATES = 9  # as many as there are keys for


@dataclass(frozen=True, kw_only=True)
class BlindCandidate:
    """A candidate concept, without its rank, score or probability.

    Attributes:
        differences: between the term and the concept's name, such as laterality.
        targets: what choosing it stores: the concept, and values, units … that belong beside it.
    """

    concept_id: int
    concept_name: str
    domain_id: str
    vocabulary_id: str
    concept_class_id: str
    concept_code: str
    standard_concept: str | None
    differences: tuple[str, ...]
    targets: tuple[Target, ...]


@dataclass(frozen=True, kw_only=True)
class BlindCard:
    """A term as a second person sees it.

    The order of the candidates is the sample's own for each term: neither probability nor rank, the names by
    which approvals found it, nor columns of the file that may hold a decision are in it.

    Attributes:
        own: what the person voted before, None for no vote yet.
    """

    position: int
    source_code: str
    source_name: str
    further_names: tuple[str, ...]
    frequency: int | None
    domain: str
    context: Mapping[str, str]
    candidates: tuple[BlindCandidate, ...]
    own: Verdict | None


def blind_cards(
    connection: psycopg.Connection[Any], sample: Sample, reviewer: str, positions: list[int]
) -> list[BlindCard]:
    """Terms of a sample as a second person sees them, in this order, with the person's own votes."""
    terms = {one.position: one.term for one in read_terms(connection, sample.project_id, positions)}
    suggestions = read_suggestions(connection, sample.project_id, positions)
    own = _own_votes(connection, sample.sample_id, reviewer, positions)
    result = []
    for position in positions:
        term, suggestion = terms[position], suggestions.get(position)
        candidates = suggestion.mapped.candidates[:_CANDIDATES] if suggestion else ()
        order = np.random.default_rng([sample.seed, position]).permutation(len(candidates))
        result.append(
            BlindCard(
                position=position,
                source_code=term.code,
                source_name=term.name,
                further_names=term.further_names,
                frequency=term.frequency,
                domain=term.domain or "",
                context=dict(term.context),
                candidates=tuple(_blind(candidates[int(number)]) for number in order),
                own=own.get(position),
            )
        )
    return result


def _blind(candidate: Candidate) -> BlindCandidate:
    return BlindCandidate(
        concept_id=candidate.concept_id,
        concept_name=candidate.concept_name,
        domain_id=candidate.domain_id,
        vocabulary_id=candidate.vocabulary_id,
        concept_class_id=candidate.concept_class_id,
        concept_code=candidate.concept_code,
        standard_concept=candidate.standard_concept,
        differences=candidate.flags,
        targets=with_values([candidate.concept_id], candidate.mapped_values),
    )


def _own_votes(
    connection: psycopg.Connection[Any], sample_id: int, reviewer: str, positions: list[int]
) -> dict[int, Verdict]:
    rows = connection.cursor(row_factory=dict_row).execute(
        "select distinct on (position) position, state, targets, mapping_types, equivalence, comment "
        "from omop_emb.review_vote where sample_id = %s and reviewer = %s and position = any(%s) "
        "order by position, vote_id desc",
        (sample_id, reviewer, positions),
    )
    return {row["position"]: verdict_of(row) for row in rows}
