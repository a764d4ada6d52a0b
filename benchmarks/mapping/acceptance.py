"""Acceptance: whether what a site accepts is right as often as promised, for every source and domain.

usage: acceptance.py DATA_FOLDER TABLE.npz [--terms 200] [--precision 0.95] [--trees] [--sets WORD]

DATA_FOLDER is described in tables.py; TABLE.npz is made if it does not exist. Each family of sources is a
site that remembers all its approvals but the one of the term that is mapped, and learns its thresholds from
other terms: under the shipped ranker, or under its own trees. A source or domain falls short if even the
upper end of its exact 95 % interval (Clopper and Pearson) is below the precision. Then the exit code is 1.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from gold import GoldTerm, read
from scipy.special import betaincinv
from tables import load_table, make_table, read_world

from omop_emb.mapping.evaluation.metrics import PRECISIONS
from omop_emb.mapping.ranking import trees
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.ranking.linear import default_ranker
from omop_emb.mapping.ranking.ranker import add_approved_bonus
from omop_emb.mapping.training.cross_validation import accept_out_of_sample, score_out_of_sample, term_folds
from omop_emb.mapping.training.site_examples import MIN_TERMS, with_shipped_scores


def interval(right: int, count: int) -> tuple[float, float]:
    """The exact two-sided 95 % interval of a proportion."""
    low = float(betaincinv(right, count - right + 1, 0.025)) if right else 0.0
    high = float(betaincinv(right + 1, count - right, 0.975)) if right < count else 1.0
    return low, high


def accepted_terms(examples: Examples, precision: float, *, use_trees: bool) -> tuple[np.ndarray, ...]:
    """(accepted, correct, domain) of each term of a site, by what was learned from other terms."""
    fold = term_folds(len(examples))
    scores = add_approved_bonus(examples.shipped_scores, examples.features)
    if use_trees:
        scores = score_out_of_sample(examples, fold, lambda part: trees.train_trees(part).score_examples)
    first = examples.first_candidates(scores)
    accepted = accept_out_of_sample(first, fold, isotonic=True)[precision]
    return accepted, first.correct, first.domains


def print_line(name: str, accepted: np.ndarray, correct: np.ndarray, precision: float) -> bool:
    """Print what was accepted; whether it falls short."""
    count, right = int(accepted.sum()), int(correct[accepted].sum())
    low, high = interval(right, count)
    verdict = "  FALLS SHORT" if high < precision else ""
    print(f"{name:42} {count:6} of {len(accepted):6}  {right / count:.3f} [{low:.3f}, {high:.3f}]{verdict}")
    return high < precision


def main(terms: list[GoldTerm], table: Path, precision: float, *, use_trees: bool) -> int:
    examples = with_shipped_scores(load_table(table, terms), default_ranker())
    families = np.array([term.family for term in terms])
    accepted, correct = np.zeros(len(terms), bool), np.zeros(len(terms), bool)
    domains = np.full(len(terms), "", "U40")
    for family in np.unique(families):
        own = np.flatnonzero(families == family)
        if examples.findable[own].sum() >= MIN_TERMS:
            part = examples.take(own)
            accepted[own], correct[own], domains[own] = accepted_terms(part, precision, use_trees=use_trees)
    sources = np.array([term.set_name for term in terms])
    short = 0
    for title, groups in (
        ("all", np.full(len(terms), "all")),
        ("family", families),
        ("source", sources),
        ("domain", domains),
        ("family, domain", np.char.add(np.char.add(families, ", "), domains)),
        ("source, domain", np.char.add(np.char.add(sources, ", "), domains)),
    ):
        print(f"by {title}")
        for name in np.unique(groups[accepted]):
            own = groups == name
            short += print_line(f"  {name}", accepted[own], correct[own], precision)
    print(f"{short} fall short of {precision:g} by more than their sampling error")
    for number in np.flatnonzero(accepted & ~correct):
        print("  wrong:", sources[number], domains[number], repr(terms[number].name))
    return int(short > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--terms", type=int, default=200, help="at most so many findable ones of each source")
    parser.add_argument("--precision", type=float, default=0.95, choices=PRECISIONS)
    parser.add_argument("--trees", action="store_true")
    parser.add_argument("--sets", default="", help="only sources whose name contains this")
    options = parser.parse_args()
    gold = read(options.data / "gold", findable=options.terms, unfindable=options.terms // 5)
    gold = [replace(term, scored=True) for term in gold if options.sets in term.set_name]
    if not options.table.exists():
        make_table(read_world(options.data), gold, options.table, leave_one_out=True)
    raise SystemExit(main(gold, options.table, options.precision, use_trees=options.trees))
