"""Trains the ranker that ships with omop-emb, and measures it by leaving one family of sources out at a time.

usage: train_default.py BASE.npz MEMORY.npz GOLD_FOLDER OUTPUT.json FINGERPRINT

BASE.npz and MEMORY.npz are made by tables.py, the second with --memory-without-fold 0.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from gold import CORE, FAMILIES, GoldTerm, read
from tables import load, term_folds

from omop_emb.mapping.features.names import NAMES
from omop_emb.mapping.ranking.calibration import calibration_error
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.ranking.linear import LinearRanker, approved_first
from omop_emb.mapping.training.linear_training import (
    MEMORY,
    Linear,
    calibrate,
    fit_linear,
    fit_memory,
    ranks,
)


def scored(terms: list[GoldTerm]) -> np.ndarray:
    return np.array([term.scored and term.findable for term in terms])


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
        if not len(own):
            continue
        result[domain] = {
            "terms": int(chosen.sum()),
            "recall@1": round(float((own == 1).mean()), 4),
            "recall@10": round(float(((own > 0) & (own <= 10)).mean()), 4),
        }
    return result


def show(name: str, terms: list[GoldTerm], found: np.ndarray, chosen: np.ndarray) -> None:
    print(name, macro(terms, found, chosen), flush=True)
    for domain, figures in by_domain(terms, found, chosen).items():
        print("   ", domain, figures, flush=True)


def families(terms: list[GoldTerm]) -> np.ndarray:
    named = [term.family if term.family in FAMILIES else "rest" for term in terms]
    return np.unique(named, return_inverse=True)[1].astype(np.int64)


def error(terms: list[GoldTerm], examples: Examples, scores: np.ndarray, fold: np.ndarray) -> float:
    """Calibration error over the scored terms, those without a match included."""
    calibrated = calibrate(examples, scores, fold, isotonic=False)
    chosen = np.array([term.scored for term in terms])
    return calibration_error(calibrated.probability[chosen], calibrated.right[chosen])


def teaching(terms: list[GoldTerm]) -> np.ndarray:
    """Places of the terms that the shipped ranker learns from: no more than 200 of a source.

    What holds elsewhere is wanted, not the habits of a large source.
    """
    return np.flatnonzero([term.scored or term.set_name not in CORE for term in terms])


def without_family(terms: list[GoldTerm], examples: Examples) -> dict[int, Linear]:
    """Family -> the ranker that learned from the others."""
    kept = teaching(terms)
    learned, fold = examples.take(kept), families(terms)[kept]
    return {
        int(number): fit_linear(learned.take(np.flatnonzero(fold != number))) for number in np.unique(fold)
    }


def by_others(terms: list[GoldTerm], examples: Examples, models: dict[int, Linear]) -> np.ndarray:
    """(p,) scores of each term's candidates by the ranker that learned from other families."""
    scores, fold = np.zeros(len(examples.features), np.float32), families(terms)
    for number, model in models.items():
        own = np.flatnonzero(fold == number)
        scores[examples.rows(own)] = model.of(examples.take(own))
    return scores


def remembering(
    terms: list[GoldTerm], examples: Examples, models: dict[int, Linear], tested: np.ndarray
) -> dict[int, Linear]:
    """Family -> its ranker with weights for the memory, learned from others' terms that are not tested."""
    kept = teaching(terms)
    kept = kept[~tested[kept]]
    fold = families(terms)
    return {
        number: fit_memory(examples.take(kept[fold[kept] != number]), model)
        for number, model in models.items()
    }


def main(base: Path, memory: Path, gold: Path, output: Path, fingerprint: str) -> None:
    started = time.time()
    terms = read(gold, more=5)
    kept, third = teaching(terms), term_folds(terms) == 0
    examples, with_memory = load(base, terms).take(kept), load(memory, terms).take(kept)
    terms, third = [terms[place] for place in kept], third[kept]
    fold, core = families(terms), scored(terms)
    joint = examples.features[:, NAMES.index("joint score")].astype(np.float32)
    joint += 0.3 * examples.features[:, NAMES.index("same unit")]
    show("untrained", terms, ranks(examples, joint), core)
    models = without_family(terms, examples)
    scores = by_others(terms, examples, models)
    show("a family never seen", terms, ranks(examples, scores), core)
    print(f"its calibration error: {error(terms, examples, scores, fold):.3f}", flush=True)

    final = fit_memory(with_memory.take(np.flatnonzero(~third)), fit_linear(examples))
    # the family's other terms are in its memory, not in what the weights were learned from
    remembered = by_others(terms, with_memory, remembering(terms, with_memory, models, third))
    ordered = approved_first(remembered, with_memory.features, NAMES)
    show("a third of these, with memory", terms, ranks(with_memory, ordered), core & third)
    show("the same, without", terms, ranks(examples, scores), core & third)
    ranker = LinearRanker(
        name="default-2",
        fingerprint=fingerprint,
        own=False,
        calibration=calibrate(examples, scores, fold, isotonic=False).calibration,
        features=NAMES,
        weights=final.weights,
        corrections=final.corrections,
        centre=final.centre,
    )
    output.write_text(json.dumps(ranker.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(
        {name: float(final.weights[NAMES.index(name)]) for name in MEMORY}, f"{time.time() - started:.0f} s"
    )


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:5]), sys.argv[5])
