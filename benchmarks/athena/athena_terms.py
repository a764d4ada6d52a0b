"""Made-up source terms: names of a made-up download's concepts as a site may type them."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import numpy as np

from .athena_files import KINDS, Download, concept_names, of_kind


def write_terms(path: Path, download: Download, count: int) -> None:
    """Write names of standard concepts as a site may type them: in capitals, a word cut, a letter added."""
    draw = random.Random(download.seed)  # noqa: S311 - a sample, not a secret
    numbers = np.array(sorted(draw.randrange(download.concepts) for _ in range(4 * count)))
    texts: list[str] = []
    for name in ("drug", "finding", "test"):
        kind = KINDS[name]
        chosen, within = of_kind(numbers, kind)
        texts += concept_names(kind, chosen, within, download)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["code", "name", "frequency"])
        for number, text in enumerate(draw.sample(texts, count)):
            words = text.upper().split()
            index = draw.randrange(len(words))
            words[index] = words[index][: max(3, len(words[index]) - 2)]
            writer.writerow([number, f"{' '.join(words)} {draw.choice('ABCDEFGH')}", draw.randrange(1, 1000)])
