"""Standard targets: the standard concepts that others lead to, and their values and units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Ints
from omop_emb.mapping.records import MappedValue, PathStep
from omop_emb.mapping.retrieval import relationships
from omop_emb.mapping.retrieval.relationships import TARGET_RELATIONSHIPS, VALUE_RELATIONSHIPS
from omop_emb.mapping.retrieval.string_array import StringArray

if TYPE_CHECKING:
    import pandas as pd

_Links = dict[int, list[tuple[str, int]]]


@dataclass(frozen=True, eq=False)
class StandardTargets:
    """(n,) steps from non-standard concepts to standard ones, by ascending id of the former."""

    concept_id: Ints  # of the non-standard concept
    name: StringArray  # of the non-standard concept
    relationship: npt.NDArray[np.int8]  # index into TARGET_RELATIONSHIPS
    row: npt.NDArray[np.int32]  # concept row of the standard concept

    @classmethod
    def of(cls, steps: Sequence[tuple[PathStep, int]]) -> StandardTargets:
        """From (step, row), ordered by concept id."""
        return cls(
            np.array([step.concept_id for step, _ in steps], np.int64),
            StringArray.of(step.concept_name for step, _ in steps),
            np.array([TARGET_RELATIONSHIPS.index(step.relationship_id) for step, _ in steps], np.int8),
            np.array([row for _, row in steps], np.int32),
        )

    def __getitem__(self, index: int) -> PathStep:
        relationship = TARGET_RELATIONSHIPS[self.relationship[index]]
        return PathStep(int(self.concept_id[index]), self.name[index], relationship)

    def _span(self, concept_id: int) -> range:
        return _span(self.concept_id, concept_id)

    def get(self, concept_id: int) -> list[tuple[str, int]]:
        """(relationship, row) of each target of a concept; [] if it has none."""
        return [(self[index].relationship_id, int(self.row[index])) for index in self._span(concept_id)]

    def name_of(self, concept_id: int) -> str | None:
        """The name of a non-standard concept with a target; None for others."""
        span = self._span(concept_id)
        return self.name[span[0]] if span else None


@dataclass(frozen=True, eq=False)
class ValueTable:
    """(n,) values, units … that belong beside the mappings of concepts, by ascending id of the latter."""

    concept_id: Ints  # of the mapped concept
    relationship: npt.NDArray[np.int8]  # index into VALUE_RELATIONSHIPS
    value_id: Ints  # concept id of the value, unit …
    value_name: StringArray

    def get(self, concept_id: int) -> tuple[MappedValue, ...]:
        """What belongs beside the mappings of a concept; () for nothing."""
        return tuple(
            MappedValue(
                VALUE_RELATIONSHIPS[self.relationship[index]],
                int(self.value_id[index]),
                self.value_name[index],
            )
            for index in _span(self.concept_id, concept_id)
        )


def _span(ids: Ints, concept_id: int) -> range:
    start, stop = np.searchsorted(ids, [concept_id, concept_id + 1]).tolist()
    return range(start, stop)


def find_standard_targets(
    concept: pd.DataFrame, relationship: pd.DataFrame, row_of: Mapping[int, int]
) -> tuple[StandardTargets, ValueTable]:
    """The targets of non-standard concepts, and what belongs beside the mappings of all concepts.

    Args:
        concept: concept_id and concept_name of all concepts.
        relationship: concept_id_1, concept_id_2, relationship_id.
        row_of: id -> row of the standard concepts.
    """
    links = _links(relationship)
    involved = concept[concept["concept_id"].isin({*links, *_others(links)})]
    names = {
        int(key): str(name)
        for key, name in zip(involved["concept_id"].tolist(), involved["concept_name"].tolist(), strict=True)
    }
    steps: list[tuple[PathStep, int]] = []
    values: list[tuple[int, str, int]] = []
    for source in sorted(links.keys() & names.keys()):
        paths = {} if source in row_of else relationships.follow(source, links, row_of.__contains__)
        reached = sorted((path[0][1], row_of[target]) for target, path in paths.items())
        steps += ((PathStep(source, names[source], label), row) for label, row in reached)
        if paths or source in row_of:
            found = relationships.values(source, paths.values(), links, row_of.__contains__)
            values += ((source, label, value) for label, value in found if value in names)
    return StandardTargets.of(steps), ValueTable(
        np.array([source for source, _, _ in values], np.int64),
        np.array([VALUE_RELATIONSHIPS.index(label) for _, label, _ in values], np.int8),
        np.array([value for _, _, value in values], np.int64),
        StringArray.of(names[value] for _, _, value in values),
    )


def _links(relationship: pd.DataFrame) -> _Links:
    followed = relationship[
        relationship["relationship_id"].isin([*TARGET_RELATIONSHIPS, *VALUE_RELATIONSHIPS])
        & (relationship["concept_id_1"] != relationship["concept_id_2"])
    ]
    links: _Links = {}
    for source, other, label in zip(
        followed["concept_id_1"].tolist(),
        followed["concept_id_2"].tolist(),
        followed["relationship_id"].tolist(),
        strict=True,
    ):
        links.setdefault(int(source), []).append((str(label), int(other)))
    return links


def _others(links: _Links) -> set[int]:
    return {other for targets in links.values() for label, other in targets if label in VALUE_RELATIONSHIPS}
