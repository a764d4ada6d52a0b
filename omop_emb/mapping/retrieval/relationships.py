"""Relationships: which ones lead to standard concepts, and which say what belongs beside a mapping."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

TARGET_RELATIONSHIPS = ("Maps to", "Concept replaced by", "Concept same_as to")
"""The relationships that are followed to standard concepts, in order of preference.

Maps to is what the vocabulary says a concept is coded as. A replacement and a duplicate are the same thing
under a new id. The others that retire a concept, Concept poss_eq to, Concept was_a to and Concept alt_to to,
name a possible, a broader or another concept: a person must choose.
"""
VALUE_RELATIONSHIPS = ("Maps to value", "Maps to unit", "Maps to operator", "Maps to number", "Maps to type")
"""What belongs beside a mapping: "family history of" has the value "asthma", and is no asthma."""

# No vocabulary has longer chains. Cycles end earlier, because no concept is visited twice.
MAX_CHAIN_LENGTH = 20

Links = Mapping[int, Sequence[tuple[str, int]]]
"""Concept -> (relationship, other concept) of its valid relationships."""
Step = tuple[int, str]
"""A concept, and the relationship that was followed from it."""


def follow(start: int, links: Links, is_target: Callable[[int], bool]) -> dict[int, tuple[Step, ...]]:
    """The targets that a concept leads to, each with the steps to it, direct ones first.

    Of each concept on the way, only the most trusted relationship that leads to a target counts.
    """
    return _follow(start, links, is_target, (), {start})


def _follow(
    concept_id: int,
    links: Links,
    is_target: Callable[[int], bool],
    steps: tuple[Step, ...],
    visited: set[int],
) -> dict[int, tuple[Step, ...]]:
    if len(steps) >= MAX_CHAIN_LENGTH:
        return {}
    for relationship in TARGET_RELATIONSHIPS:
        others = {other for label, other in links.get(concept_id, ()) if label == relationship}
        longer = (*steps, (concept_id, relationship))
        targets = {other: longer for other in sorted(others) if is_target(other)}
        for other in sorted(others - targets.keys() - visited):
            if other not in visited:
                visited.add(other)
                for target, path in _follow(other, links, is_target, longer, visited).items():
                    targets.setdefault(target, path)
        if targets:
            return targets
    return {}


def values(
    start: int, paths: Iterable[Sequence[Step]], links: Links, is_target: Callable[[int], bool]
) -> list[tuple[str, int]]:
    """(relationship, concept) of the values, units … of a concept and of those on its paths to its targets.

    A value that is no valid standard concept is replaced by its target; without one it is kept.
    """
    concepts = dict.fromkeys([start, *(concept_id for path in paths for concept_id, _ in path)])
    return list(dict.fromkeys(_values(concepts, links, is_target)))


def _values(
    concepts: Iterable[int], links: Links, is_target: Callable[[int], bool]
) -> Iterator[tuple[str, int]]:
    for concept_id in concepts:
        for label, other in sorted(links.get(concept_id, ())):
            if label in VALUE_RELATIONSHIPS:
                targets = [other] if is_target(other) else list(follow(other, links, is_target))
                yield from ((label, target) for target in targets or [other])
