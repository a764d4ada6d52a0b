"""What a site's first approvals are worth: recall@1 after 0 to 1,000 of them, family by family.

usage: learning_curve.py BASE.npz MEMORY.npz GOLD_FOLDER [--draws N]

The tables are made by tables.py, the second with --memory-without-fold 0. A third of each family is scored;
its approvals are drawn from the other two thirds. The shipped part learned from the other families alone.
Intervals are of 2,000 bootstrap draws of terms within their sets. MEMORY.npz holds a whole memory, so
that the memory is measured at that size only.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from gold import FAMILIES, read_for_shipping
from tables import folds_of, load_table
from train_default import family_codes, fit_by_family, fit_memory_by_family, is_scored, score_by_family

from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.ranking.preference_columns import preference_columns
from omop_emb.mapping.ranking.ranker import add_approved_bonus
from omop_emb.mapping.ranking.site_preferences import PreferenceExample, SitePreferences, learn_preferences
from omop_emb.mapping.ranking.stated_strength import prefer_stated_strength

APPROVALS = (0, 10, 25, 50, 100, 250, 1000)
CANDIDATES = 60


def shipped_scores(examples: Examples, scores: np.ndarray) -> np.ndarray:
    return prefer_stated_strength(scores, examples.features, examples.offsets)


def example_of(examples: Examples, scores: np.ndarray, term: int) -> PreferenceExample:
    span = np.arange(examples.offsets[term], examples.offsets[term + 1])
    rows = span[np.argsort(-scores[span], kind="stable")[:CANDIDATES]]
    features = examples.features[rows].astype(np.float32)
    columns = preference_columns(features, examples.domains[rows].tolist())
    return PreferenceExample(columns, scores[rows], examples.is_target[rows])


def hits(
    examples: Examples, scores: np.ndarray, terms: np.ndarray, preferences: SitePreferences
) -> np.ndarray:
    """(terms,) whether the first candidate is a target, with the preferences added."""
    result = np.zeros(len(terms), bool)
    for place, term in enumerate(terms.tolist()):
        span = slice(examples.offsets[term], examples.offsets[term + 1])
        if span.start < span.stop:
            features = examples.features[span].astype(np.float32)
            total = scores[span] + preferences.score(features, examples.domains[span].tolist())
            result[place] = examples.is_target[span][total.argmax()]
    return result


def macro(values: np.ndarray, sets: np.ndarray) -> float:
    return float(np.mean([values[sets == name].mean() for name in np.unique(sets)]))


def interval(values: np.ndarray, sets: np.ndarray, draws: int = 2000) -> tuple[float, float]:
    """95 % of the macro average under bootstrap of terms within their sets."""
    random = np.random.default_rng(1)
    means = []
    for name in np.unique(sets):
        own = values[sets == name]
        means.append(own[random.integers(0, len(own), (draws, len(own)))].mean(axis=1))
    low, high = np.quantile(np.mean(means, axis=0), (0.025, 0.975))
    return float(low), float(high)


def print_line(name: str, values: np.ndarray, shipped: np.ndarray, sets: np.ndarray, who: np.ndarray) -> None:
    low, high = interval(values - shipped, sets)
    families = {f: round(macro(values[who == f], sets[who == f]), 3) for f in FAMILIES if (who == f).any()}
    gain = macro(values - shipped, sets)
    print(f"{name}: {macro(values, sets):.3f} ({gain:+.3f}, {low:+.3f} to {high:+.3f})", families, flush=True)


def main(base: Path, memory: Path, gold: Path, draws: int) -> None:
    terms = read_for_shipping(gold)
    examples = load_table(base, terms)
    third, core, family = folds_of(terms) == 0, is_scored(terms), np.array([one.family for one in terms])
    models = fit_by_family(terms, examples)
    scores = shipped_scores(examples, score_by_family(terms, examples, models))
    tested = np.flatnonzero(core & third)
    sets, who = np.array([terms[number].set_name for number in tested]), family[tested]
    nothing = learn_preferences([])
    shipped = hits(examples, scores, tested, nothing).astype(float)

    def learned(own: Examples, base_scores: np.ndarray, count: int, draw: int) -> dict[str, SitePreferences]:
        result = {}
        for name in FAMILIES:
            known = np.flatnonzero((family == name) & ~third & examples.findable)
            drawn = np.random.default_rng(draw).permutation(known)[:count].tolist()
            result[name] = learn_preferences([example_of(own, base_scores, number) for number in drawn])
        return result

    def first(own: Examples, own_scores: np.ndarray, of_family: dict[str, SitePreferences]) -> np.ndarray:
        found = np.zeros(len(tested))
        for name, preferences in of_family.items():
            rows = np.flatnonzero(who == name)
            found[rows] = hits(own, own_scores, tested[rows], preferences)
        return found

    def mean_of(counts: Sequence[int]) -> None:
        for count in counts:
            runs = draws if 0 < count < max(counts) else 1
            values = [first(examples, scores, learned(examples, scores, count, draw)) for draw in range(runs)]
            print_line(f"{count} approvals", np.mean(values, axis=0), shipped, sets, who)

    mean_of(APPROVALS)
    with_memory = load_table(memory, terms)
    memory_models = fit_memory_by_family(terms, with_memory, models, third)
    remembered = score_by_family(terms, with_memory, memory_models)
    remembered = add_approved_bonus(shipped_scores(with_memory, remembered), with_memory.features)
    alone = first(with_memory, remembered, dict.fromkeys(FAMILIES, nothing))
    both = first(with_memory, remembered, learned(examples, scores, 400, 0))
    print_line("all approvals, memory alone", alone, shipped, sets, who)
    print_line("all approvals, memory and preferences", both, shipped, sets, who)
    codes = family_codes(terms)
    for name in np.unique(sets):
        own = sets == name
        changes = [f"{int((values - shipped)[own].sum()):+d}" for values in (alone, both)]
        print(f"  {name} ({int(own.sum())} terms, family {codes[tested][own][0]}): {' / '.join(changes)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("memory", type=Path)
    parser.add_argument("gold", type=Path)
    parser.add_argument("--draws", type=int, default=3)
    given = parser.parse_args()
    main(given.base, given.memory, given.gold, given.draws)
