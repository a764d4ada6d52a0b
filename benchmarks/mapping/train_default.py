"""Training of the ranker that ships with omop-emb, and its quality on families of sources it did not see.

usage: train_default.py BASE.npz MEMORY.npz GOLD_FOLDER OUTPUT.json FINGERPRINT

BASE.npz and MEMORY.npz are made by tables.py, the second with --memory-without-fold 0. Weights and
probabilities are learned from sets under MIT and Apache-2.0 alone, those of the memory from five times as
many of their terms; all sets are scored.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from gold import CORE_SETS, FAMILIES, LICENSED_SETS, GoldTerm, is_aside, read_for_shipping
from linear_training import MEMORY_FEATURES, LinearWeights, fit_linear, fit_memory
from tables import folds_of, load_table

from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.ranking.calibration import calibration_error
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.ranking.linear import LinearRanker
from omop_emb.mapping.ranking.ranker import add_approved_bonus
from omop_emb.mapping.training.cross_validation import calibrate_out_of_sample

# Added to the trained weights: too few terms of the sources show that a unit is not its reciprocal, or that a
# test without a specimen is one of serum. Neither changes recall at an unseen family by more than its error.
ADDED_WEIGHTS = {"signs differ": -1.0, "serum or plasma by default": 0.6}


def is_licensed(terms: list[GoldTerm]) -> np.ndarray:
    return np.array([term.set_name in LICENSED_SETS for term in terms])


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
    """The number of each term's family, the same whatever the terms."""
    names = sorted({*FAMILIES, "rest"})
    named = [term.family if term.family in FAMILIES else "rest" for term in terms]
    return np.array([names.index(name) for name in named], np.int64)


def teaching_terms(terms: list[GoldTerm]) -> np.ndarray:
    """Numbers of the terms that the shipped ranker learns from: at most 200 of a licensed core set.

    It should learn what holds everywhere, not the habits of a large source.
    """
    drawn = np.array([term.scored or term.set_name not in CORE_SETS for term in terms])
    return np.flatnonzero(drawn & is_licensed(terms))


def fit_by_family(terms: list[GoldTerm], examples: Examples) -> dict[int, LinearWeights]:
    """By family, the ranker that learned from all others; one for all families that teach nothing."""
    teaching, families = teaching_terms(terms), family_codes(terms)
    learned, fold = examples.take(teaching), families[teaching]
    of_all = fit_linear(learned)
    return {
        int(number): fit_linear(learned.take(np.flatnonzero(fold != number))) if number in fold else of_all
        for number in np.unique(families)
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
    """By family, its ranker with weights for the memory, learned from other families' untested terms.

    They are more than the other weights are learned from, as approvals matter where a site has many.
    """
    teaching = np.flatnonzero(is_licensed(terms) & ~tested)
    fold = family_codes(terms)[teaching]
    return {
        number: fit_memory(examples.take(teaching[fold != number]), model) for number, model in models.items()
    }


def print_thirds(name: str, terms: list[GoldTerm], ranks: np.ndarray, core: np.ndarray) -> None:
    """The quality on all scored terms, and on the third of them that no choice was made by."""
    print_quality(name, terms, ranks, core)
    aside = np.array([is_aside(term) for term in terms])
    print("   the third kept aside", macro_average(terms, ranks, core & aside), flush=True)
    for family in FAMILIES:
        own = core & np.array([term.family == family for term in terms])
        print("   ", family, {"terms": int(own.sum()), **macro_average(terms, ranks, own)}, flush=True)


def learn_memory(
    terms: list[GoldTerm], memory: Examples, plain: LinearWeights, models: dict[int, LinearWeights]
) -> LinearWeights:
    """The weights with those of the memory, and the quality of a third with them at families left out."""
    third, core = folds_of(terms) == 0, is_scored(terms)
    remembering = fit_memory_by_family(terms, memory, models, third)
    for name, chosen in (("with memory", remembering), ("without", models)):
        scores = add_approved_bonus(score_by_family(terms, memory, chosen), memory.features)
        print_quality(f"a third, {name}", terms, memory.target_ranks(scores), core & third)
    # The family's other terms are in its memory, but the weights were not learned from them.
    return fit_memory(memory.take(np.flatnonzero(is_licensed(terms) & ~third)), plain)


def main(base: Path, memory: Path, gold: Path, output: Path, fingerprint: str) -> None:
    started = time.time()
    terms = read_for_shipping(gold)
    examples, core = load_table(base, terms), is_scored(terms)
    joint = examples.features[:, NAMES.index("joint score")].astype(np.float32)
    joint += 0.3 * examples.features[:, NAMES.index("same unit")]
    print_thirds("untrained", terms, examples.target_ranks(joint), core)
    models = fit_by_family(terms, examples)
    scores = score_by_family(terms, examples, models)
    print_thirds("an unseen family", terms, examples.target_ranks(scores), core)

    first, teaching = examples.first_candidates(scores), teaching_terms(terms)
    families = family_codes(terms)
    calibration, _ = calibrate_out_of_sample(first.take(teaching), families[teaching], isotonic=False)
    is_taught = is_licensed(terms)
    unseen = first.take(np.flatnonzero([term.scored for term in terms] & ~is_taught))
    error = calibration_error(unseen.probability(calibration), unseen.correct)
    print(f"calibration error at families that taught nothing, with terms without a match: {error:.3f}")

    # The families that teach nothing share the ranker of all that do.
    plain = models[int(families[~is_taught][0])]
    del examples
    final = learn_memory(terms, load_table(memory, terms), plain, models)
    weights = final.weights + np.array([ADDED_WEIGHTS.get(name, 0.0) for name in NAMES], np.float32)
    ranker = LinearRanker(
        name="shipped-3",
        fingerprint=fingerprint,
        is_site_trained=False,
        calibration=calibration,
        weights=weights,
        corrections=final.corrections,
    )
    output.write_text(json.dumps(ranker.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    of_memory = {name: float(final.weights[NAMES.index(name)]) for name in MEMORY_FEATURES}
    print(of_memory, f"{time.time() - started:.0f} s")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:5]), sys.argv[5])
