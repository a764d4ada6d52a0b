"""Calibration per source: how far probabilities are off at each gold set, and after its first reviewed rows.

usage: source_calibration.py TABLE.npz GOLD_FOLDER FIRST.npz

TABLE.npz is made by tables.py. Rankers and calibrations never saw the family of the set
that they are measured on. What they say is kept in FIRST.npz, as learning takes ten minutes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from gold import read_for_shipping
from tables import load_table
from train_default import family_codes, fit_by_family, score_by_family

from omop_emb.mapping.ranking.calibration import SIGNALS, calibration_error
from omop_emb.mapping.ranking.prior_shift import PriorShift, fit_prior_shift
from omop_emb.mapping.training.cross_validation import calibrate_out_of_sample

REVIEWED = (0, 10, 25, 50, 100)
DRAWS = 40
BINS = 5  # few, as many terms of a set are needed in each
MIN_LEFT = 50  # terms that remain to be measured on


def learn(table: Path, gold: Path, first_path: Path) -> None:
    """What a ranker and a calibration that learned from other families say about each term's first."""
    terms = read_for_shipping(gold)
    examples = load_table(table, terms)
    scores = score_by_family(terms, examples, fit_by_family(terms, examples))
    first = examples.first_candidates(scores)
    _, probability = calibrate_out_of_sample(first, family_codes(terms), isotonic=False)
    np.savez(
        first_path,
        p=probability,
        correct=first.correct,
        sets=np.array([term.set_name for term in terms]),
        families=np.array([term.family for term in terms]),
        signals=first.signals,
        names=np.array([term.name for term in terms]),
        ranks=examples.target_ranks(scores),
        findable=examples.findable,
    )


def correct(shift: PriorShift, probability: np.ndarray) -> np.ndarray:
    return np.array([shift.correct(float(p)) for p in probability])


def measure(probability: np.ndarray, is_correct: np.ndarray, rows: int) -> tuple[float, float]:
    """Mean |mean probability - share correct| and calibration error of the terms not reviewed, over draws."""
    gaps, errors = [], []
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(len(probability))
        reviewed, rest = order[:rows], order[max(REVIEWED) :]
        shift = fit_prior_shift((probability[n], 1, int(is_correct[n])) for n in reviewed)
        said = correct(shift, probability[rest])
        gaps.append(abs(said.mean() - is_correct[rest].mean()))
        errors.append(calibration_error(said, is_correct[rest], BINS))
    return float(np.mean(gaps)), float(np.mean(errors))


def describe(first: np.lib.npyio.NpzFile) -> np.ndarray:
    """(n, 8) what a file shows before anybody reviews it: how well terms were found, and their spelling."""
    names, signals = first["names"], first["signals"]
    letters = [[sign for sign in name if sign.isalpha()] for name in names]
    spelling = [
        np.log2([1 + len(name) for name in names]),
        [sum(map(str.isdigit, name)) / max(1, len(name)) for name in names],
        [sum(not sign.isascii() for sign in own) / max(1, len(own)) for own in letters],
    ]
    shown = [SIGNALS.index(name) for name in ("margin", "dense", "lexical", "normalised equal")]
    return np.column_stack([first["p"], signals[:, shown], *spelling])


def print_drift(first: np.lib.npyio.NpzFile) -> None:
    """Whether what a set shows is unlike sets of other families, and whether that says that it is off."""
    rows = describe(first)
    names, counts = np.unique(first["sets"], return_counts=True)
    own = [first["sets"] == name for name in names[counts >= MIN_LEFT]]
    means = np.array([rows[part].mean(axis=0) for part in own])
    noise = np.array([rows[part].var(axis=0) / part.sum() for part in own])
    families = np.array([first["families"][part][0] for part in own])
    gaps = [abs(first["p"][part].mean() - first["correct"][part].mean()) for part in own]
    unlike = []
    for number, family in enumerate(families):
        others = means[families != family]
        spread = np.sqrt(others.var(axis=0, ddof=1) + noise[number])
        unlike.append(float((abs(means[number] - others.mean(axis=0)) / (spread + 1e-9)).max()))
    alarms = {limit: f"{np.mean(np.array(unlike) > limit):.3f}" for limit in (2, 3, 4)}
    print(f"{len(own)} sets; alarms by standard deviations {alarms}")
    print(f"correlation with the difference of means: {np.corrcoef(unlike, gaps)[0, 1]:.2f}")


def main(first_path: Path) -> None:
    first = np.load(first_path)
    print_drift(first)
    sets = [
        name
        for name, count in zip(*np.unique(first["sets"], return_counts=True), strict=True)
        if count >= max(REVIEWED) + MIN_LEFT
    ]
    gaps, errors = np.zeros((len(sets), len(REVIEWED))), np.zeros((len(sets), len(REVIEWED)))
    shifts = []
    for row, name in enumerate(sets):
        own = first["sets"] == name
        p, is_correct = first["p"][own], first["correct"][own]
        shifts.append(fit_prior_shift((one, 1, int(hit)) for one, hit in zip(p, is_correct, strict=True)))
        for column, rows in enumerate(REVIEWED):
            gaps[row, column], errors[row, column] = measure(p, is_correct, rows)
        print(f"{name:22}", len(p), np.round(gaps[row], 3), np.round(errors[row], 3), flush=True)
    print("reviewed rows", REVIEWED, "sets", len(sets))
    for what, values in (("gap", gaps), ("error", errors)):
        print(f"{what}: mean", np.round(values.mean(axis=0), 3), "worst", np.round(values.max(axis=0), 3))
        print(f"{what}: sets that are worse than without", (values > values[:, :1] + 0.01).sum(axis=0))
    print(f"spread of the shift between sets: {np.std([shift.log_odds for shift in shifts]):.2f} log-odds")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("gold", type=Path)
    parser.add_argument("first", type=Path)
    options = parser.parse_args()
    if not options.first.exists():
        learn(options.table, options.gold, options.first)
    main(options.first)
