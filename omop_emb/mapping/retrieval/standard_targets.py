"""Where concepts that are no candidates lead: to standard concepts, whose further texts their names are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from omop_emb.arrays import Ints
from omop_emb.mapping.records import PathStep
from omop_emb.mapping.retrieval.string_array import Texts

FOLLOWED = ("Maps to", "Maps to value", "Concept replaced by")
"""Relationships from a concept that was hit towards standard ones."""


@dataclass(frozen=True, eq=False)
class StandardTargets:
    """The standard concepts that others stand for.

    Attributes:
        concept_id: (o,) ids of the others, ascending.
        first: (o + 1,) where each one's targets begin in the two below.
        relationship: (s,) place in FOLLOWED.
        row: (s,) concept row of the target.
    """

    concept_id: Ints
    first: Ints
    relationship: npt.NDArray[np.int8]
    row: npt.NDArray[np.int32]

    @classmethod
    def of(cls, found: Mapping[int, Sequence[tuple[str, int]]]) -> StandardTargets:
        """From id -> (relationship, row)."""
        ids = sorted(found)
        pairs = [pair for key in ids for pair in found[key]]
        first = np.zeros(len(ids) + 1, np.int64)
        np.cumsum([len(found[key]) for key in ids], out=first[1:])
        return cls(
            np.array(ids, np.int64),
            first,
            np.array([FOLLOWED.index(label) for label, _ in pairs], np.int8),
            np.array([row for _, row in pairs], np.int32),
        )

    def get(self, concept_id: int) -> list[tuple[str, int]]:
        """(relationship, row) of each target of a concept; [] for one that leads nowhere."""
        place = int(np.searchsorted(self.concept_id, concept_id))
        if place == len(self.concept_id) or self.concept_id[place] != concept_id:
            return []
        span = slice(self.first[place], self.first[place + 1])
        labels, rows = self.relationship[span].tolist(), self.row[span].tolist()
        return [(FOLLOWED[label], row) for label, row in zip(labels, rows, strict=True)]


@dataclass(frozen=True, eq=False)
class Paths:
    """A step for each name that leads to a candidate: whose it is, and by which relationship."""

    concept_id: Ints
    name: Texts
    relationship: npt.NDArray[np.int8]

    @classmethod
    def of(cls, steps: Iterable[PathStep]) -> Paths:
        """The given steps, in their order."""
        listed = list(steps)
        return cls(
            np.array([step.concept_id for step in listed], np.int64),
            Texts.of(step.concept_name for step in listed),
            np.array([FOLLOWED.index(step.relationship_id) for step in listed], np.int8),
        )

    def __len__(self) -> int:
        return len(self.concept_id)

    def __getitem__(self, place: int) -> PathStep:
        label = FOLLOWED[self.relationship[place]]
        return PathStep(int(self.concept_id[place]), self.name[place], label)

    @cached_property
    def _order(self) -> Ints:
        return np.argsort(self.concept_id, kind="stable")

    def name_of(self, concept_id: int) -> str | None:
        """The name of a concept that leads to a candidate; None for others."""
        place = int(np.searchsorted(self.concept_id, concept_id, sorter=self._order))
        if place == len(self) or self.concept_id[self._order[place]] != concept_id:
            return None
        return self.name[int(self._order[place])]


def followed(
    concept: pd.DataFrame, relationship: pd.DataFrame, row_of: dict[int, int]
) -> tuple[StandardTargets, Paths, list[tuple[int, str]]]:
    """Standard targets of the concepts that are none, and (row, name) of each of the paths to a target."""
    steps: dict[int, list[tuple[str, int]]] = {}
    kept = relationship[relationship["relationship_id"].isin(FOLLOWED)]
    for one, two, name in zip(
        kept["concept_id_1"].tolist(),
        kept["concept_id_2"].tolist(),
        kept["relationship_id"].tolist(),
        strict=True,
    ):
        if one != two and int(one) not in row_of:
            steps.setdefault(int(one), []).append((str(name), int(two)))
    targets: dict[int, list[tuple[str, int]]] = {}
    for start in steps:
        reached: dict[int, str] = {}
        seen, ahead = {start}, [(start, "")]
        while ahead:  # breadth first, so that the shortest chain names the relationship
            at, first = ahead.pop(0)
            for name, to in sorted(steps.get(at, [])):
                if to in seen:
                    continue
                seen.add(to)
                label = first or name
                if to in row_of:
                    reached.setdefault(row_of[to], label)
                else:
                    ahead.append((to, label))
        if reached:
            targets[start] = sorted((label, row) for row, label in reached.items())
    outside = concept[concept["concept_id"].isin(list(targets))].sort_values("concept_id")
    steps_to: list[PathStep] = []
    texts: list[tuple[int, str]] = []
    for key, name in zip(outside["concept_id"].tolist(), outside["concept_name"].tolist(), strict=True):
        for label, row in targets[int(key)]:
            texts.append((row, str(name)))
            steps_to.append(PathStep(int(key), str(name), label))
    return StandardTargets.of(targets), Paths.of(steps_to), texts
