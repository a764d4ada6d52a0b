"""Review card: everything that a person needs to decide one term."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from psycopg.sql import SQL

from omop_emb.errors import InputError
from omop_emb.mapping.records import Candidate, MappedTerm, MappedValue, SourceTerm
from omop_emb.records import Concept
from omop_emb.service.found_through import found_through
from omop_emb.service.review.corrected_probabilities import corrected_result, review_shift
from omop_emb.service.review.decision_records import Equivalence, StoredDecision, Target
from omop_emb.service.review.decision_store import history
from omop_emb.service.review.project_records import CurrentTerm, Project, Suggestion
from omop_emb.service.review.project_store import read_terms
from omop_emb.service.review.suggestion_store import current_terms, read_suggestions
from omop_emb.service.review.text_differences import TextComparison, compare_texts
from omop_emb.sql import read
from omop_emb.vocabulary.reader import concepts_by_id, vocabulary_tables

_SYNONYMS = 6  # of each candidate
_OTHERS = 12  # terms of each kind that are shown beside a term
_REMEMBERED = 4  # approved names of each candidate


@dataclass(frozen=True, kw_only=True)
class ReviewCandidate:
    """A candidate as a reviewer sees it.

    Attributes:
        candidate: mapping's record of it.
        found_through: why it was found, one line for people.
        synonyms: some other names, English ones first.
        comparison: the term and its name, word by word.
        targets: what approving it stores: the concept, and values, units … that belong beside it.
        equivalence: what the texts alone say: EQUAL if they are the same, otherwise EQUIVALENT.
        remembered: names that the site approved for it before, the latest first.
        invalid_reason: in the loaded vocabulary; "missing" if that lacks it, None for a valid one.
        is_standard: in the loaded vocabulary.
    """

    candidate: Candidate
    found_through: str
    synonyms: tuple[str, ...]
    comparison: TextComparison
    targets: tuple[Target, ...]
    equivalence: Equivalence
    remembered: tuple[str, ...]
    invalid_reason: str | None
    is_standard: bool


@dataclass(frozen=True, kw_only=True)
class ReviewCard:
    """A term, what is suggested for it, and what is known of terms like it.

    Attributes:
        current: its latest state.
        suggestion: None if it has not been mapped.
        suggested_targets: what approving the suggestion as it is stores; several if its code maps to several.
        same_text: other terms of the project with the same text.
        same_target: other terms of the project that were approved for one of its candidates or targets.
        same_text_total: how many there are in all.
        group_size: how many terms may be decided together, with this one.
        concepts: by id, all concepts that the rest of the card names, as far as the vocabulary has them.
        decisions: on the term, the first first.
    """

    current: CurrentTerm
    term: SourceTerm
    suggestion: Suggestion | None
    candidates: tuple[ReviewCandidate, ...]
    suggested_targets: tuple[Target, ...]
    same_text: tuple[CurrentTerm, ...]
    same_text_total: int
    same_target: tuple[CurrentTerm, ...]
    group_size: int
    concepts: Mapping[int, Concept]
    decisions: tuple[StoredDecision, ...]


def review_card(connection: psycopg.Connection[Any], project: Project, position: int) -> ReviewCard:
    """The card of a term.

    Raises:
        InputError: the project has no term at the position.
    """
    found = read_terms(connection, project.project_id, [position])
    if not found:
        raise InputError(f"the review has no term at position {position}")
    term = found[0].term
    (current,) = current_terms(connection, project.project_id, [position])
    suggestion = read_suggestions(connection, project.project_id, [position]).get(position)
    if suggestion is not None:
        shift = review_shift(connection, project.project_id)
        suggestion = replace(suggestion, mapped=corrected_result(suggestion.mapped, shift))
        current = replace(current, probability=suggestion.mapped.probability)
    decisions = history(connection, project.project_id, position)
    candidates = suggestion.mapped.candidates if suggestion is not None else ()
    suggested = _suggested_targets(suggestion.mapped) if suggestion is not None else ()
    ids = {one.concept_id for one in candidates} | {target.concept_id for target in suggested}
    same_text, same_text_total, group_size = _same_text(connection, project.project_id, position)
    same_target = _same_target(connection, project.project_id, position, [*ids, *_target_ids([current])])
    shown = {*ids, *_target_ids([current, *same_text, *same_target])}
    shown |= {target.concept_id for decision in decisions for target in decision.verdict.targets}
    for one in candidates:
        shown |= {value.concept_id for value in one.mapped_values}
    concepts = concepts_by_id(connection, shown)
    return ReviewCard(
        current=current,
        term=term,
        suggestion=suggestion,
        candidates=_review_candidates(connection, project.site, term, candidates, concepts),
        suggested_targets=suggested,
        same_text=same_text,
        same_text_total=same_text_total,
        same_target=same_target,
        group_size=group_size,
        concepts=concepts,
        decisions=tuple(decisions),
    )


def _review_candidates(
    connection: psycopg.Connection[Any],
    site: str,
    term: SourceTerm,
    candidates: Sequence[Candidate],
    concepts: Mapping[int, Concept],
) -> tuple[ReviewCandidate, ...]:
    ids = [one.concept_id for one in candidates]
    synonyms, remembered = _synonyms(connection, ids), _remembered(connection, site, ids)
    result = []
    for one in candidates:
        comparison = compare_texts(term.name, one)
        concept = concepts.get(one.concept_id)
        names = [name for name in synonyms.get(one.concept_id, ()) if name != one.concept_name]
        result.append(
            ReviewCandidate(
                candidate=one,
                found_through=found_through(term.name or term.code, one),
                synonyms=tuple(names[:_SYNONYMS]),
                comparison=comparison,
                targets=with_values([one.concept_id], one.mapped_values),
                equivalence=Equivalence.EQUAL if comparison.is_same else Equivalence.EQUIVALENT,
                remembered=tuple(remembered.get(one.concept_id, ())),
                invalid_reason="missing" if concept is None else concept.invalid_reason,
                is_standard=concept is not None and concept.standard_concept == "S",
            )
        )
    return tuple(result)


def _suggested_targets(mapped: MappedTerm) -> tuple[Target, ...]:
    """What mapping's result maps to, or its first candidate where it decided that there is no match."""
    targets = [concept_id for concept_id in mapped.targets if concept_id > 0]
    if targets:
        return with_values(targets, mapped.mapped_values)
    best = mapped.best
    return with_values([best.concept_id], best.mapped_values) if best is not None else ()


