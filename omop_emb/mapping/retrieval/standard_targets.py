"""Standard targets: the standard concepts that others lead to, and their values and units."""

from __future__ import annotations

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

_LABELS = (*TARGET_RELATIONSHIPS, *VALUE_RELATIONSHIPS)


@dataclass(frozen=True, eq=False)
class _Links:
    """(n,) relationships that are followed, none to itself."""

    label: Ints  # index into _LABELS
    source: Ints  # concept ids
    other: Ints

    def reachable(self, sources: Ints) -> _Links:
        """The links of some concepts, and those of the concepts that they lead to."""
        reached, size = sources, -1
        while len(reached) > size:
            size = len(reached)
            reached = np.unique(np.concatenate([reached, self.other[np.isin(self.source, reached)]]))
        chosen = np.isin(self.source, reached)
        return _Links(self.label[chosen], self.source[chosen], self.other[chosen])


@dataclass(frozen=True, eq=False)
class StandardTargets:
    """(n,) steps from non-standard concepts to standard ones, by ascending id of the former."""

    concept_id: Ints  # of the non-standard concept
    name: StringArray  # of the non-standard concept
    relationship: npt.NDArray[np.int8]  # index into TARGET_RELATIONSHIPS
    row: npt.NDArray[np.int32]  # concept row of the standard concept

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
    concept: pd.DataFrame, relationship: pd.DataFrame, standard_ids: Ints, standard_rows: Ints
) -> tuple[StandardTargets, ValueTable]:
    """The targets of non-standard concepts, and what belongs beside the mappings of all concepts.

    Most of them map to standard concepts in one step, which is found in arrays; only the others are followed.

    Args:
        concept: concept_id and concept_name of all concepts.
        relationship: concept_id_1, concept_id_2, relationship_id.
        standard_ids: (s,) the standard concepts.
        standard_rows: (s,) the row of each.
    """
    import pandas as pd

    standard, known = pd.Index(standard_ids), pd.Index(concept["concept_id"].to_numpy(np.int64))
    names = pd.Categorical(relationship["relationship_id"])
    label = np.append(pd.Index(_LABELS).get_indexer(names.categories), -1)[names.codes]
    source, other = (relationship[name].to_numpy(np.int64) for name in ("concept_id_1", "concept_id_2"))
    followed = (label >= 0) & (source != other)
    links = _Links(label[followed], source[followed], other[followed])
    position = standard.get_indexer(pd.Index(links.other))
    from_standard, is_target = (
        standard.get_indexer(pd.Index(links.source)) >= 0,
        links.label < len(TARGET_RELATIONSHIPS),
    )
    one_step = ~from_standard & (links.label == 0) & (position >= 0)
    others = np.unique(links.source[~one_step & ~(from_standard & is_target)])
    direct = one_step & ~np.isin(links.source, others)
    sources, rows = links.source[direct], standard_rows[position[direct]]
    labels = np.zeros(len(sources), np.int8)
    reached, values = _followed(links.reachable(others), others, standard, standard_rows)
    sources, labels, rows = (
        np.concatenate(pair) for pair in zip((sources, labels, rows), reached, strict=True)
    )
    order = np.lexsort((rows, sources))
    repeated = (np.diff(sources[order], prepend=-1) == 0) & (np.diff(rows[order], prepend=-1) == 0)
    order = order[~repeated & (known.get_indexer(pd.Index(sources[order])) >= 0)]

    def names_of(ids: Ints) -> StringArray:
        return StringArray.of(
            map(str, concept["concept_name"].iloc[known.get_indexer(pd.Index(ids))].tolist())
        )

    targets = StandardTargets(
        sources[order], names_of(sources[order]), labels[order].astype(np.int8), rows[order].astype(np.int32)
    )
    of, label, value = (np.array([entry[column] for entry in values], np.int64) for column in range(3))
    has_name = (known.get_indexer(pd.Index(of)) >= 0) & (known.get_indexer(pd.Index(value)) >= 0)
    of, label, value = of[has_name], label[has_name], value[has_name]
    return targets, ValueTable(of, label.astype(np.int8), value, names_of(value))


def _followed(
    links: _Links, sources: Ints, standard: pd.Index, standard_rows: Ints
) -> tuple[tuple[Ints, Ints, Ints], list[tuple[int, int, int]]]:
    """((source, first label, row) of each target, (source, label, value) of what belongs beside it)."""
    import pandas as pd

    mapping: dict[int, list[tuple[str, int]]] = {}
    for label, source, other in zip(
        links.label.tolist(), links.source.tolist(), links.other.tolist(), strict=True
    ):
        mapping.setdefault(source, []).append((_LABELS[label], other))
    ids = np.unique(np.concatenate([sources, links.source, links.other]))
    position = standard.get_indexer(pd.Index(ids))
    is_standard = position >= 0
    pairs = zip(ids[is_standard].tolist(), standard_rows[position[is_standard]].tolist(), strict=True)
    row_of = dict(pairs)
    steps: list[tuple[int, int, int]] = []
    values: list[tuple[int, int, int]] = []
    for source in sources.tolist():
        paths = {} if source in row_of else relationships.follow(source, mapping, row_of.__contains__)
        steps += (
            (source, TARGET_RELATIONSHIPS.index(path[0][1]), row_of[target]) for target, path in paths.items()
        )
        if paths or source in row_of:
            beside = relationships.values(source, paths.values(), mapping, row_of.__contains__)
            values += ((source, VALUE_RELATIONSHIPS.index(label), value) for label, value in beside)
    reached = np.array(steps, np.int64).reshape(-1, 3)
    return (reached[:, 0], reached[:, 1], reached[:, 2]), values
