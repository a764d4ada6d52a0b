"""Target concepts: what the loaded vocabulary says about the concepts that an export names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg

from omop_emb.mapping.approvals.replacements import TargetStatus, target_statuses
from omop_emb.mapping.approvals.reuse import describe
from omop_emb.mapping.records import CheckedTargets
from omop_emb.records import Concept
from omop_emb.service.review.exports.exported_terms import ExportedTerm
from omop_emb.vocabulary import reader

_MOST_KEPT = 20_000  # concepts, of which a file has many terms each


class TargetConcepts:
    """Concepts by id, each looked up once: call it with a batch of terms, then ask for one concept."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._concepts: dict[int, Concept | None] = {}

    def load(self, terms: Iterable[ExportedTerm]) -> None:
        """Look up the targets and the first candidates of terms."""
        wanted = set[int]()
        for term in terms:
            wanted.update(target.concept_id for target in term.verdict.targets)
        missing = [concept_id for concept_id in wanted if concept_id not in self._concepts]
        if len(self._concepts) + len(missing) > _MOST_KEPT:
            self._concepts.clear()
            missing = sorted(wanted)
        if missing:
            found = reader.concepts_by_id(self._connection, missing)
            self._concepts.update({concept_id: found.get(concept_id) for concept_id in missing})

    def name_and_domain(self, term: ExportedTerm, concept_id: int) -> tuple[str, str]:
        """A concept's name and domain as in the vocabulary, else as it was suggested; "" for unknown."""
        concept = self._concepts.get(concept_id)
        if concept is not None:
            return concept.concept_name, concept.domain_id or ""
        for candidate in term.candidates:
            if candidate.concept_id == concept_id:
                return candidate.concept_name, candidate.domain_id
        return "", ""


class TargetValidity:
    """Checks whether targets may be mapped to in the loaded vocabulary, each looked up once."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._statuses: dict[int, TargetStatus] = {}

    def load(self, concept_ids: Iterable[int]) -> None:
        """Look up the status of concepts."""
        new = sorted({concept_id for concept_id in concept_ids if concept_id not in self._statuses})
        if new:
            self._statuses.update(target_statuses(self._connection, new))

    def status(self, concept_id: int) -> TargetStatus:
        """The status of a concept that was loaded."""
        return self._statuses[concept_id]

    def __call__(self, targets: Sequence[int]) -> CheckedTargets:
        """The targets, with their replacements if each has exactly one, and what is wrong with them."""
        self.load(targets)
        outdated = [self._statuses[target] for target in targets if not self._statuses[target].is_valid]
        if not outdated:
            return CheckedTargets(tuple(targets))
        now: list[int] = []
        for target in targets:
            status = self._statuses[target]
            replacements = (
                [target] if status.is_valid else [entry.concept.concept_id for entry in status.replacements]
            )
            if len(replacements) != 1:
                now.clear()
                break
            now += replacements
        return CheckedTargets(tuple(dict.fromkeys(now)), "; ".join(map(describe, outdated)))

    def vocabularies(self, targets: Iterable[int]) -> dict[int, str]:
        """The vocabulary of each target that exists, and of what replaces those that are not valid."""
        statuses = [self._statuses[target] for target in targets]
        concepts = [status.concept for status in statuses]
        concepts += [entry.concept for status in statuses for entry in status.replacements]
        return {
            concept.concept_id: concept.vocabulary_id
            for concept in concepts
            if concept is not None and concept.vocabulary_id
        }

    def concepts(self, concept_ids: Iterable[int]) -> Mapping[int, Concept]:
        """Concepts of the vocabulary by id."""
        return reader.concepts_by_id(self._connection, concept_ids)


def loaded_concepts(connection: psycopg.Connection[Any], terms: Iterable[ExportedTerm]) -> dict[int, Concept]:
    """Concept id -> concept, of the terms' targets that the loaded vocabulary has."""
    wanted = {target.concept_id for term in terms for target in term.verdict.targets}
    if not wanted or reader.vocabulary_tables(connection) is None:
        return {}
    return reader.concepts_by_id(connection, sorted(wanted))