def with_values(concept_ids: Iterable[int], values: Collection[MappedValue]) -> tuple[Target, ...]:
    """Concepts as targets, and values, units … as what belongs beside them."""
    beside = (
        Target(value.concept_id, value.relationship_id.upper().replace(" ", "_"))
        for value in values
        if value.concept_id > 0
    )
    return tuple(dict.fromkeys([*map(Target, concept_ids), *beside]))


def _target_ids(terms: Iterable[CurrentTerm]) -> set[int]:
    return {target.concept_id for one in terms for target in one.verdict.targets}


def _same_text(
    connection: psycopg.Connection[Any], project_id: int, position: int
) -> tuple[tuple[CurrentTerm, ...], int, int]:
    """Other terms with the same text, how many there are in all, and how many may be decided together."""
    row = connection.cursor(row_factory=tuple_row).execute(
        read("review_same_text"), {"project": project_id, "position": position, "limit": _OTHERS}
    )
    positions, total, group_size = row.fetchone() or ([], 0, 1)
    return tuple(current_terms(connection, project_id, positions)) if positions else (), total, group_size


def _same_target(
    connection: psycopg.Connection[Any], project_id: int, position: int, concept_ids: Collection[int]
) -> tuple[CurrentTerm, ...]:
    """Other terms that were approved for one of some concepts, the latest first."""
    if not concept_ids:
        return ()
    rows = connection.cursor(row_factory=tuple_row).execute(
        read("review_same_target"),
        {"project": project_id, "position": position, "concepts": list(concept_ids), "limit": _OTHERS},
    )
    order = {row[0]: number for number, row in enumerate(rows)}
    found = current_terms(connection, project_id, order) if order else []
    return tuple(sorted(found, key=lambda one: order[one.position]))


def _synonyms(connection: psycopg.Connection[Any], concept_ids: Collection[int]) -> dict[int, list[str]]:
    tables = vocabulary_tables(connection)
    if tables is None or tables.concept_synonym is None or not concept_ids:
        return {}
    query = SQL(read("review_synonyms")).format(concept_synonym=tables.concept_synonym)
    rows = connection.cursor(row_factory=tuple_row).execute(
        query, {"concepts": list(concept_ids), "limit": _SYNONYMS + 1}
    )
    return dict(rows.fetchall())


def _remembered(
    connection: psycopg.Connection[Any], site: str, concept_ids: Collection[int]
) -> dict[int, list[str]]:
    """Names that a site approved for concepts, the latest first."""
    if not concept_ids:
        return {}
    rows = connection.cursor(row_factory=tuple_row).execute(
        read("review_remembered"), {"site": site, "concepts": list(concept_ids), "limit": _REMEMBERED}
    )
    return dict(rows.fetchall())
