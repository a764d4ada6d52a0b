"""Training pairs: texts and the names that they should be near to, in batches of similar length."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

_LENGTH_BUCKET_BATCHES = 50


@dataclass(frozen=True, kw_only=True)
class TrainingPair:
    """A text, as a hospital may write it, and a name of the concept that it means.

    Attributes:
        text: embedded as a query.
        name: embedded as a document.
        group: what the text means, such as a concept id: pairs of a group are never each other's negatives.
        negative: a name that is alike and means something else; "" for none.
    """

    text: str
    name: str
    group: str
    negative: str = ""


def held_out_split(
    pairs: Sequence[TrainingPair], share: float, most: int
) -> tuple[list[TrainingPair], list[TrainingPair]]:
    """(pairs to learn from, pairs held out), whole groups, the same ones each time; `most` are held out."""
    by_digest = sorted({pair.group for pair in pairs}, key=_digest)
    counts: dict[str, int] = {}
    for pair in pairs:
        counts[pair.group] = counts.get(pair.group, 0) + 1
    wanted, held, taken = min(share * len(pairs), most), set[str](), 0
    for group in by_digest[:-1]:  # something is left to learn from
        if taken >= wanted:
            break
        held.add(group)
        taken += counts[group]
    return [pair for pair in pairs if pair.group not in held], [pair for pair in pairs if pair.group in held]


def digest_of(parts: Iterable[object]) -> str:
    """A digest of what a run depends on, in hexadecimal."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(repr(part).encode())
    return whole.hexdigest()


def batches(pairs: Sequence[TrainingPair], size: int, epoch: int, seed: int) -> list[list[TrainingPair]]:
    """All pairs in batches for an epoch: those of a batch are of similar length, the batches in any order.

    The same seed and epoch give the same batches. A last batch that is too small to have negatives is left
    out, unless there is no other.
    """
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(pairs))
    result = []
    bucket = size * _LENGTH_BUCKET_BATCHES
    for start in range(0, len(order), bucket):
        chosen = sorted(order[start : start + bucket].tolist(), key=lambda row: _length(pairs[row]))
        result += [[pairs[row] for row in chosen[at : at + size]] for at in range(0, len(chosen), size)]
    usable = [batch for batch in result if len(batch) >= min(size, 8)] or result
    return [usable[index] for index in random.permutation(len(usable))]


def _length(pair: TrainingPair) -> int:
    return max(len(pair.text), len(pair.name), len(pair.negative))


def _digest(group: str) -> bytes:
    return hashlib.sha256(group.encode()).digest()
