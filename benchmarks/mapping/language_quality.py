"""Recall on terms in their own language: alone, with further spaces, and on their English translations.

usage: OPENBLAS_NUM_THREADS=1 language_quality.py DATA_FOLDER --also-space multilingual [--terms 80]

DATA_FOLDER/gold holds gold terms, see language_terms.py, which also says how the database is made. At most so
many terms of each set are mapped; the terms of a language count together. Intervals of 95 % are from 1,000
resamples of its terms.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from language_terms import LANGUAGES, LanguageTerm, read_language_terms

from omop_emb import database_engine, map_terms
from omop_emb.database import session_scope
from omop_emb.mapping.records import SourceTerm

_CUTOFFS = (1, 10)
_RESAMPLES = 1000


def main() -> None:
    """Print recall@1 and @10 of every arm and language, and how much of English's the originals reach."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--also-space", action="append", required=True)
    parser.add_argument("--terms", type=int, default=80)
    arguments = parser.parse_args()
    terms = read_language_terms(arguments.data / "gold", per_set=arguments.terms)
    arms = {
        "original": ("original", ()),
        "original, further spaces": ("original", arguments.also_space),
        "English": ("english", ()),
        "English, further spaces": ("english", arguments.also_space),
    }
    ranks = {name: _ranks(terms, field, spaces) for name, (field, spaces) in arms.items()}
    languages = np.array([term.language for term in terms])
    for language in LANGUAGES.values():
        rows = np.flatnonzero(languages == language)
        print(f"{language}, {len(rows):,} terms")
        draws = np.random.default_rng(1).choice(rows, (_RESAMPLES, len(rows)))
        for name, of_arm in ranks.items():
            print(f"  {name:26}", *(_interval(of_arm, rows, draws, k) for k in _CUTOFFS))
        for name in ("original", "original, further spaces"):
            print(f"  {name} / English", *(_ratio(ranks[name], ranks["English"], draws, k) for k in _CUTOFFS))


def _ranks(terms: list[LanguageTerm], field: str, also_spaces: tuple[str, ...]) -> np.ndarray:
    """(n,) the rank of each term's first target among ten candidates; 0 without one."""
    with session_scope(database_engine()) as session:
        mapped = map_terms(
            session,
            [SourceTerm(name=getattr(term, field), domain=term.domain) for term in terms],
            also_spaces=also_spaces,
        )
    return np.array(
        [
            next((c.rank for c in result.candidates if c.concept_id in term.targets), 0)
            for term, result in zip(terms, mapped, strict=True)
        ]
    )


def _hits(ranks: np.ndarray, k: int) -> np.ndarray:
    return (ranks > 0) & (ranks <= k)


def _interval(ranks: np.ndarray, rows: np.ndarray, draws: np.ndarray, k: int) -> str:
    hits = _hits(ranks, k)
    low, high = np.percentile(hits[draws].mean(axis=1), [2.5, 97.5])
    return f"recall@{k} {hits[rows].mean():.3f} ({low:.3f} to {high:.3f})"


def _ratio(one: np.ndarray, other: np.ndarray, draws: np.ndarray, k: int) -> str:
    shares = [_hits(ranks, k)[draws].mean(axis=1) for ranks in (one, other)]
    ratios = shares[0] / np.maximum(shares[1], 1e-9)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return f"@{k} {np.median(ratios):.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
