"""All tables of docs/concepts/mapping-quality.md: retrievers, rankers, memory, thresholds, ablation.

usage: quality.py DATA_FOLDER CACHE_FOLDER [--folds 0,1,2] [--parts shipped,ablation,own,memory]

DATA_FOLDER is described in tables.py; tables of features are made in CACHE_FOLDER once (1 GB each). At most
200 findable terms of each core set are scored, and means are over sets; five times as many may be learned
from.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from gold import GoldTerm, read
from linear_training import fit_linear
from tables import folds_of, load_table, make_table, read_world
from train_default import (
    family_codes,
    fit_by_family,
    fit_memory_by_family,
    is_scored,
    macro_average,
    print_quality,
    score_by_family,
)

from omop_emb.mapping.features import contrast_features
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.ranking import trees
from omop_emb.mapping.ranking.calibration import calibration_error
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.training.cross_validation import (
    accept_out_of_sample,
    calibrate_out_of_sample,
    score_out_of_sample,
)

GROUPS = {
    "analytes": lambda name: name in ("analyte in the term", "term is the analyte"),
    "24 hours": lambda name: name.startswith("24 hours"),
    "specimen by default": lambda name: name.startswith(("serum or plasma", "blood by")),
    "age of the concept": lambda name: name in ("oldest concepts", "early concept", "early LOINC"),
    "variants of the term": lambda name: name.endswith((" rewritten", " part")),
    "shared words": lambda name: "words found" in name,
    "normalised equal": lambda name: name.startswith(("normalised equal", "exact equal", "found by exact")),
    "kind of text": lambda name: name.startswith("matched "),
    "ranks": lambda name: name.endswith(" rank") or name == "found by dense and lexical",
    "joint score, squares": lambda name: name in ("joint score", "dense squared", "lexical squared"),
    "numbers, lengths": lambda name: name.startswith(("numbers of", "concept longer", "concept shorter")),
    "drugs": lambda name: FIRST_DRUG <= NAMES.index(name) < FIRST_AXIS,
    "LOINC properties": lambda name: name.startswith("property ") or name in LOINC,
    "contrasts": lambda name: name.endswith(CONTRASTS) and name in contrast_features.FEATURES,
    "units": lambda name: name.startswith("same unit"),
    "vocabulary, domain": lambda name: name.startswith(("vocabulary ", "domain ")),
    "non-standard sources": lambda name: name == "non-standard sources",
}
FIRST_DRUG, FIRST_AXIS = NAMES.index("strengths agree"), NAMES.index("property Mass/volume")
LOINC = ("method not in the term", "timing stated")
CONTRASTS = ("differs", "only in the concept", "only in the term", "agrees")


def print_retrievers(terms: list[GoldTerm], examples: Examples, core: np.ndarray) -> None:
    features = examples.features.astype(np.float32)
    column = {name: features[:, number] for number, name in enumerate(NAMES)}
    best = {
        kind: np.max([column[f"{kind} {group}"] for group in ("original", "rewritten", "part")], axis=0)
        for kind in ("dense", "lexical")
    }
    for name, scores in (
        ("dense alone", column["dense original"]),
        ("character 3-grams alone", column["lexical original"]),
        ("weighted sum, .6 dense", 0.6 * column["dense original"] + 0.4 * column["lexical original"]),
        ("best over all variants of the term", 0.6 * best["dense"] + 0.4 * best["lexical"]),
        ("with the key of units", column["joint score"] + 0.3 * column["same unit"]),
        ("any candidate", examples.is_target.astype(np.float32)),
    ):
        print(name, macro_average(terms, examples.target_ranks(scores), core), flush=True)


def recall_by_set(terms: list[GoldTerm], ranks: np.ndarray, k: int) -> np.ndarray:
    names = np.array([term.set_name for term in terms])
    hit = (ranks > 0) & (ranks <= k)
    return np.array([hit[names == name].mean() for name in np.unique(names)])


def print_ablation(terms: list[GoldTerm], examples: Examples) -> None:
    """The shipped ranker trained without one group of features; half of the families are left out.

    Differences from all features are means over sets, ± one standard error over the sets.
    """
    fold = np.array([term.family in ("finomop", "mimic", "ariadne", "abucasis") for term in terms], np.int64)
    complete: dict[int, np.ndarray] = {}
    for name, belongs in {"all": lambda _: False, **GROUPS}.items():
        dropped = [number for number, feature in enumerate(NAMES) if belongs(feature)]
        features = examples.features.copy()
        features[:, dropped] = 0
        part = replace(examples, features=features)
        scores = score_out_of_sample(part, fold, lambda some: fit_linear(some, iterations=30).score_examples)
        ranks = part.target_ranks(scores)
        line = []
        for k in (1, 10):
            recall = recall_by_set(terms, ranks, k)
            change = recall - complete.setdefault(k, recall)
            error = change.std() / len(change) ** 0.5
            line.append(f"recall@{k} {recall.mean():.3f} ({change.mean():+.3f} ± {error:.3f})")
        print(f"without {name} ({len(dropped)}):" if dropped else "all:", ", ".join(line), flush=True)


def print_own_ranker(terms: list[GoldTerm], tables: Iterable[Examples], folds: list[int], what: str) -> None:
    """Each family's trees on the terms of each fold, learned from its other folds alone.

    The tables are of what each of the folds may see.
    """
    fold, core, family = folds_of(terms), is_scored(terms), family_codes(terms)
    ranks, sites = np.zeros(len(terms), np.int64), np.unique(family[core])
    parts: dict[int, list[tuple[Examples, np.ndarray]]] = {}
    for number, examples in zip(folds, tables, strict=True):
        for site in sites:
            inside = np.flatnonzero((family == site) & (fold == number))
            learned = examples.take(np.flatnonzero((family == site) & (fold != number)))
            part = examples.take(inside)
            scores = trees.train_trees(learned).score_examples(part)
            ranks[inside] = part.target_ranks(scores)
            scored = np.flatnonzero([terms[n].scored for n in inside])
            parts.setdefault(int(site), []).append((part.take(scored), scores[part.rows(scored)]))
        print_quality(f"own ranker, {what}, fold {number}", terms, ranks, core & (fold == number))
    print_quality(f"own ranker, {what}", terms, ranks, core & np.isin(fold, folds))
    print_thresholds(parts)


def print_thresholds(sites: dict[int, list[tuple[Examples, np.ndarray]]]) -> None:
    """Calibration at each site and what it accepts, out of sample, including terms without a match."""
    probabilities, correct, domains = [], [], []
    accepted: dict[float, list[np.ndarray]] = {}
    for parts in sites.values():
        examples = join([part for part, _ in parts])
        first = examples.first_candidates(np.concatenate([scores for _, scores in parts]))
        fold = np.arange(len(examples)) % 3
        probabilities.append(calibrate_out_of_sample(first, fold, isotonic=True)[1])
        correct.append(first.correct)
        domains.append(first.domains)
        for precision, mask in accept_out_of_sample(first, fold, isotonic=True).items():
            accepted.setdefault(precision, []).append(mask)
    is_correct, domain_of = np.concatenate(correct), np.concatenate(domains)
    error = calibration_error(np.concatenate(probabilities), is_correct)
    print(f"  calibration error of {len(is_correct):,} terms: {error:.3f}")
    for precision, masks in accepted.items():
        mask = np.concatenate(masks)
        share = is_correct[mask].mean() if mask.any() else 0
        print(f"  accepted at {precision}: {mask.mean():.3f} of the terms, {share:.3f} of them correct")
        for domain in np.unique(domain_of[mask]):
            own = mask & (domain_of == domain)
            print(f"    {domain}: {own.sum()} accepted, {is_correct[own].mean():.3f} correct", flush=True)


def join(parts: list[Examples]) -> Examples:
    """The terms of all parts, one after the other."""
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    columns = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Examples)
    }
    return Examples(**{**columns, "offsets": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)})


def table_path(data: Path, cache: Path, terms: list[GoldTerm], without_fold: int | None) -> Path:
    """A table of features, without a memory or with one that lacks a fold; made if it does not exist."""
    path = cache / ("base.npz" if without_fold is None else f"mem{without_fold}.npz")
    if not path.exists():
        make_table(read_world(data), terms, path, without_fold)
    return path


def main(data: Path, cache: Path, folds: list[int], parts: list[str]) -> None:
    started = time.time()
    terms = read(data / "gold", more=5)
    base, core = load_table(table_path(data, cache, terms, None), terms), is_scored(terms)
    if "ablation" in parts:
        scored = np.flatnonzero(core)
        print_ablation([terms[number] for number in scored], base.take(scored))
    if not {"shipped", "own", "memory"} & set(parts):
        return
    models = fit_by_family(terms, base)
    base = replace(base, shipped_scores=score_by_family(terms, base, models))
    if "shipped" in parts:
        print_retrievers(terms, base, core)
        ranks = base.target_ranks(base.shipped_scores)
        print_quality("shipped ranker, an unseen family", terms, ranks, core)
    if "own" in parts:
        print_own_ranker(terms, [base] * len(folds), folds, "same sources")

    def with_memory(fold: int) -> Examples:
        table = load_table(table_path(data, cache, terms, fold), terms)
        memory_models = fit_memory_by_family(terms, table, models, folds_of(terms) == fold)
        return replace(table, shipped_scores=score_by_family(terms, table, memory_models))

    if "memory" in parts:
        print_own_ranker(terms, map(with_memory, folds), folds, "same sources, with memory")
    print(f"{time.time() - started:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--folds", default="0,1,2")
    parser.add_argument("--parts", default="shipped,ablation,own,memory")
    options = parser.parse_args()
    chosen_folds = [int(fold) for fold in options.folds.split(",")]
    main(options.data, options.cache, chosen_folds, options.parts.split(","))
