"""What a site's first approvals are worth: recall@1 after 0 to 1,000 of them, family by family.

usage: learning_curve.py DATA_FOLDER BASE.npz MEMORY.npz CACHE_FOLDER [--draws N] [--choose]

The tables are made by tables.py, the second with --memory-without-fold 0; those of a memory of so many
approvals are made in CACHE_FOLDER once. A third of each family is scored; its approvals are drawn from the
other two thirds, and are what it remembers and what its preferences are learned from. The shipped part and
the weights of the memory learned from other families alone, these with whole memories. Intervals are of
2,000 bootstrap draws of terms within their sets. --choose leaves out the terms that no choice is made by.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from gold import FAMILIES, is_aside, read_for_shipping
from tables import folds_of, load_table, make_table, read_world
from train_default import fit_by_family, fit_memory_by_family, is_scored, score_by_family

from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.ranking.preference_columns import preference_columns
from omop_emb.mapping.ranking.ranker import add_approved_bonus
from omop_emb.mapping.ranking.site_preferences import (
    NO_PREFERENCES,
    PreferenceExample,
    SitePreferences,
    learn_preferences,
)
from omop_emb.mapping.ranking.stated_strength import prefer_stated_strength

APPROVALS = (0, 10, 25, 50, 100, 250, 1000)
CANDIDATES = 60
MAX_LEARNED = 400  # as the engine


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


def of_family(
    family: np.ndarray, third: np.ndarray, examples: Examples, name: str, count: int, draw: int
) -> np.ndarray:
    """Numbers of the first so many approvals of a family, in random order."""
    known = np.flatnonzero((family == name) & ~third & examples.findable)
    return np.random.default_rng(draw).permutation(known)[:count]


def table_paths(
    data: Path, cache: Path, approved: dict[tuple[int, int], np.ndarray], scored: np.ndarray
) -> dict[tuple[int, int], Path]:
    """By number of approvals and draw, the table of the scored terms with these terms remembered."""
    paths = {(count, draw): cache / f"approvals-{count}-{draw}.npz" for count, draw in approved}
    missing = {key: path for key, path in paths.items() if not path.exists()}
    if missing:
        terms, world = read_for_shipping(data / "gold"), read_world(data)
        for key, path in missing.items():
            make_table(world, terms, path, 0, approved=approved[key], written=scored)
    return paths


def main(data: Path, base: Path, memory: Path, cache: Path, draws: int, *, choose: bool) -> None:
    terms = read_for_shipping(data / "gold")
    examples = load_table(base, terms)
    third, core, family = folds_of(terms) == 0, is_scored(terms), np.array([one.family for one in terms])
    models = fit_by_family(terms, examples)
    scores = shipped_scores(examples, score_by_family(terms, examples, models))
    memory_models = fit_memory_by_family(terms, load_table(memory, terms), models, third)
    scored = np.flatnonzero(core & third)
    own_terms = [terms[number] for number in scored]
    chosen = np.flatnonzero([not (choose and is_aside(term)) for term in own_terms])
    sets, who = np.array([term.set_name for term in own_terms]), family[scored]
    shipped = np.zeros(len(scored))  # until the table without approvals, the first, is read

    draws_of = {count: draws if 0 < count < max(APPROVALS) else 1 for count in APPROVALS}
    approved = {
        (count, draw): np.sort(
            np.concatenate([of_family(family, third, examples, name, count, draw) for name in FAMILIES])
        )
        for count in APPROVALS
        for draw in range(draws_of[count])
    }
    paths = table_paths(data, cache, approved, scored)

    def first(own: Examples, own_scores: np.ndarray, of: dict[str, SitePreferences]) -> np.ndarray:
        found = np.zeros(len(scored))
        numbers = np.arange(len(scored))
        for name, preferences in of.items():
            rows = numbers[who == name]
            found[rows] = hits(own, own_scores, rows, preferences)
        return found

    for count in APPROVALS:
        values: dict[str, list[np.ndarray]] = {}
        for draw in range(draws_of[count]):
            own = load_table(paths[count, draw], own_terms)
            learned = {}
            for name in FAMILIES:
                drawn = of_family(family, third, examples, name, count, draw)[:MAX_LEARNED]
                learned[name] = learn_preferences([example_of(examples, scores, n) for n in drawn.tolist()])
            nothing = dict.fromkeys(FAMILIES, NO_PREFERENCES)
            plain = score_by_family(own_terms, own, models)
            plain = np.where(own.memory_only, -np.inf, shipped_scores(own, plain)).astype(np.float32)
            with_memory = add_approved_bonus(score_by_family(own_terms, own, memory_models), own.features)
            with_memory = shipped_scores(own, with_memory)
            values.setdefault("preferences", []).append(first(own, plain, learned))
            values.setdefault("memory", []).append(first(own, with_memory, nothing))
            values.setdefault("both", []).append(first(own, with_memory, learned))
        if not count:
            shipped = values["preferences"][0]
        for what, runs in values.items():
            mean = np.mean(runs, axis=0)[chosen]
            print_line(f"{count} approvals, {what}", mean, shipped[chosen], sets[chosen], who[chosen])
        changes = {what: np.mean(runs, axis=0) - shipped for what, runs in values.items()}
        for name in np.unique(sets):
            own_set = sets == name
            lost = {what: round(float(change[own_set].sum()), 1) for what, change in changes.items()}
            if min(lost.values()) < 0:
                print(f"  {name} ({int(own_set.sum())} terms): {lost}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for argument in ("data", "base", "memory", "cache"):
        parser.add_argument(argument, type=Path)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--choose", action="store_true")
    given = parser.parse_args()
    main(given.data, given.base, given.memory, given.cache, given.draws, choose=given.choose)
