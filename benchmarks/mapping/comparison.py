"""Two public sets by our protocol: recall with intervals, for docs/concepts/comparison.md.

usage: comparison.py FIRST.npz

FIRST.npz is made by source_calibration.py: ranks by a ranker that learned from other families of sources.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from omop_emb.service.review.statistics_records import Share

SETS = ("ariadne_exact", "ariadne_broad", "mimic4_lab")


def main(first_path: Path) -> None:
    first = np.load(first_path)
    for name in SETS:
        ranks = first["ranks"][(first["sets"] == name) & first["findable"]]
        line = [f"{name}: {len(ranks)} terms"]
        for k in (1, 10):
            share = Share(int(((ranks > 0) & (ranks <= k)).sum()), len(ranks))
            low, high = share.interval
            line.append(f"recall@{k} {share.value:.3f} ({low:.3f} to {high:.3f})")
        reciprocal = np.where(ranks > 0, 1 / np.maximum(ranks, 1), 0)
        print(", ".join([*line, f"MRR {reciprocal.mean():.3f}"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
