"""Lexicon texts: the texts of concepts, gathered kind by kind and put in the order of the concepts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Ints
from omop_emb.mapping.retrieval.string_array import StringArray

if TYPE_CHECKING:
    import pandas as pd


class LexiconTexts:
    """Texts of concepts, in arrays and one list: objects for each would take as much memory again."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._rows: list[Ints] = [np.zeros(0, np.int64)]
        self._kinds: list[npt.NDArray[np.int8]] = [np.zeros(0, np.int8)]
        self._paths: list[Ints] = [np.zeros(0, np.int64)]

    def add(self, kind: int, rows: Ints, texts: Sequence[str], paths: Ints | None = None) -> None:
        """Add texts of one kind with their concept rows; paths: see Lexicon.text_path."""
        self._texts.extend(texts)
        self._rows.append(rows)
        self._kinds.append(np.full(len(rows), kind, np.int8))
        self._paths.append(np.full(len(rows), -1) if paths is None else paths)

    def add_pairs(self, kind: int, pairs: Iterable[tuple[int, str]]) -> None:
        """Add (concept row, text) of one kind."""
        given = list(pairs)
        self.add(kind, np.array([row for row, _ in given], np.int64), [text for _, text in given])

    def pairs(self) -> Iterator[tuple[int, str]]:
        """(concept row, text) of what was added until now."""
        return zip(np.concatenate(self._rows).tolist(), self._texts, strict=True)

    def in_order(
        self,
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int8], npt.NDArray[np.int32], StringArray]:
        """(concept row, kind, path, text) of each, ordered by row, kind, text and path."""
        rows, kinds, paths = (np.concatenate(part) for part in (self._rows, self._kinds, self._paths))
        texts = self._texts
        order = np.lexsort((paths, kinds, rows))
        # Texts are compared only where a concept has several of a kind.
        rows, kinds = rows[order], kinds[order]
        begins = np.flatnonzero((np.diff(rows, prepend=-1) != 0) | (np.diff(kinds, prepend=-1) != 0))
        ends = np.append(begins[1:], len(order))
        several = ends - begins > 1
        for begin, end in zip(begins[several].tolist(), ends[several].tolist(), strict=True):
            order[begin:end] = sorted(order[begin:end].tolist(), key=texts.__getitem__)
        return (
            rows.astype(np.int32),
            kinds.astype(np.int8),
            paths[order].astype(np.int32),
            StringArray.of(texts[index] for index in order.tolist()),
        )


def synonym_rows(synonym: pd.DataFrame, concept_id: Ints, names: list[str]) -> tuple[Ints, list[str]]:
    """(concept row, synonym) of those that are not the name."""
    import pandas as pd

    rows = pd.Index(concept_id).get_indexer(pd.Index(synonym["concept_id"]))
    texts = synonym["concept_synonym_name"][rows >= 0].tolist()
    rows = rows[rows >= 0]
    differs = [bool(text) and text != names[row] for row, text in zip(rows.tolist(), texts, strict=True)]
    return rows[np.array(differs, bool)], [str(text) for text in compress(texts, differs)]
