"""The whole quality table: retrievers, shipped ranker at unseen families, own rankers, memory, thresholds.

usage: quality.py DATA_FOLDER CACHE_FOLDER [--folds 0,1,2] [--parts shipped,ablation,own,memory]

DATA_FOLDER is what tables.py wants; tables of features are made in CACHE_FOLDER once (1 GB each). Core sets,
at most 200 findable terms of each are scored, mean over sets; up to five times as many may be learned from.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from gold import GoldTerm, read
from tables import load, make, term_folds, world
from train_default import by_others, families, macro, remembering, scored, show, without_family

from omop_emb.mapping.features.names import NAMES
from omop_emb.mapping.ranking import trees
from omop_emb.mapping.ranking.calibration import calibration_error
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.terms import contrasts
from omop_emb.mapping.training.cross_validation import accepted
from omop_emb.mapping.training.linear_training import calibrate, fit_linear, out_of_sample, ranks

GROUPS = {
    "analytes": lambda name: name in ("analyte in the term", "term is the analyte"),
    "24 hours": lambda name: name.startswith("24 hours"),
    "specimen by default": lambda name: name.startswith(("serum or plasma", "blood by")),
    "age of the concept": lambda name: name in ("oldest concepts", "early concept", "early LOINC"),
    "forms beside the term": lambda name: name.endswith((" rewritten", " part")),
    "shared words": lambda name: "words found" in name,
    "reads alike": lambda name: name.startswith(("reads alike", "same letters", "found by exact")),
    "kind of text": lambda name: name.startswith("matched "),
    "ranks": lambda name: name.endswith(" rank") or name == "found by dense and lexical",
    "joint score, squares": lambda name: name in ("joint score", "dense squared", "lexical squared"),
    "numbers, lengths": lambda name: name.startswith(("numbers of", "concept longer", "concept shorter")),
    "drugs": lambda name: FIRST_DRUG <= NAMES.index(name) < FIRST_AXIS,
    "LOINC properties": lambda name: name.startswith("property ") or name in LOINC,
    "contrasts": lambda name: name.endswith(CONTRASTS) and name.split()[0] in contrasts.groups(),
    "units": lambda name: name.startswith("same unit"),
    "vocabulary, domain": lambda name: name.startswith(("vocabulary ", "domain ")),
    "non-standard sources": lambda name: name == "non-standard sources",
}
FIRST_DRUG, FIRST_AXIS = NAMES.index("strengths agree"), NAMES.index("property Mass/volume")
LOINC = ("method not in the term", "timing stated")
CONTRASTS = ("differs", "only in the concept", "only in the term", "agrees")


def retrievers(terms: list[GoldTerm], examples: Examples, core: np.ndarray) -> None:
    features = examples.features.astype(np.float32)
    column = {name: features[:, place] for place, name in enumerate(NAMES)}
    best = {
        kind: np.max([column[f"{kind} {form}"] for form in ("original", "rewritten", "part")], axis=0)
        for kind in ("dense", "lexical")
    }
    for name, scores in (
        ("dense alone", column["dense original"]),
        ("character 3-grams alone", column["lexical original"]),
        ("weighted sum, .6 dense", 0.6 * column["dense original"] + 0.4 * column["lexical original"]),
        ("best over all forms of the term", 0.6 * best["dense"] + 0.4 * best["lexical"]),
        ("with the key of units", column["joint score"] + 0.3 * column["same unit"]),
        ("any candidate", examples.right.astype(np.float32)),
    ):
        print(name, macro(terms, ranks(examples, scores), core), flush=True)


def by_set(terms: list[GoldTerm], found: np.ndarray, k: int) -> np.ndarray:
    names = np.array([term.set_name for term in terms])
    hit = (found > 0) & (found <= k)
    return np.array([hit[names == name].mean() for name in np.unique(names)])


def ablation(terms: list[GoldTerm], examples: Examples) -> None:
    """The shipped ranker without a group of features, trained again; half of the families is left out.

    Differences to all features are means over sets, ± one standard error over the sets.
    """
    fold = np.array([term.family in ("finomop", "mimic", "ariadne", "abucasis") for term in terms], np.int64)
    whole: dict[int, np.ndarray] = {}
    for name, belongs in {"all": lambda _: False, **GROUPS}.items():
        dropped = [place for place, feature in enumerate(NAMES) if belongs(feature)]
        features = examples.features.copy()
        features[:, dropped] = 0
        part = replace(examples, features=features)
        found = ranks(part, out_of_sample(part, fold, lambda some: fit_linear(some, iterations=30).of))
        line = []
        for k in (1, 10):
            reached = by_set(terms, found, k)
            change = reached - whole.setdefault(k, reached)
            error = change.std() / len(change) ** 0.5
            line.append(f"recall@{k} {reached.mean():.3f} ({change.mean():+.3f} ± {error:.3f})")
        print(f"without {name} ({len(dropped)}):" if dropped else "all:", ", ".join(line), flush=True)


def own_ranker(terms: list[GoldTerm], tables: Iterable[Examples], chosen: list[int], what: str) -> None:
    """Each family's trees for the terms of each chosen fold, learned from its other folds alone.

    tables[n] is what fold n may see.
    """
    fold, core, family = term_folds(terms), scored(terms), families(terms)
    found, sites = np.zeros(len(terms), np.int64), np.unique(family[core])
    parts: dict[int, list[tuple[Examples, np.ndarray]]] = {}
    for number, examples in zip(chosen, tables, strict=True):
        for site in sites:
            inside = np.flatnonzero((family == site) & (fold == number))
            learned = examples.take(np.flatnonzero((family == site) & (fold != number)))
            booster = trees.Booster(trees.train_on(learned), trees.domains_of(learned))
            part = examples.take(inside)
            own = booster.of(part)
            found[inside] = ranks(part, own)
            kept = np.flatnonzero([terms[place].scored for place in inside])
            parts.setdefault(int(site), []).append((part.take(kept), own[part.rows(kept)]))
        show(f"own ranker, {what}, fold {number}", terms, found, core & (fold == number))
    show(f"own ranker, {what}", terms, found, core & np.isin(fold, chosen))
    thresholds(parts)


def thresholds(sites: dict[int, list[tuple[Examples, np.ndarray]]]) -> None:
    """Calibration at each site and what it accepts, out of sample, terms without a match among them."""
    chances, correct, taken = [], [], {}
    for parts in sites.values():
        part, own = joined([part for part, _ in parts]), np.concatenate([scores for _, scores in parts])
        folds = np.arange(len(part)) % 3
        calibrated = calibrate(part, own, folds, isotonic=True)
        chances.append(calibrated.probability)
        correct.append(calibrated.right)
        for precision, found in accepted(part, own, folds, isotonic=True).items():
            taken.setdefault(precision, []).append(found)
    right = np.concatenate(correct)
    error = calibration_error(np.concatenate(chances), right)
    print(f"  calibration error of {len(right):,} terms: {error:.3f}")
    for precision, found in taken.items():
        chosen, good, domains = (np.concatenate(column) for column in zip(*found, strict=True))
        share = good[chosen].mean() if chosen.any() else 0
        print(f"  accepted at {precision}: {chosen.mean():.3f} of the terms, {share:.3f} of them right")
        for domain in np.unique(domains[chosen]):
            inside = chosen & (domains == domain)
            print(f"    {domain}: {inside.sum()} accepted, {good[inside].mean():.3f} right", flush=True)


def joined(parts: list[Examples]) -> Examples:
    """The terms of all parts, one after the other."""
    sizes = np.concatenate([np.diff(part.first) for part in parts])
    columns = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Examples)
    }
    return Examples(**{**columns, "first": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)})


def table_of(data: Path, cache: Path, terms: list[GoldTerm], without_fold: int | None) -> Path:
    """A table of features, without a memory or with one that lacks a fold; made where it is not there."""
    path = cache / ("base.npz" if without_fold is None else f"mem{without_fold}.npz")
    if not path.exists():
        make(world(data), terms, path, without_fold)
    return path


def main(data: Path, cache: Path, chosen: list[int], parts: list[str]) -> None:
    started = time.time()
    terms = read(data / "gold", more=5)
    base, core = load(table_of(data, cache, terms, None), terms), scored(terms)
    if "ablation" in parts:
        kept = np.flatnonzero(core)
        ablation([terms[place] for place in kept], base.take(kept))
    if not {"shipped", "own", "memory"} & set(parts):
        return
    models = without_family(terms, base)
    base = replace(base, shipped=by_others(terms, base, models))
    if "shipped" in parts:
        retrievers(terms, base, core)
        show("shipped ranker, a family never seen", terms, ranks(base, base.shipped), core)
    if "own" in parts:
        own_ranker(terms, [base] * len(chosen), chosen, "same sources")

    def remembered(number: int) -> Examples:
        table = load(table_of(data, cache, terms, number), terms)
        known = remembering(terms, table, models, term_folds(terms) == number)
        return replace(table, shipped=by_others(terms, table, known))

    if "memory" in parts:
        own_ranker(terms, map(remembered, chosen), chosen, "same sources, with memory")
    print(f"{time.time() - started:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--folds", default="0,1,2")
    parser.add_argument("--parts", default="shipped,ablation,own,memory")
    asked = parser.parse_args()
    main(asked.data, asked.cache, [int(f) for f in asked.folds.split(",")], asked.parts.split(","))
