"""Concept card: everything that the vocabulary and the spaces hold about one concept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import psycopg

from omop_emb.database.engine import driver_connection, readable_errors
from omop_emb.errors import InputError, UnknownConceptError, checked_keywords
from omop_emb.interface.interface import EmbeddingInterface
from omop_emb.records import MAX_CONCEPT_ID, Concept, ConceptFilter, ConceptMatch, shown_number, whole_number
from omop_emb.spaces import registry, stored_vectors
from omop_emb.spaces.recipe import STANDARD_AND_VALID
from omop_emb.vocabulary import reader
from omop_emb.vocabulary.concept_history import ConceptHistory, concept_history
from omop_emb.vocabulary.details import Synonym, synonyms, validity
from omop_emb.vocabulary.lookup import FIRST_LOCAL_ID, look_up, missing_id_reason
from omop_emb.vocabulary.reader import VocabularyTables
from omop_emb.vocabulary.relatives import Link, Relative, RelativeKind, Relatives

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

_ATHENA = "https://athena.ohdsi.org/search-terms/terms/{}"
_MAX_ROWS = 2**31 - 1
_RELATIVE_TABLES = ("concept_relationship", "concept_ancestor")


@dataclass(frozen=True, kw_only=True)
class SpaceTexts:
    """How many texts of a concept are embedded in a space.

    Attributes:
        space: its name.
        is_active: whether it is the one that searches use.
        texts: 0 if the concept is not embedded there.
    """

    space: str
    is_active: bool
    texts: int


@dataclass(frozen=True, kw_only=True)
class ConceptCard:
    """A concept with its relatives; lists are cut, and `counts` says how long they are in all.

    Attributes:
        valid_start, valid_end: the first and last day on which it is valid; None where a CDM does not say.
        synonyms: English ones first.
        ancestors, descendants: the nearest first; the others are in order of concept id.
        related: by any relationship, at most as many of each as lists are cut to.
        counts: of "synonyms" and each list of relatives -> how many there are.
        relationships: name of each relationship of `related` -> how many there are.
        releases: what changed since the release before.
        spaces: of all embedding spaces, the active one first.
        not_loaded: which tables the vocabulary lacks, so that lists are empty.
        athena_url: its page at Athena; "" for a site's own concept.
    """

    concept: Concept
    valid_start: date | None
    valid_end: date | None
    synonyms: tuple[Synonym, ...]
    parents: tuple[Relative, ...]
    children: tuple[Relative, ...]
    siblings: tuple[Relative, ...]
    ancestors: tuple[Relative, ...]
    descendants: tuple[Relative, ...]
    maps_to: tuple[Relative, ...]
    mapped_from: tuple[Relative, ...]
    related: tuple[Relative, ...]
    counts: Mapping[str, int]
    relationships: Mapping[str, int]
    releases: ConceptHistory
    spaces: tuple[SpaceTexts, ...]
    not_loaded: tuple[str, ...]
    athena_url: str


@dataclass(frozen=True, kw_only=True)
class RelativesPage:
    """Some of a concept's relatives.

    Attributes:
        relatives: in the order of the concept's card.
        total: how many there are in all.
        not_loaded: which tables the vocabulary lacks, so that relatives are missing.
    """

    relatives: tuple[Relative, ...]
    total: int
    not_loaded: tuple[str, ...]


@checked_keywords
def concept_card(session: Session | Connection, concept_id: int, *, limit: int = 50) -> ConceptCard:
    """The card of a concept of the loaded vocabulary, or of a CDM's; lists are cut to `limit`.

    Parents and children are those of the relationship "Is a", or of concept_ancestor where it has none;
    ancestors and descendants are those of concept_ancestor, or found by going from parent to parent.

    Raises:
        UnknownConceptError: the vocabulary has no such concept.
        VocabularyError: no vocabulary is loaded.
        InputError: an argument is no id or no count.
    """
    concept_id, limit = _concept_id(concept_id), _count(limit, "limit")
    with readable_errors():
        connection = driver_connection(session)
        tables, concept = _concept(connection, concept_id)
        relatives = Relatives(connection, tables)
        relationships = relatives.counts_by_relationship(concept_id)
        related = relatives.first_of_each([concept_id], relationships, limit=limit)
        pages = {
            kind: relatives.page(concept_id, kind, limit=limit)
            for kind in RelativeKind
            if kind is not RelativeKind.RELATED
        }
        links = {kind: page.links for kind, page in pages.items()} | {RelativeKind.RELATED: related}
        named = relatives.named(link for some in links.values() for link in some)
        others = synonyms(connection, tables, concept_id)
        counts = {kind.value: page.total for kind, page in pages.items()}
        valid_start, valid_end = validity(connection, tables, concept_id)
        return ConceptCard(
            concept=concept,
            valid_start=valid_start,
            valid_end=valid_end,
            synonyms=tuple(others[:limit]),
            counts={"synonyms": len(others), **counts, "related": sum(relationships.values())},
            relationships=relationships,
            releases=concept_history(connection, tables, concept_id),
            spaces=_spaces(connection, concept_id),
            not_loaded=_not_loaded(connection, tables, ("concept_synonym", *_RELATIVE_TABLES)),
            athena_url=athena_url(concept_id),
            **{kind.value: _named(some, named) for kind, some in links.items()},
        )


@checked_keywords
def concept_relatives(
    session: Session | Connection, concept_id: int, kind: str, *, limit: int = 100, offset: int = 0
) -> tuple[Relative, ...]:
    """The relatives of relatives_page(); its arguments are the same."""
    return relatives_page(session, concept_id, kind, limit=limit, offset=offset).relatives


def relatives_page(
    session: Session | Connection, concept_id: int, kind: str, *, limit: int = 100, offset: int = 0
) -> RelativesPage:
    """A page of a concept's relatives of a kind, in the order of its card, and how many there are.

    Args:
        session: whose transaction is used.
        concept_id: of the loaded vocabulary.
        kind: "parents", "children", "siblings", "ancestors", "descendants", "maps_to", "mapped_from" or
            "related", which is by any relationship, in order of its name.
        limit: how many, at least 1.
        offset: how many are left out before them.

    Raises:
        UnknownConceptError: the vocabulary has no such concept.
        InputError: another argument cannot be used.
    """
    concept_id, relative_kind = _concept_id(concept_id), RelativeKind.parse(kind, "kind")
    limit, offset = _count(limit, "limit"), _count(offset, "offset", least=0)
    with readable_errors():
        connection = driver_connection(session)
        tables, _ = _concept(connection, concept_id)
        relatives = Relatives(connection, tables)
        links, total = relatives.page(concept_id, relative_kind, limit=limit, offset=offset)
        return RelativesPage(
            relatives=_named(links, relatives.named(links)),
            total=total,
            not_loaded=_not_loaded(connection, tables, _RELATIVE_TABLES),
        )


def athena_url(concept_id: int) -> str:
    """The page of a concept at Athena; "" for a site's own concept, which has none."""
    return _ATHENA.format(concept_id) if concept_id < FIRST_LOCAL_ID else ""


