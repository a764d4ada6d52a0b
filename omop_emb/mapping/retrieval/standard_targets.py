"""Standard targets: the standard concepts that non-standard ones map to or are replaced by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from omop_emb.arrays import Ints
from omop_emb.mapping.records import PathStep
from omop_emb.mapping.retrieval.string_array import StringArray

RELATIONSHIPS = ("Maps to", "Maps to value", "Concept replaced by")
"""The relationships that are followed towards standard concepts."""


@dataclass(frozen=True, eq=False)
class StandardTargets:
    """Non-standard concepts with their targets.

    Attributes:
        concept_id: (n,) ids of the non-standard concepts, ascending.
        offsets: (n + 1,) where the targets of each begin in the arrays below.
        relationship: (t,) index into RELATIONSHIPS.
        row: (t,) concept row of the target.
    """

    concept_id: Ints
    offsets: Ints
    relationship: npt.NDArray[np.int8]
    row: npt.NDArray[np.int32]

    @classmethod
    def of(cls, targets: Mapping[int, Sequence[tuple[str, int]]]) -> StandardTargets:
        """From concept id -> (relationship, row)."""
        ids = sorted(targets)
        pairs = [pair for key in ids for pair in targets[key]]
        offsets = np.zeros(len(ids) + 1, np.int64)
        np.cumsum([len(targets[key]) for key in ids], out=offsets[1:])
        return cls(
            np.array(ids, np.int64),
            offsets,
            np.array([RELATIONSHIPS.index(relationship) for relationship, _ in pairs], np.int8),
            np.array([row for _, row in pairs], np.int32),
        )

    def get(self, concept_id: int) -> list[tuple[str, int]]:
        """(relationship, row) of each target of a concept; [] if it has none."""
        index = int(np.searchsorted(self.concept_id, concept_id))
        if index == len(self.concept_id) or self.concept_id[index] != concept_id:
            return []
        span = slice(self.offsets[index], self.offsets[index + 1])
        pairs = zip(self.relationship[span].tolist(), self.row[span].tolist(), strict=True)
        return [(RELATIONSHIPS[relationship], row) for relationship, row in pairs]


@dataclass(frozen=True, eq=False)
class Paths:
    """(n,) steps from non-standard concepts to standard ones, in three arrays."""

    concept_id: Ints
    name: StringArray
    relationship: npt.NDArray[np.int8]

    @classmethod
    def of(cls, steps: Iterable[PathStep]) -> Paths:
        """The given steps, in their order."""
        steps = list(steps)
        return cls(
            np.array([step.concept_id for step in steps], np.int64),
            StringArray.of(step.concept_name for step in steps),
            np.array([RELATIONSHIPS.index(step.relationship_id) for step in steps], np.int8),
        )

    def __len__(self) -> int:
        return len(self.concept_id)

    def __getitem__(self, index: int) -> PathStep:
        relationship = RELATIONSHIPS[self.relationship[index]]
        return PathStep(int(self.concept_id[index]), self.name[index], relationship)

    @cached_property
    def _by_id(self) -> Ints:
        return np.argsort(self.concept_id, kind="stable")

    def name_of(self, concept_id: int) -> str | None:
        """The name of a concept that has a path; None for others."""
        position = int(np.searchsorted(self.concept_id, concept_id, sorter=self._by_id))
        if position == len(self) or self.concept_id[self._by_id[position]] != concept_id:
            return None
        return self.name[int(self._by_id[position])]


def find_standard_targets(
    concept: pd.DataFrame, relationship: pd.DataFrame, row_of: dict[int, int]
) -> tuple[StandardTargets, Paths, list[tuple[int, str]]]:
    """The targets of non-standard concepts, and their paths with the (row, name) that each adds.

    Args:
        concept: concept_id and concept_name of all concepts.
        relationship: concept_id_1, concept_id_2, relationship_id.
        row_of: id -> row of the standard concepts.
    """
    steps: dict[int, list[tuple[str, int]]] = {}
    followed = relationship[relationship["relationship_id"].isin(RELATIONSHIPS)]
    for source, target, label in zip(
        followed["concept_id_1"].tolist(),
        followed["concept_id_2"].tolist(),
        followed["relationship_id"].tolist(),
        strict=True,
    ):
        if source != target and int(source) not in row_of:
            steps.setdefault(int(source), []).append((str(label), int(target)))
    targets = {source: reached for source in steps if (reached := _reachable(source, steps, row_of))}
    sources = concept[concept["concept_id"].isin(list(targets))].sort_values("concept_id")
    paths: list[PathStep] = []
    texts: list[tuple[int, str]] = []
    for source, name in zip(sources["concept_id"].tolist(), sources["concept_name"].tolist(), strict=True):
        for label, row in targets[int(source)]:
            texts.append((row, str(name)))
            paths.append(PathStep(int(source), str(name), label))
    return StandardTargets.of(targets), Paths.of(paths), texts


def _reachable(
    source: int, steps: Mapping[int, list[tuple[str, int]]], row_of: Mapping[int, int]
) -> list[tuple[str, int]]:
    """(first relationship, row) of the standard concepts that a concept leads to."""
    reached: dict[int, str] = {}
    seen, queue = {source}, [(source, "")]
    while queue:  # breadth first, so that the shortest path names the relationship
        concept_id, first_label = queue.pop(0)
        for label, target in sorted(steps.get(concept_id, [])):
            if target in seen:
                continue
            seen.add(target)
            if target in row_of:
                reached.setdefault(row_of[target], first_label or label)
            else:
                queue.append((target, first_label or label))
    return sorted((label, row) for row, label in reached.items())
