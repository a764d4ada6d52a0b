"""Standard targets: the standard concepts that non-standard ones map to or are replaced by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    """(n,) steps from non-standard concepts to standard ones, by ascending id of the former."""

    concept_id: Ints  # of the non-standard concept
    name: StringArray  # of the non-standard concept
    relationship: npt.NDArray[np.int8]  # index into RELATIONSHIPS
    row: npt.NDArray[np.int32]  # concept row of the standard concept

    @classmethod
    def of(cls, steps: Sequence[tuple[PathStep, int]]) -> StandardTargets:
        """From (step, row), ordered by concept id."""
        return cls(
            np.array([step.concept_id for step, _ in steps], np.int64),
            StringArray.of(step.concept_name for step, _ in steps),
            np.array([RELATIONSHIPS.index(step.relationship_id) for step, _ in steps], np.int8),
            np.array([row for _, row in steps], np.int32),
        )

    def __getitem__(self, index: int) -> PathStep:
        relationship = RELATIONSHIPS[self.relationship[index]]
        return PathStep(int(self.concept_id[index]), self.name[index], relationship)

    def _span(self, concept_id: int) -> range:
        start, stop = np.searchsorted(self.concept_id, [concept_id, concept_id + 1]).tolist()
        return range(start, stop)

    def get(self, concept_id: int) -> list[tuple[str, int]]:
        """(relationship, row) of each target of a concept; [] if it has none."""
        return [(self[index].relationship_id, int(self.row[index])) for index in self._span(concept_id)]

    def name_of(self, concept_id: int) -> str | None:
        """The name of a non-standard concept with a target; None for others."""
        span = self._span(concept_id)
        return self.name[span[0]] if span else None


def find_standard_targets(
    concept: pd.DataFrame, relationship: pd.DataFrame, row_of: Mapping[int, int]
) -> StandardTargets:
    """The targets of non-standard concepts.

    Args:
        concept: concept_id and concept_name of all concepts.
        relationship: concept_id_1, concept_id_2, relationship_id.
        row_of: id -> row of the standard concepts.
    """
    links: dict[int, list[tuple[str, int]]] = {}
    followed = relationship[relationship["relationship_id"].isin(RELATIONSHIPS)]
    for source, target, label in zip(
        followed["concept_id_1"].tolist(),
        followed["concept_id_2"].tolist(),
        followed["relationship_id"].tolist(),
        strict=True,
    ):
        if source != target and int(source) not in row_of:
            links.setdefault(int(source), []).append((str(label), int(target)))
    sources = concept[concept["concept_id"].isin(list(links))].sort_values("concept_id")
    return StandardTargets.of(
        [
            (PathStep(int(source), str(name), label), row)
            for source, name in zip(
                sources["concept_id"].tolist(), sources["concept_name"].tolist(), strict=True
            )
            for label, row in _reachable(int(source), links, row_of)
        ]
    )


def _reachable(
    source: int, links: Mapping[int, list[tuple[str, int]]], row_of: Mapping[int, int]
) -> list[tuple[str, int]]:
    """(first relationship, row) of the standard concepts that a concept leads to."""
    reached: dict[int, str] = {}
    seen, queue = {source}, [(source, "")]
    while queue:  # breadth first, so that the shortest path names the relationship
        concept_id, first_label = queue.pop(0)
        for label, target in sorted(links.get(concept_id, [])):
            if target in seen:
                continue
            seen.add(target)
            if target in row_of:
                reached.setdefault(row_of[target], first_label or label)
            else:
                queue.append((target, first_label or label))
    return sorted((label, row) for row, label in reached.items())
