"""Pair recall: how often a text finds its own name among many, for models before and after tuning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from omop_emb.arrays import Vectors
from omop_emb.embeddings.tuning.training_pairs import TrainingPair

_ROWS_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class PairRecall:
    """What share of texts has its own name first, or among the first ten, of a pool of names.

    Attributes:
        recall_at_1: 0 to 1.
        recall_at_10: 0 to 1.
        mrr: the mean of 1 / rank of the first right name, 0 to 1.
        pairs: how many were measured.
        pool: of how many names.
    """

    recall_at_1: float
    recall_at_10: float
    mrr: float
    pairs: int
    pool: int


def name_pool(held_out: Sequence[TrainingPair], others: Sequence[TrainingPair], most: int) -> list[str]:
    """The names of the pairs held out, then further names up to `most`; each once."""
    names = dict.fromkeys(pair.name for pair in held_out)
    for pair in others[:: max(1, len(others) // max(most, 1))]:
        if len(names) >= most:
            break
        names[pair.name] = None
    return list(names)


def pair_recall(
    embed_texts: Callable[[Sequence[str]], Vectors],
    embed_names: Callable[[Sequence[str]], Vectors],
    pairs: Sequence[TrainingPair],
    pool: Sequence[str],
) -> PairRecall:
    """Rank a pool of names, which has the pairs' own, for each text; ties count against the text."""
    names = embed_names(pool)
    texts = embed_texts([pair.text for pair in pairs])
    right: dict[str, set[int]] = {}
    place = {name: index for index, name in enumerate(pool)}
    for pair in pairs:
        right.setdefault(pair.group, set()).add(place[pair.name])
    ranks = np.empty(len(pairs))
    for start in range(0, len(pairs), _ROWS_AT_ONCE):
        similarities = texts[start : start + _ROWS_AT_ONCE] @ names.T
        for row, values in enumerate(similarities, start):
            own = list(right[pairs[row].group])
            best = values[own].max()
            ranks[row] = 1 + (np.delete(values, own) >= best).sum()
    return PairRecall(
        recall_at_1=float((ranks <= 1).mean()),
        recall_at_10=float((ranks <= 10).mean()),
        mrr=float((1 / ranks).mean()),
        pairs=len(pairs),
        pool=len(pool),
    )
