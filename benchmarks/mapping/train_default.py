"""Training of the ranker that ships with omop-emb, and its quality on families of sources it did not see.

usage: train_default.py BASE.npz MEMORY.npz GOLD_FOLDER OUTPUT.json FINGERPRINT

BASE.npz and MEMORY.npz are made by tables.py, the second with --memory-without-fold 0.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from gold import CORE_SETS, FAMILIES, GoldTerm, read
from linear_training import MEMORY_FEATURES, LinearWeights, fit_linear, fit_memory
from tables import folds_of, load_table

from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.ranking.calibration import calibration_error
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.ranking.linear import LinearRanker
from omop_emb.mapping.ranking.ranker import add_approved_bonus
from omop_emb.mapping.training.cross_validation import calibrate_out_of_sample

# Added to the trained weights: too few terms of the sources show that a unit is not its reciprocal, or that a
# test without a specimen is one of serum. With both, recall@1 at an unseen family is .508 instead of .506.
ADDED_WEIGHTS = {"signs differ": -1.0, "serum or plasma by default": 0.6}


def is_scored(terms: list[GoldTerm]) -> np.ndarray:
    return np.array([term.scored and term.findable for term in terms])


def macro_average(terms: list[GoldTerm], ranks: np.ndarray, chosen: np.ndarray) -> dict[str, float]:
    sets: dict[str, list[int]] = {}
    for term, rank, is_chosen in zip(terms, ranks, chosen, strict=True):
        if is_chosen:
            sets.setdefault(term.set_name, []).append(int(rank))
    recall = {k: np.mean([np.mean([0 < r <= k for r in rs]) for rs in sets.values()]) for k in (1, 5, 10, 50)}
    mrr = np.mean([np.mean([1 / r if r else 0 for r in rs]) for rs in sets.values()])
    return {**{f"recall@{k}": round(float(v), 4) for k, v in recall.items()}, "mrr": round(float(mrr), 4)}


def print_quality(name: str, terms: list[GoldTerm], ranks: np.ndarray, chosen: np.ndarray) -> None:
    print(name, macro_average(terms, ranks, chosen), flush=True)
    for domain in ("Condition", "Drug", "Measurement", "Procedure", "Observation", "Unit"):
        own = ranks[chosen & np.array([term.domain == domain for term in terms])]
        if len(own):
            recall_1, recall_10 = (own == 1).mean(), ((own > 0) & (own <= 10)).mean()
            figures = {"recall@1": round(float(recall_1), 4), "recall@10": round(float(recall_10), 4)}
            print("   ", domain, {"terms": len(own), **figures}, flush=True)


def family_codes(terms: list[GoldTerm]) -> np.ndarray:
    named = [term.family if term.family in FAMILIES else "rest" for term in terms]
    return np.unique(named, return_inverse=True)[1].astype(np.int64)


def teaching_terms(terms: list[GoldTerm]) -> np.ndarray:
    """Numbers of the terms that the shipped ranker learns from: at most 200 of a core set.

    It should learn what holds everywhere, not the habits of a large source.
    """
    return np.flatnonzero([term.scored or term.set_name not in CORE_SETS for term in terms])


def fit_by_family(terms: list[GoldTerm], examples: Examples) -> dict[int, LinearWeights]:
    """By family, the ranker that learned from all others."""
    teaching = teaching_terms(terms)
    learned, fold = examples.take(teaching), family_codes(terms)[teaching]
    return {
        int(number): fit_linear(learned.take(np.flatnonzero(fold != number))) for number in np.unique(fold)
    }


def score_by_family(
    terms: list[GoldTerm], examples: Examples, models: dict[int, LinearWeights]
) -> np.ndarray:
    """(p,) scores of each term's candidates by the ranker that learned from other families."""
    scores, fold = np.zeros(len(examples.features), np.float32), family_codes(terms)
    for number, model in models.items():
        own = np.flatnonzero(fold == number)
        scores[examples.rows(own)] = model.score_examples(examples.take(own))
    return scores


def fit_memory_by_family(
    terms: list[GoldTerm], examples: Examples, models: dict[int, LinearWeights], tested: np.ndarray
) -> dict[int, LinearWeights]:
    """By family, its ranker with weights for the memory, learned from other families' untested terms."""
    teaching = teaching_terms(terms)
    teaching = teaching[~tested[teaching]]
    fold = family_codes(terms)[teaching]
    return {
        number: fit_memory(examples.take(teaching[fold != number]), model) for number, model in models.items()
    }


def main(base: Path, memory: Path, gold: Path, output: Path, fingerprint: str) -> None:
    started = time.time()
    terms = read(gold, more=5)
    teaching, third = teaching_terms(terms), folds_of(terms) == 0
    examples = load_table(base, terms).take(teaching)
    with_memory = load_table(memory, terms).take(teaching)
    terms, third = [terms[number] for number in teaching], third[teaching]
    fold, core = family_codes(terms), is_scored(terms)
    joint = examples.features[:, NAMES.index("joint score")].astype(np.float32)
    joint += 0.3 * examples.features[:, NAMES.index("same unit")]
    print_quality("untrained", terms, examples.target_ranks(joint), core)
    models = fit_by_family(terms, examples)
    scores = score_by_family(terms, examples, models)
    print_quality("an unseen family", terms, examples.target_ranks(scores), core)
    first = examples.first_candidates(scores)
    calibration, probability = calibrate_out_of_sample(first, fold, isotonic=False)
    chosen = np.array([term.scored for term in terms])
    error = calibration_error(probability[chosen], first.correct[chosen])
    print(f"calibration error, with terms that have no match: {error:.3f}", flush=True)

    final = fit_memory(with_memory.take(np.flatnonzero(~third)), fit_linear(examples))
    # The family's other terms are in its memory, but the weights were not learned from them.
    memory_models = fit_memory_by_family(terms, with_memory, models, third)
    remembered = score_by_family(terms, with_memory, memory_models)
    ranks = with_memory.target_ranks(add_approved_bonus(remembered, with_memory.features))
    print_quality("a third of these, with memory", terms, ranks, core & third)
    print_quality("the same, without", terms, examples.target_ranks(scores), core & third)
    ranker = LinearRanker(
        name="shipped-2",
        fingerprint=fingerprint,
        is_site_trained=False,
        calibration=calibration,
        weights=final.weights + np.array([ADDED_WEIGHTS.get(name, 0.0) for name in NAMES], np.float32),
        corrections=final.corrections,
    )
    output.write_text(json.dumps(ranker.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    weights = {name: float(final.weights[NAMES.index(name)]) for name in MEMORY_FEATURES}
    print(weights, f"{time.time() - started:.0f} s")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:5]), sys.argv[5])
