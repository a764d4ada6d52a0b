"""A large vocabulary: Athena's files and vectors of its texts, read into the structures of mapping."""

from __future__ import annotations

import csv
from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.mapping.retrieval.dense_index import DenseIndex
from omop_emb.mapping.retrieval.lexicon import Lexicon, build_lexicon


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
    return build_lexicon(
        table("CONCEPT", "concept_id"),
        table("CONCEPT_SYNONYM", "concept_id"),
        relationship[relationship["invalid_reason"] == ""],
    )


class Vectors:
    """Vectors by text, read from a folder; the packaged model embeds the texts that it lacks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, tuple[int, int]] = {}  # text -> (matrix, row)
        self.matrices: list[np.ndarray] = []
        for lines in sorted(folder.glob("**/*.txt")):
            if lines.with_suffix(".npy").exists():
                self._add(lines.read_text(encoding="utf-8").split("\n")[:-1], lines.with_suffix(".npy"))

    def _add(self, texts: list[str], matrix: Path) -> None:
        self.matrices.append(np.load(matrix, mmap_mode="r"))
        for row, text in enumerate(texts):
            self.rows.setdefault(text, (len(self.matrices) - 1, row))

    def __call__(self, texts: list[str]) -> np.ndarray:
        missing = sorted({text for text in texts if text not in self.rows and "\n" not in text})
        if missing:
            client = EmbeddingClient("local:all-MiniLM-L6-v2", document_prefix="", query_prefix="")
            vectors = client.embeddings(missing, embedding_role=EmbeddingRole.QUERY)
            name = self.folder / f"embedded-{len(self.matrices)}-{uuid4().hex[:8]}"
            name.with_suffix(".txt").write_text("\n".join(missing) + "\n", encoding="utf-8")
            np.save(name.with_suffix(".npy"), vectors)
            self._add(missing, name.with_suffix(".npy"))
        rows = [self.rows[text] for text in texts]
        return np.stack([self.matrices[matrix][row] for matrix, row in rows]).astype(np.float32)

    def embed_names(self, lexicon: Lexicon) -> None:
        """Embed every name and synonym: a quarter of an hour for 300,000 on two cores, once."""
        texts = [text for row, text in enumerate(lexicon.texts) if lexicon.text_kind[row] < 2]
        for start in range(0, len(texts), 20_000):
            self(texts[start : start + 20_000])

    def index(self, lexicon: Lexicon) -> DenseIndex:
        """The dense index of all names and synonyms."""
        self.embed_names(lexicon)
        rows = np.flatnonzero(lexicon.text_kind < 2).tolist()
        vectors = np.empty((len(rows), self.matrices[0].shape[1]), np.float16)
        for start in range(0, len(rows), 10_000):
            block = rows[start : start + 10_000]
            vectors[start : start + 10_000] = self([lexicon.texts[row] for row in block])
        return DenseIndex(lexicon, lexicon.concept_id[lexicon.text_concept[rows]], vectors)
