"""A vocabulary in Athena's layout and vectors of its texts, read into the mapping's own structures."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from omop_emb.mapping.dense import DenseIndex
from omop_emb.mapping.lexicon import Lexicon, build


def read_vocabulary(folder: Path) -> Lexicon:
    def table(name: str, *ids: str) -> pd.DataFrame:
        frame = pd.read_csv(
            folder / f"{name}.csv",
            sep="\t",
            quoting=csv.QUOTE_NONE,
            keep_default_na=False,
            na_values=[],
            dtype=str,
        )
        return frame.astype(dict.fromkeys(ids, "int64"))

    relationship = table("CONCEPT_RELATIONSHIP", "concept_id_1", "concept_id_2")
    return build(
        table("CONCEPT", "concept_id"),
        table("CONCEPT_SYNONYM", "concept_id"),
        relationship[relationship["invalid_reason"] == ""],
    )


class Vectors:
    """Vectors of texts by text, from pairs of a text file (one a line) and a matrix."""

    def __init__(self, *pairs: tuple[Path, Path]) -> None:
        self.place: dict[str, tuple[int, int]] = {}
        self.matrices = []
        for number, (lines, matrix) in enumerate(pairs):
            self.matrices.append(np.load(matrix, mmap_mode="r"))
            for row, text in enumerate(lines.read_text(encoding="utf-8").split("\n")[:-1]):
                self.place.setdefault(text, (number, row))

    def __call__(self, texts: list[str]) -> np.ndarray:
        places = [self.place[text] for text in texts]
        return np.stack([self.matrices[number][row] for number, row in places]).astype(np.float32)

    def index(self, lexicon: Lexicon) -> DenseIndex:
        """Names and synonyms that have a vector."""
        rows = [
            row for row, text in enumerate(lexicon.texts) if lexicon.text_kind[row] < 2 and text in self.place
        ]
        vectors = np.empty((len(rows), self.matrices[0].shape[1]), np.float16)
        for at in range(0, len(rows), 10_000):
            vectors[at : at + 10_000] = self([lexicon.texts[row] for row in rows[at : at + 10_000]])
        return DenseIndex(lexicon, lexicon.concept_id[lexicon.text_concept[rows]], vectors)
