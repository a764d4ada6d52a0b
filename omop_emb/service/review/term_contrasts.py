"""Term contrasts: terms that share a target but differ in side, negation, number, strength or specimen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import combinations

from omop_emb.mapping.terms import contrasts, drugs
from omop_emb.mapping.terms.numbers import number_in
from omop_emb.mapping.terms.signs import GROUPS as SIGN_GROUPS, signs_of
from omop_emb.mapping.terms.stated import stated_contrasts
from omop_emb.mapping.terms.words import normalise
from omop_emb.records import Concept
from omop_emb.service.review.conflict_records import (
    Conflict,
    ConflictKind,
    ConflictTerm,
    DecidedTerm,
    make_conflict,
)

# A term that says nothing of these denies what the others say: "pneumonia" and "no pneumonia".
_ONE_SIDED = ("negation", "history")
_MEASURING_DOMAINS = ("Measurement", "Observation")
_CACHED = 200_000  # names; of a whole project
_DIGIT = re.compile(r"\d")

_Says = Mapping[int, str]
"""Position of a term -> what it says."""


def find_contrasts(terms: Iterable[DecidedTerm], concepts: Mapping[int, Concept]) -> Iterator[Conflict]:
    """The conflicts of terms that share a target and say different things."""
    by_target: dict[int, list[DecidedTerm]] = {}
    for term in terms:
        for concept_id in term.mappings:
            by_target.setdefault(concept_id, []).append(term)
    for concept_id, sharing in by_target.items():
        if len({term.text_key for term in sharing}) > 1:
            yield from _of_target(concept_id, sharing, concepts.get(concept_id))


def _of_target(concept_id: int, terms: Sequence[DecidedTerm], concept: Concept | None) -> Iterator[Conflict]:
    seen: set[frozenset[int]] = set()
    for aspect, says, of_concept in _differences(terms, concept):
        positions = frozenset(says)
        # The same terms once: a number that makes the type, a sign that is a negation.
        if any(positions <= earlier for earlier in seen):
            continue
        seen.add(positions)
        values = sorted(set(says.values()))
        told = f"{aspect}: the terms say {_listed(values)}"
        if concept is not None:
            told += f", the concept says {of_concept}" if of_concept else ", the concept does not"
        yield make_conflict(
            ConflictKind.CONTRAST,
            [concept_id, values],
            [ConflictTerm(term=term, says=says[term.position]) for term in terms if term.position in says],
            aspect=aspect,
            summary=told,
            is_certain=bool(of_concept),
            concept=concept,
        )


def _differences(terms: Sequence[DecidedTerm], concept: Concept | None) -> Iterator[tuple[str, _Says, str]]:
    """Each aspect in which some terms differ, what they say, and what the concept says, "" for nothing."""
    name, domain = (concept.concept_name, concept.domain_id) if concept is not None else ("", None)
    yield from _signs(terms, name)
    yield from _contrasts(terms, name, measures=domain is None or domain in _MEASURING_DOMAINS)
    if domain in (None, "Drug"):
        yield from _stated(terms, name, "strength", _strengths)
    yield from _numbers(terms, name)


def _contrasts(
    terms: Sequence[DecidedTerm], name: str, *, measures: bool
) -> Iterator[tuple[str, _Says, str]]:
    bits = {term.position: _bits(term.source_name) for term in terms}
    if len(set(bits.values())) == 1:
        return
    of_concept = contrasts.bits(normalise(name))
    stated = set(bits.values())
    for group, mask in _groups():
        if group == contrasts.SPECIMEN and not measures:
            continue
        if not _opposed(group, {one & mask for one in stated}):
            continue
        values = {position: one & mask for position, one in bits.items()}
        is_one_sided = group in _ONE_SIDED
        says = {
            position: _names(group, value) or "nothing of it"
            for position, value in values.items()
            if value or is_one_sided
        }
        yield group, says, _names(group, of_concept & mask)


@cache
def _groups() -> list[tuple[str, int]]:
    """Every group that is compared, with its bits."""
    return [(group, contrasts.masks()[group]) for group in contrasts.compared_groups()]


def _opposed(group: str, values: set[int]) -> bool:
    """Whether two of these values of a group exclude each other."""
    if len(values) == 1:
        return False
    if group in _ONE_SIDED and 0 in values:
        return True
    named = {_widened(group, value) for value in values if value}
    return any(not one & other for one, other in combinations(named, 2))


def _widened(group: str, value: int) -> int:
    """Blood is also said of what is measured in serum."""
    if group == contrasts.SPECIMEN and value == contrasts.groups()[group]["blood"]:
        return value | contrasts.understood(0, group)
    return value


def _names(group: str, value: int) -> str:
    return " and ".join(name for name, bit in contrasts.groups()[group].items() if value & bit)


def _signs(terms: Sequence[DecidedTerm], name: str) -> Iterator[tuple[str, _Says, str]]:
    stated = {term.position: _sign_values(term.source_name) for term in terms}
    of_concept = dict(signs_of(name))
    for group in SIGN_GROUPS:
        says = {position: signs[group] for position, signs in stated.items() if group in signs}
        if len(set(says.values())) > 1:
            yield group, says, of_concept.get(group, "")


def _numbers(terms: Sequence[DecidedTerm], name: str) -> Iterator[tuple[str, _Says, str]]:
    """Terms that are the same but for their numbers."""
    same_words: dict[str, dict[int, str]] = {}
    for term in terms:
        words, numbers = _words_and_numbers(term.source_name)
        if numbers:
            same_words.setdefault(words, {})[term.position] = numbers
    of_concept = _words_and_numbers(name)[1]
    for says in same_words.values():
        if len(set(says.values())) > 1:
            yield "number", says, of_concept


def _stated(
    terms: Sequence[DecidedTerm], name: str, aspect: str, read: Callable[[str], str]
) -> Iterator[tuple[str, _Says, str]]:
    says = {term.position: value for term in terms if (value := read(term.source_name))}
    if len(set(says.values())) > 1:
        yield aspect, says, read(name)


@lru_cache(maxsize=_CACHED)
def _bits(name: str) -> int:
    return stated_contrasts(name, name)


@lru_cache(maxsize=_CACHED)
def _sign_values(name: str) -> Mapping[str, str]:
    return dict(signs_of(name))


@lru_cache(maxsize=_CACHED)
def _strengths(name: str) -> str:
    return " and ".join(f"{value:g}" for value in drugs.strengths(name)) if _DIGIT.search(name) else ""


@lru_cache(maxsize=_CACHED)
def _words_and_numbers(name: str) -> tuple[str, str]:
    """A name's words with "#" for each number, and its numbers."""
    if not _DIGIT.search(name):
        return "", ""
    words, numbers = [], []
    for word in normalise(name).split():
        number = number_in(word)
        words.append(word if number is None else "#")
        if number is not None:
            numbers.append(number if isinstance(number, str) else f"{number:g}")
    return " ".join(words), ", ".join(numbers)


def _listed(values: Sequence[str]) -> str:
    shown = list(values) if len(values) <= 6 else [*values[:5], f"{len(values) - 5} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]
