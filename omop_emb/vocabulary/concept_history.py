"""A concept's history: what became of it from the release before to the loaded one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors as postgres

from omop_emb.database.transactions import atomic
from omop_emb.records import Concept
from omop_emb.vocabulary.changes import ConceptChange, concept_changes
from omop_emb.vocabulary.reader import VocabularyTables
from omop_emb.vocabulary.relatives import Relatives
from omop_emb.vocabulary.releases import Release, vocabulary_releases

_REPLACED_BY = "Concept replaced by"
_MOST_REPLACEMENTS = 100  # OMOP has a few of a concept


@dataclass(frozen=True, kw_only=True)
class ConceptHistory:
    """A concept in the loaded release and in the one before it.

    Attributes:
        release: the loaded release, such as "v5.0 30-AUG-24"; None where a CDM does not say.
        previous_release: the one before it; None if none is kept.
        changes: what changed since; () for nothing, or if no release before is kept.
        replaced_by: the concepts that replaced it, if any.
    """

    release: str | None
    previous_release: str | None
    changes: tuple[ConceptChange, ...]
    replaced_by: tuple[Concept, ...]


def concept_history(
    connection: psycopg.Connection[Any], tables: VocabularyTables, concept_id: int
) -> ConceptHistory:
    """The history of a concept of the loaded release."""
    relatives = Relatives(connection, tables)
    links = relatives.first_of_each([concept_id], [_REPLACED_BY], limit=_MOST_REPLACEMENTS)
    loaded, previous = _releases(connection, tables)
    changes: list[ConceptChange] = []
    if loaded is not None and previous is not None:
        try:
            with atomic(connection):
                changes = concept_changes(
                    connection, concept_id, before=previous.release_id, after=loaded.release_id
                )
        except postgres.UndefinedTable:
            previous = None  # somebody has loaded the next release, and this one is gone
    return ConceptHistory(
        release=loaded.label if loaded is not None else tables.version,
        previous_release=None if previous is None else previous.label,
        changes=tuple(changes),
        replaced_by=tuple(relative.concept for relative in relatives.named(links).values()),
    )


def _releases(
    connection: psycopg.Connection[Any], tables: VocabularyTables
) -> tuple[Release | None, Release | None]:
    """The loaded release and the one before it, as far as there are such."""
    if tables.release_id is None:
        return None, None
    releases = {release.is_active: release for release in vocabulary_releases(connection)}
    loaded = releases.get(True)
    if loaded is None or loaded.release_id != tables.release_id:
        return None, None  # another was loaded after our tables were chosen
    return loaded, releases.get(False)
