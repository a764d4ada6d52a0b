"""Concept properties: what OpenRefine can add to a table as columns, from the cards of concepts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from omop_emb.errors import InputError
from omop_emb.records import Concept
from omop_emb.service import ConceptCard
from omop_emb.vocabulary.relatives import Relative

MAX_IDS = 100
"""Concepts in one extension, each a card of some 20 ms; OpenRefine asks for ten at a time."""
_STATUS = {"S": "standard", "C": "classification"}


def _text(value: str | None) -> list[dict[str, Any]]:
    return [{"str": value}] if value else []


def _day(value: date | None) -> list[dict[str, Any]]:
    return [{"date": f"{value.isoformat()}T00:00:00Z"}] if value else []


def _concepts(relatives: Iterable[Relative]) -> list[dict[str, Any]]:
    found = [relative.concept for relative in relatives]
    return [{"id": str(concept.concept_id), "name": concept.concept_name} for concept in found]


def _status(concept: Concept) -> list[dict[str, Any]]:
    return _text(_STATUS.get(concept.standard_concept or "", "non-standard"))


@dataclass(frozen=True)
class ConceptProperty:
    """A column that can be added.

    Attributes:
        name: as people read it.
        values: the cells of a concept, in the shapes of the specification.
        is_concept: whether its values are concepts, which OpenRefine can extend in turn.
    """

    name: str
    values: Callable[[ConceptCard], list[dict[str, Any]]]
    is_concept: bool = False


PROPERTIES: Mapping[str, ConceptProperty] = {
    "domain": ConceptProperty("Domain", lambda card: _text(card.concept.domain_id)),
    "vocabulary": ConceptProperty("Vocabulary", lambda card: _text(card.concept.vocabulary_id)),
    "concept_class": ConceptProperty("Concept class", lambda card: _text(card.concept.concept_class_id)),
    "code": ConceptProperty("Concept code", lambda card: _text(card.concept.concept_code)),
    "standard": ConceptProperty("Standard", lambda card: _status(card.concept)),
    "valid_start": ConceptProperty("Valid from", lambda card: _day(card.valid_start)),
    "valid_end": ConceptProperty("Valid until", lambda card: _day(card.valid_end)),
    "synonyms": ConceptProperty("Synonyms", lambda card: [{"str": one.text} for one in card.synonyms]),
    "maps_to": ConceptProperty("Maps to", lambda card: _concepts(card.maps_to), is_concept=True),
    "parents": ConceptProperty("Parents", lambda card: _concepts(card.parents), is_concept=True),
    "children": ConceptProperty("Children", lambda card: _concepts(card.children), is_concept=True),
}
"""All properties by id, in the order in which they are offered."""


def parse_extension(text: str) -> tuple[list[str], list[str]]:
    """The concept ids and property ids of an extension query.

    Raises:
        InputError: it is not JSON of the specification's shape, or names a property that does not exist.
    """
    try:
        query = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError("extend must be JSON, an object with ids and properties; this is none") from error
    ids, properties = (query.get("ids"), query.get("properties")) if isinstance(query, dict) else (None, None)
    if not isinstance(ids, list) or not isinstance(properties, list):
        raise InputError("extend must be an object with the lists ids and properties")
    if len(ids) > MAX_IDS:
        raise InputError(f"an extension has at most {MAX_IDS:,} ids; found {len(ids):,}")
    names = [entry.get("id") if isinstance(entry, dict) else entry for entry in properties]
    known: dict[str, None] = {}
    for name in names:
        if not isinstance(name, str) or name not in PROPERTIES:
            raise InputError(f"there is no property {str(name)[:40]!r}; there are {', '.join(PROPERTIES)}")
        known[name] = None
    return [str(concept_id) for concept_id in ids], list(known)


def extension(cards: Mapping[str, ConceptCard | None], properties: list[str]) -> dict[str, Any]:
    """The answer to an extension query: a row for each id, without values for those that do not exist."""
    meta = []
    for name in properties:
        entry: dict[str, Any] = {"id": name, "name": PROPERTIES[name].name}
        if PROPERTIES[name].is_concept:
            entry["type"] = {"id": "concept", "name": "Concept"}
        meta.append(entry)
    rows = {
        key: {name: [] if card is None else PROPERTIES[name].values(card) for name in properties}
        for key, card in cards.items()
    }
    return {"meta": meta, "rows": rows}
