"""Overview: which vocabulary is loaded, which spaces exist, and whether questions can be answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from omop_emb.database.engine import driver_connection
from omop_emb.indexing.status import SpaceStatus, space_statuses
from omop_emb.spaces import registry
from omop_emb.spaces.release import release_warning
from omop_emb.vocabulary import reader

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@dataclass(frozen=True, kw_only=True)
class VocabularyOverview:
    """The loaded vocabulary.

    Attributes:
        version: such as "v5.0 30-AUG-24"; None where the vocabulary does not say.
        source: name of the folder or zip that was loaded; None for a CDM's tables.
        loaded_at: when it was loaded; None for a CDM's tables.
        rows: rows of each table that exists; None where they were not counted.
        domains, vocabularies, concept_classes: the values that filters may name, sorted.
    """

    version: str | None
    source: str | None
    loaded_at: datetime | None
    rows: Mapping[str, int | None]
    domains: tuple[str, ...]
    vocabularies: tuple[str, ...]
    concept_classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """Whether questions can be answered.

    Attributes:
        vocabulary: version of the loaded vocabulary; None without one, "" where it names none.
        space: name of the active space; None without one.
        reason: what is missing and what to run; "" for nothing.
        warning: what works but deserves a look, such as a space of an older release; "" for nothing.
    """

    vocabulary: str | None
    space: str | None
    reason: str = ""
    warning: str = ""


def vocabulary_overview(session: Session) -> VocabularyOverview | None:
    """The loaded vocabulary, None without one."""
    connection = driver_connection(session)
    status = reader.vocabulary_status(connection)
    if status is None:
        return None
    domains, vocabularies, classes = (
        tuple(reader.existing_values(connection, kind)) for kind in ("domain", "vocabulary", "concept class")
    )
    return VocabularyOverview(
        version=status.version,
        source=status.source,
        loaded_at=status.loaded_at,
        rows=status.rows,
        domains=domains,
        vocabularies=vocabularies,
        concept_classes=classes,
    )


def space_overviews(session: Session) -> list[SpaceStatus]:
    """The state of each space, oldest first."""
    return space_statuses(driver_connection(session))


def readiness(session: Session) -> Readiness:
    """What there is of what a question needs."""
    connection = driver_connection(session)
    tables = reader.vocabulary_tables(connection)
    active = next((space for space in registry.all_spaces(connection) if space.is_active), None)
    vocabulary = None if tables is None else tables.version or ""
    space = None if active is None else active.name
    if tables is None:
        reason = "no vocabulary is loaded: run omop-emb vocabulary load PATH"
    elif active is None:
        reason = "no space is active: run omop-emb index build"
    elif not active.is_complete:
        reason = f"space {active.name!r} is incomplete: run {registry.build_command(active.name)}"
    else:
        warning = release_warning(connection, active) or ""
        return Readiness(vocabulary=vocabulary, space=space, warning=warning)
    return Readiness(vocabulary=vocabulary, space=space, reason=reason)
