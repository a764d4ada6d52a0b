"""Hard negatives: names that are near each other in a space and differ in a strength, side or specimen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from omop_emb.arrays import Vectors
from omop_emb.embeddings.tuning.training_pairs import TrainingPair
from omop_emb.mapping.terms import contrasts
from omop_emb.mapping.terms.numbers import number_in, plain_numbers
from omop_emb.mapping.terms.words import normalise

_NEAREST = 20
_ROWS_AT_ONCE = 512


def with_hard_negatives(
    pairs: Sequence[TrainingPair], embed: Callable[[Sequence[str]], Vectors]
) -> list[TrainingPair]:
    """The pairs, each with the nearest name that is a near-twin of its own, where one of the 20 nearest is.

    Near-twins name other numbers, or differ in a contrast such as laterality, negation or specimen. Pairs
    that have a negative already keep it.

    Args:
        pairs: whose names are compared with each other.
        embed: (n, dimensions) rows of unit length, for names as documents.
    """
    groups: dict[str, set[str]] = {}
    for pair in pairs:
        groups.setdefault(pair.name, set()).add(pair.group)
    names = list(groups)
    vectors = embed(names)
    twins: dict[str, str] = {}
    count = min(_NEAREST + 1, len(names))
    for start in range(0, len(names), _ROWS_AT_ONCE):
        similarities = vectors[start : start + _ROWS_AT_ONCE] @ vectors.T
        nearest = np.argpartition(-similarities, count - 1, axis=1)[:, :count]
        for row, columns in enumerate(nearest):
            name = names[start + row]
            for column in sorted(columns.tolist(), key=lambda one: (-similarities[row, one], one)):
                other = names[column]
                if groups[name].isdisjoint(groups[other]) and _are_twins(name, other):
                    twins[name] = other
                    break
    return [
        pair if pair.negative or pair.name not in twins else replace(pair, negative=twins[pair.name])
        for pair in pairs
    ]


def _are_twins(name: str, other: str) -> bool:
    if _numbers(name) != _numbers(other):
        return True
    return bool(contrasts.differences(contrasts.bits(normalise(name)), contrasts.bits(normalise(other))))


def _numbers(name: str) -> set[float | str]:
    return {number for word in plain_numbers(name).split() if (number := number_in(word)) is not None}
