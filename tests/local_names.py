"""Local names: a vocabulary's concept names as hospitals write them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from omop_emb.mapping.training.augmentation import augmented
from omop_emb.service import demo

_MOST_CHANGES = 4  # of one name


def concept_names(vocabulary: Path = demo.SAMPLE) -> dict[int, str]:
    """The concepts of Athena's files, by default the sample's: id -> name."""
    with (vocabulary / "CONCEPT.csv").open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {int(row["concept_id"]): row["concept_name"] for row in rows}


def local_names(count: int, vocabulary: Path = demo.SAMPLE) -> list[str]:
    """So many distinct names: unchanged, misspelt, abbreviated, in other case or without a word."""
    names = list(concept_names(vocabulary).values())
    random = np.random.default_rng(18)
    written: dict[str, None] = {}
    while len(written) < count:
        name = names[int(random.integers(len(names)))]
        for _ in range(int(random.integers(_MOST_CHANGES + 1))):
            name = augmented(name, random)
        written[name] = None
    return list(written)