def referenced_concept(session: Session | Connection, reference: str) -> Concept:
    """The concept that is given by its id or as VOCABULARY:CODE.

    Raises:
        UnknownConceptError: there is none, or the text is neither.
    """
    found = look_up(session, [reference])
    if reference in found.concepts:
        return found.concepts[reference]
    raise UnknownConceptError(
        found.missing.get(reference)
        or "give a concept by its id or as VOCABULARY:CODE, such as SNOMED:22298006; to find a term, "
        "use search"
    )


@checked_keywords
def find_similar(
    session: Session | Connection,
    concept_id: int,
    *,
    k: int = 10,
    concept_filter: ConceptFilter | None = STANDARD_AND_VALID,
) -> tuple[ConceptMatch, ...]:
    """The k concepts whose vectors are nearest to a concept's own in the active space, nearest first.

    No model is loaded. The concept itself is left out, and need not pass the filter.

    Raises:
        UnknownConceptError: the vocabulary has no such concept.
        InputError: it is not embedded; the message names the standard concepts that it maps to.
        SpaceError: no space is active or complete.
    """
    concept_id = _concept_id(concept_id)
    with readable_errors():
        connection = driver_connection(session)
        tables, _ = _concept(connection, concept_id)
        space = registry.active_space(connection)
        if not stored_vectors.count_texts(connection, space, concept_id):
            raise InputError(
                f"concept {concept_id} is not embedded in space {space.name!r}"
                f"{_hint(Relatives(connection, tables), concept_id)}"
            )
    (matches,) = EmbeddingInterface().get_similar_concepts(
        session=session, concept_ids=(concept_id,), k=k, concept_filter=concept_filter
    )
    return tuple(matches)


def _concept(connection: psycopg.Connection[Any], concept_id: int) -> tuple[VocabularyTables, Concept]:
    tables = reader.require_vocabulary(connection)
    concept = reader.concepts_by_id(connection, [concept_id]).get(concept_id)
    if concept is None:
        raise UnknownConceptError(missing_id_reason(connection, concept_id), concept_id=concept_id)
    return tables, concept


def _hint(relatives: Relatives, concept_id: int) -> str:
    """What to ask about instead of a concept without vectors."""
    links = relatives.page(concept_id, RelativeKind.MAPS_TO, limit=3).links
    targets = [str(link.concept_id) for link in links if link.concept_id != concept_id]
    return f": use {' or '.join(targets)}, to which it maps" if targets else ""


def _spaces(connection: psycopg.Connection[Any], concept_id: int) -> tuple[SpaceTexts, ...]:
    spaces = sorted(registry.all_spaces(connection), key=lambda space: not space.is_active)
    return tuple(
        SpaceTexts(
            space=space.name,
            is_active=space.is_active,
            texts=stored_vectors.count_texts(connection, space, concept_id),
        )
        for space in spaces
    )


def _not_loaded(
    connection: psycopg.Connection[Any], tables: VocabularyTables, names: Sequence[str]
) -> tuple[str, ...]:
    return tuple(
        name
        for name in names
        if (table := getattr(tables, name)) is None or reader.is_empty(connection, table)
    )


def _named(links: list[Link], named: Mapping[Link, Relative]) -> tuple[Relative, ...]:
    return tuple(named[link] for link in links)


def _concept_id(concept_id: int) -> int:
    if isinstance(concept_id, bool) or not hasattr(concept_id, "__index__"):
        raise InputError(f"concept_id must be a whole number; found {type(concept_id).__name__}")
    number = concept_id.__index__()  # of numpy's integers, too
    if abs(number) > MAX_CONCEPT_ID:
        reason = f"there is no concept {shown_number(number)}: a concept id is at most {MAX_CONCEPT_ID}"
        raise UnknownConceptError(reason, concept_id=number)
    return number


def _count(value: int, name: str, *, least: int = 1) -> int:
    """A caller's count; the server takes none that is larger than all concepts together."""
    return min(whole_number(value, name, least=least), _MAX_ROWS)
