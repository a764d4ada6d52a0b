"""Reuse of approvals: earlier mappings kept while their targets are valid, else listed with replacements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import psycopg

from omop_emb.mapping.approvals.approved_file import ApprovedMapping, TermKey
from omop_emb.mapping.approvals.replacements import Replacement, TargetStatus, target_statuses
from omop_emb.mapping.files.table_writer import Column
from omop_emb.mapping.records import (
    VALUE_COLUMNS,
    Candidate,
    Decision,
    MappedTerm,
    MappedValue,
    Provenance,
    SourceTerm,
    Variant,
    value_row,
)
from omop_emb.records import Concept

_MAX_NAME_LENGTH = 255  # of a name in source_to_concept_map; longer ones are cut
OUTDATED_COLUMNS = (
    Column("source_code"),
    Column("source_name"),
    Column("line", "integer"),
    Column("concept_id", "integer"),
    Column("concept_name"),
    Column("reason"),
    Column("replacement_id", "integer"),
    Column("replacement_name"),
    Column("path"),
    *(Column(name) for name in VALUE_COLUMNS),
)


@dataclass(frozen=True)
class CheckedMappings:
    """Approved mappings, with the status of their targets in the present vocabulary."""

    mappings: Mapping[TermKey, ApprovedMapping]  # by code and name; the last of several in a file
    statuses: Mapping[int, TargetStatus]  # by target
    # the names of a code in the file, to recognise a renamed code
    names_by_code: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def find(self, term: SourceTerm) -> ApprovedMapping | None:
        """The approved mapping of a term, with the same code and name; a name that was cut needs a code."""
        cut = (term.code, term.name[:_MAX_NAME_LENGTH])
        return self.mappings.get(term.key) or (self.mappings.get(cut) if term.code else None)

    def reuse(self, term: SourceTerm, provenance: Provenance) -> MappedTerm | None:
        """The term as it was approved; None if it was not, or a target is no longer valid."""
        mapping = self.find(term)
        if mapping is None or not all(
            self.statuses[target.concept_id].is_valid for target in mapping.targets
        ):
            return None
        targets = [target for target in mapping.targets if target.is_mapping]
        concepts = [self.statuses[target.concept_id].concept for target in targets]
        named = [concept for concept in concepts if concept is not None]
        return MappedTerm(
            term=term,
            candidates=tuple(_as_candidate(concept, rank) for rank, concept in enumerate(named, start=1)),
            decision=Decision.ACCEPT if mapping.targets else Decision.NO_MATCH,
            reason=f"approved before (line {mapping.line} of the earlier file)",
            probability=None,
            priority=0.0,
            provenance=provenance,
            previous=tuple(target.concept_id for target in targets) if mapping.targets else (0,),
            previous_values=self._values(mapping),
        )

    def apply_to(self, mapped: MappedTerm) -> MappedTerm:
        """A newly mapped term, changed by its approved mapping.

        If a target is no longer valid, the term needs review. Its targets become the replacements if each
        invalid target has some.
        """
        mapping = self.find(mapped.term)
        if mapping is None:
            if not mapped.term.code or not self.names_by_code.get(mapped.term.code):
                return mapped
            return replace(mapped, reason=f"{mapped.reason}; its code was approved under another name")
        reused = self.reuse(mapped.term, mapped.provenance)
        if reused is not None:
            return replace(reused, candidates=mapped.candidates)
        statuses = [self.statuses[target.concept_id] for target in mapping.targets]
        outdated = [status for status in statuses if not status.is_valid]
        is_complete = all(status.replacements for status in outdated)
        targets = [
            concept.concept_id
            for target in mapping.targets
            if target.is_mapping
            for concept in self._now(target.concept_id)
        ]
        return replace(
            mapped,
            decision=Decision.REVIEW,
            reason=f"approved before, but {'; '.join(map(describe, outdated))}",
            previous=tuple(dict.fromkeys(targets)) if is_complete else (),
            previous_values=self._values(mapping) if is_complete else (),
        )

    def _now(self, concept_id: int) -> list[Concept]:
        """A target if it is valid, else what took its place."""
        status = self.statuses[concept_id]
        if status.is_valid:
            return [status.concept] if status.concept is not None else []
        return [replacement.concept for replacement in status.replacements]

    def _values(self, mapping: ApprovedMapping) -> tuple[MappedValue, ...]:
        """The values, units … of an approved mapping, and those that belong beside its replacements."""
        values: list[MappedValue] = []
        for target in mapping.targets:
            if target.is_mapping:
                replacements = self.statuses[target.concept_id].replacements
                values += (value for entry in replacements for value in entry.mapped_values)
            else:
                relationship = target.mapping_type.replace("_", " ").capitalize()
                concepts = self._now(target.concept_id)
                values += (MappedValue(relationship, c.concept_id, c.concept_name) for c in concepts)
        return tuple(dict.fromkeys(values))

    def concept(self, concept_id: int) -> Concept | None:
        """A target or a replacement, as the vocabulary has it; None for other concepts."""
        if concept_id in self.statuses:
            return self.statuses[concept_id].concept
        return self._replacements.get(concept_id)

    @cached_property
    def _replacements(self) -> dict[int, Concept]:
        concepts = (entry.concept for status in self.statuses.values() for entry in status.replacements)
        return {concept.concept_id: concept for concept in concepts}

    def approved_by(self, key: TermKey) -> str:
        """Who approved the mapping of a source code and name; "" if nobody is named."""
        mapping = self.mappings.get(key)
        return mapping.approved_by if mapping is not None else ""

    def outdated_rows(self) -> Iterator[dict[str, Any]]:
        """Rows of OUTDATED_COLUMNS: each target that is no longer valid, one row per replacement."""
        for mapping in self.mappings.values():
            statuses = [self.statuses[target.concept_id] for target in mapping.targets]
            yield from outdated_rows(mapping.key, mapping.line, statuses)


def outdated_rows(key: TermKey, line: int, statuses: Iterable[TargetStatus]) -> Iterator[dict[str, Any]]:
    """Rows of OUTDATED_COLUMNS for the targets of a term that are not valid, one per replacement."""
    for status in statuses:
        if status.is_valid:
            continue
        row = {
            "source_code": key[0],
            "source_name": key[1],
            "line": line,
            "concept_id": status.concept_id,
            "concept_name": status.concept.concept_name if status.concept is not None else None,
            "reason": status.reason,
        }
        if not status.replacements:
            yield row
        for replacement in status.replacements:
            yield {**row, **_replacement_columns(replacement)}


def check_previous(
    connection: psycopg.Connection[Any], mappings: Mapping[TermKey, ApprovedMapping]
) -> CheckedMappings:
    """Approved mappings with the status of their targets in the present vocabulary."""
    targets = {target.concept_id for mapping in mappings.values() for target in mapping.targets}
    names: dict[str, tuple[str, ...]] = {}
    for code, name in mappings:
        names[code] = (*names.get(code, ()), name)
    return CheckedMappings(mappings, target_statuses(connection, targets), names)


def _as_candidate(concept: Concept, rank: int) -> Candidate:
    """An approved target as a candidate, so that every output can name it."""
    return Candidate(
        rank=rank,
        concept_id=concept.concept_id,
        concept_name=concept.concept_name,
        domain_id=concept.domain_id or "",
        vocabulary_id=concept.vocabulary_id or "",
        concept_class_id=concept.concept_class_id or "",
        standard_concept=concept.standard_concept,
        concept_code=concept.concept_code or "",
        score=0.0,
        probability=None,
        variant=Variant("", "approved before"),
        matched_text="",
        matched_kind="",
        retrievers={},
    )


def describe(status: TargetStatus) -> str:
    """What became of a target that is no longer valid, for a person."""
    name = f" {status.concept.concept_name}" if status.concept is not None else ""
    if not status.replacements:
        return f"{status.concept_id}{name} is {status.reason} and nothing replaces it"
    replacements = ", ".join(f"{r.concept.concept_id} {r.concept.concept_name}" for r in status.replacements)
    return f"{status.concept_id}{name} is {status.reason}: {replacements} instead"


def _replacement_columns(replacement: Replacement) -> dict[str, Any]:
    steps = (f"{s.concept_id} {s.concept_name} ({s.relationship_id})" for s in replacement.path)
    return {
        "replacement_id": replacement.concept.concept_id,
        "replacement_name": replacement.concept.concept_name,
        "path": " > ".join(steps),
        **value_row(replacement.mapped_values),
    }
