"""Trains the ranker that ships with omop-emb, and measures it by leaving one family of sources out at a time.

usage: train_default.py TABLES.npz GOLD_FOLDER OUTPUT.json [FINGERPRINT]
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from gold import CORE, FAMILIES, GoldTerm, read

from omop_emb.mapping.calibration import calibration_error
from omop_emb.mapping.features import NAMES
from omop_emb.mapping.ranker import LinearRanker
from omop_emb.mapping.training import Examples, calibrate, fit_linear, out_of_sample, ranks


def load(tables: Path, gold: Path) -> tuple[Examples, list[GoldTerm]]:
    data = np.load(tables)
    terms = read(gold, findable=int(data["findable"]), unfindable=int(data["unfindable"]))
    features = data["table"]
    place = {name: number for number, name in enumerate(NAMES)}
    first = np.concatenate([[0], np.cumsum(data["sizes"])]).astype(np.int64)
    groups = ("original", "rewritten", "part")
    examples = Examples(
        features,
        np.array(data["domains"])[data["domain"]],
        first,
        data["label"],
        np.array([term.set_name for term in terms]),
        features[:, [place[f"dense {group}"] for group in groups]].max(axis=1),
        features[:, [place[f"lexical {group}"] for group in groups]].max(axis=1),
        features[:, [place[f"reads alike, {group}"] for group in groups]].max(axis=1),
    )
    return examples, terms


def macro(terms: list[GoldTerm], found: np.ndarray, chosen: np.ndarray) -> dict[str, float]:
    sets: dict[str, list[int]] = {}
    for term, rank, wanted in zip(terms, found, chosen, strict=True):
        if wanted:
            sets.setdefault(term.set_name, []).append(int(rank))
    at = {k: np.mean([np.mean([0 < r <= k for r in rs]) for rs in sets.values()]) for k in (1, 5, 10, 50)}
    mrr = np.mean([np.mean([1 / r if r else 0 for r in rs]) for rs in sets.values()])
    return {**{f"recall@{k}": round(float(v), 4) for k, v in at.items()}, "mrr": round(float(mrr), 4)}


def by_domain(terms: list[GoldTerm], found: np.ndarray, core: np.ndarray) -> dict[str, dict[str, float]]:
    result = {}
    for domain in ("Condition", "Drug", "Measurement", "Procedure", "Observation", "Unit"):
        chosen = core & np.array([term.domain == domain for term in terms])
        own = found[chosen]
        result[domain] = {
            "terms": int(chosen.sum()),
            "recall@1": round(float(((own > 0) & (own <= 1)).mean()), 4),
            "recall@10": round(float(((own > 0) & (own <= 10)).mean()), 4),
        }
    return result


def main(tables: Path, gold: Path, output: Path, fingerprint: str) -> None:
    examples, terms = load(tables, gold)
    core = np.array([term.set_name in CORE and term.findable for term in terms])
    families = np.array([term.family if term.family in FAMILIES else "rest" for term in terms])
    joint = (
        examples.features[:, NAMES.index("joint score")]
        + 0.3 * examples.features[:, NAMES.index("same unit")]
    )
    print("untrained      ", macro(terms, ranks(examples, joint), core))
    started = time.time()
    fold = np.unique(families, return_inverse=True)[1]
    scores = out_of_sample(examples, fold, lambda part: fit_linear(part).score)
    found = ranks(examples, scores)
    print("family left out", macro(terms, found, core), f"{time.time() - started:.0f} s")
    for domain, figures in by_domain(terms, found, core).items():
        print("   ", domain, figures)
    calibrated = calibrate(examples, scores, fold, isotonic=False)
    scored = core | np.array([term.set_name in CORE and term.no_match for term in terms])
    error = calibration_error(calibrated.probability[scored], calibrated.right[scored])
    print(f"calibration error at a family never seen: {error:.3f}")
    fitted = fit_linear(examples)
    ranker = LinearRanker(
        name="default-1",
        fingerprint=fingerprint,
        own=False,
        calibration=calibrated.calibration,
        features=NAMES,
        weights=fitted.weights,
        corrections=fitted.corrections,
        centre=fitted.centre,
    )
    output.write_text(json.dumps(ranker.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "")
