"""Reconciliation queries: OpenRefine's queries as source terms, and mapped terms as its results.

Shapes are those of the Reconciliation Service API (https://reconciliation-api.github.io/specs/0.2/).
Types are OMOP domains; properties are vocabulary, class, code and unit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from omop_emb.errors import InputError
from omop_emb.mapping import Settings
from omop_emb.mapping.records import Candidate, Decision, MappedTerm, Retriever, SourceTerm

MAX_QUERIES = 1_000
"""Queries in one batch; OpenRefine sends ten by default."""
MAX_LIMIT = 100
_DEFAULT_LIMIT = 10

TERM_PROPERTIES = {
    "vocabulary": "Vocabulary of the concept, such as SNOMED",
    "concept_class": "Class of the concept, such as Clinical Finding",
    "source_code": "Code of the term in the source",
    "source_vocabulary": "Vocabulary of the source's code, such as ICD10CM",
    "unit": "Unit of a measurement, such as mmol/L",
}
"""Properties that a query may have, each with what it means."""


@dataclass(frozen=True, kw_only=True)
class ReconciliationQuery:
    """A query of a batch.

    Attributes:
        name: the text, with its unit behind it.
        domains: in which the concept must be; () for any.
        properties: the values of TERM_PROPERTIES that it has.
        limit: how many results it asks for.
    """

    name: str
    domains: tuple[str, ...] = ()
    properties: Mapping[str, tuple[str, ...]]
    limit: int = _DEFAULT_LIMIT

    @property
    def can_be_mapped(self) -> bool:
        """Whether it has a text, or a code with its vocabulary."""
        return self.term.can_be_mapped

    @property
    def term(self) -> SourceTerm:
        """The query as a source term."""

        def joined(name: str) -> str:
            return "|".join(self.properties.get(name, ()))

        unit = " ".join(self.properties.get("unit", ()))
        return SourceTerm(
            name=f"{self.name} {unit}" if self.name and unit else self.name,
            code=(*self.properties.get("source_code", ()), "")[0],
            source_vocabulary=joined("source_vocabulary") or None,
            domain="|".join(self.domains) or None,
        )

    def settings(self, settings: Settings) -> Settings:
        """The server's settings, with this query's filter and number of candidates."""
        properties = self.properties
        concept_filter = replace(
            settings.concept_filter,
            vocabularies=properties.get("vocabulary") or settings.concept_filter.vocabularies,
            concept_classes=properties.get("concept_class") or settings.concept_filter.concept_classes,
        )
        changed = replace(settings, candidates=self.limit, concept_filter=concept_filter)
        if changed.has_learned_probabilities:
            return changed
        # Thresholds hold for all standard concepts only: with another filter nothing is accepted.
        return replace(changed, policy=replace(settings.policy, accept_precision=None))


def parse_batch(text: str) -> dict[str, ReconciliationQuery]:
    """The queries of a batch by their keys.

    Raises:
        InputError: it is not JSON of the specification's shape; the line names the query.
    """
    try:
        batch = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError("queries must be JSON, an object of queries by key; this is none") from error
    if not isinstance(batch, dict):
        raise InputError(f"queries must be an object of queries by key; found {_kind(batch)}")
    if len(batch) > MAX_QUERIES:
        raise InputError(f"a batch has at most {MAX_QUERIES:,} queries; found {len(batch):,}")
    return {key: _query(key, value) for key, value in batch.items()}


def _query(key: str, value: Any) -> ReconciliationQuery:
    if isinstance(value, str):  # the short form of 0.1, which OpenRefine's extensions still send
        value = {"query": value}
    if not isinstance(value, dict):
        raise InputError(f"query {key[:40]!r} must be an object; found {_kind(value)}")
    text = value.get("query", "")
    types = value.get("type", [])
    types = [types] if isinstance(types, str | dict) else types
    properties = value.get("properties") or []
    if not isinstance(text, str) or not isinstance(types, list) or not isinstance(properties, list):
        raise InputError(f"query {key[:40]!r} must have a text as query, and lists as type and properties")
    limit = value.get("limit", _DEFAULT_LIMIT)
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not 1 <= limit < math.inf:
        limit = _DEFAULT_LIMIT
    # "should" only prefers types; a preference that the ranker was not trained with would spoil its order.
    required = value.get("type_strict", "any") != "should"
    return ReconciliationQuery(
        name=text.strip(),
        domains=tuple(filter(None, map(_identifier, types))) if required else (),
        properties=_values_by_property(key, properties),
        limit=min(int(limit), MAX_LIMIT),
    )


def _values_by_property(key: str, properties: Sequence[Any]) -> dict[str, tuple[str, ...]]:
    values: dict[str, tuple[str, ...]] = {}
    for entry in properties:
        if not isinstance(entry, dict) or not isinstance(entry.get("pid"), str):
            raise InputError(f"query {key[:40]!r} has a property without a pid")
        given = entry.get("v")
        listed = [_identifier(value) for value in (given if isinstance(given, list) else [given])]
        # Other columns that a user adds say nothing that mapping can use.
        if entry["pid"] in TERM_PROPERTIES:
            values[entry["pid"]] = values.get(entry["pid"], ()) + tuple(filter(None, listed))
    return values


def _identifier(value: Any) -> str:
    """A type or value as text: one may be given as {"id": …}."""
    if isinstance(value, dict):
        value = value.get("id")
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else f"a {type(value).__name__}"


def results(mapped: MappedTerm) -> list[dict[str, Any]]:
    """A mapped term's candidates as results, best first.

    The score is 0 to 100: 100 times the first candidate's probability; the others share the rest in the
    ranker's order. Without a probability all share 100. A match is what was accepted without a person.
    """
    accepted = mapped.targets if mapped.decision is Decision.ACCEPT else ()
    return [
        {
            "id": str(candidate.concept_id),
            "name": candidate.concept_name,
            "description": describe(candidate),
            "score": round(score, 2),
            "match": candidate.concept_id in accepted and len(accepted) == 1,
            "type": [{"id": candidate.domain_id, "name": candidate.domain_id}],
            "features": _features(candidate),
        }
        for candidate, score in zip(mapped.candidates, _scores(mapped), strict=True)
    ]


def describe(candidate: Candidate) -> str:
    """A candidate in a line: domain, class, vocabulary and code, and what a reviewer must see."""
    parts = [
        candidate.domain_id,
        candidate.concept_class_id,
        f"{candidate.vocabulary_id} {candidate.concept_code}",
        *candidate.flags,
    ]
    return " · ".join(part for part in parts if part)


def _scores(mapped: MappedTerm) -> list[float]:
    weights = _softmax([candidate.score for candidate in mapped.candidates])
    if mapped.probability is not None and weights:
        first = mapped.probability
        rest = _softmax([candidate.score for candidate in mapped.candidates[1:]])
        weights = [first, *(min(first, (1 - first) * weight) for weight in rest)]
    scores: list[float] = []
    for weight in weights:  # a code's targets come first whatever their score
        scores.append(min(100 * weight, scores[-1]) if scores else 100 * weight)
    return scores


def _softmax(values: Sequence[float]) -> list[float]:
    if not values:
        return []
    exponentials = [math.exp(value - max(values)) for value in values]
    return [value / sum(exponentials) for value in exponentials]


def _features(candidate: Candidate) -> list[dict[str, Any]]:
    features: dict[str, float | bool] = {
        retriever.value: round(score, 4) for retriever, score in candidate.retrievers.items()
    }
    features["exact"] = Retriever.EXACT in candidate.retrievers
    if candidate.probability is not None:
        features["probability"] = round(candidate.probability, 4)
    return [{"id": name, "value": value} for name, value in features.items()]
