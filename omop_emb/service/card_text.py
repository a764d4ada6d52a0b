"""Card facts: a concept's card in a dozen lines for people, each with a name."""

from __future__ import annotations

from collections.abc import Iterator

from omop_emb.records import Concept, counted
from omop_emb.service.concept_cards import ConceptCard

_STANDARD = {"S": "standard", "C": "classification"}
_INVALID = {"D": "deleted", "U": "updated"}
_UNTIL_FURTHER_NOTICE = 2099  # the year in which OMOP's valid concepts end


def card_facts(card: ConceptCard) -> dict[str, str]:
    """Name of a fact -> the fact, such as "status" -> "standard, valid since 2002-01-31"; none is empty.

    Parents, children and codes that map to the concept are not among them.
    """
    return {name: value for name, value in _facts(card) if value}


def _facts(card: ConceptCard) -> Iterator[tuple[str, str]]:
    concept = card.concept
    yield "code", f"{concept.vocabulary_id or '?'} {concept.concept_code or '?'}"
    yield "kind", ", ".join(filter(None, (concept.domain_id, concept.concept_class_id)))
    yield "status", f"{_STANDARD.get(concept.standard_concept or '', 'not standard')}, {_validity(card)}"
    synonyms = [
        f"{one.text} ({one.language})" if one.language else one.text
        for one in card.synonyms
        if one.text != concept.concept_name
    ]
    hidden = len(card.synonyms) - len(synonyms)
    yield "synonyms", _cut("; ".join(synonyms), len(synonyms), card.counts["synonyms"] - hidden)
    targets = [_short(one.concept, concept) for one in card.maps_to]
    is_target = concept.standard_concept == "S" and not concept.invalid_reason
    nothing = "itself" if is_target else "nothing"  # a download may lack what leads from a concept to itself
    yield "maps to", _cut("; ".join(targets), len(targets), card.counts["maps_to"]) or nothing
    yield "replaced by", "; ".join(_short(one, concept) for one in card.releases.replaced_by)
    yield "release", "; ".join(filter(None, (card.releases.release, _changes(card))))
    yield "embedded", "; ".join(_embedded(card)) or "nowhere"
    yield "not loaded", ", ".join(card.not_loaded)
    yield "Athena", card.athena_url


def _validity(card: ConceptCard) -> str:
    start, end, reason = card.valid_start, card.valid_end, card.concept.invalid_reason
    if reason:
        since = f" since {end}" if end and end.year < _UNTIL_FURTHER_NOTICE else ""
        return f"no longer valid{since} ({_INVALID.get(reason, reason)})"
    if end and end.year < _UNTIL_FURTHER_NOTICE:
        return f"valid from {start or '?'} to {end}"
    return f"valid since {start}" if start else "valid"


def _changes(card: ConceptCard) -> str:
    history = card.releases
    if history.previous_release is None:
        return ""
    changes = [
        f"{one.change} (was {one.old_name!r})"
        if one.change == "renamed"
        else f"{one.change} (was {one.old_domain_id})"
        if one.change == "domain changed"
        else one.change
        for one in history.changes
    ]
    return f"{', '.join(changes) or 'unchanged'} since {history.previous_release}"


def _embedded(card: ConceptCard) -> Iterator[str]:
    for one in card.spaces:
        if one.texts or one.is_active:
            texts = counted(one.texts, "text") if one.texts else "not"
            yield f"{texts} in {one.space}{' (active)' if one.is_active else ''}"


def _short(concept: Concept, of: Concept) -> str:
    if concept == of:
        return "itself"
    where = ", ".join(filter(None, (concept.vocabulary_id, concept.domain_id)))
    return f"{concept.concept_id} {concept.concept_name} ({where or 'not loaded'})"


def _cut(text: str, shown: int, total: int) -> str:
    return f"{text}; and {total - shown:,} more" if total > shown else text
