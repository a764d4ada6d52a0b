"""Recall of one search: omop-emb search beside its vectors alone, and beside map without a domain column.

usage: OPENBLAS_NUM_THREADS=1 search_quality.py GOLD_FOLDER [--terms 32]

GOLD_FOLDER holds gold terms, see gold.py; the database is the one that omop-emb uses, with the gold terms'
vocabulary. At most so many findable terms of each core set are asked; means are over sets.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from gold import GoldTerm, read

from omop_emb import EmbeddingInterface, database_engine, map_terms
from omop_emb.database import session_scope
from omop_emb.service import ConceptFinder
from omop_emb.spaces.recipe import STANDARD_AND_VALID

_K = 10


def main() -> None:
    """Print recall@1 and @10 of the three ways, and how many answers of search and map are the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gold", type=Path)
    parser.add_argument("--terms", type=int, default=32)
    arguments = parser.parse_args()
    terms = [term for term in read(arguments.gold, findable=arguments.terms, unfindable=0) if term.scored]
    names = [term.name for term in terms]
    engine = database_engine()
    with ConceptFinder(engine) as finder:
        found = finder.find_all(names, k=_K)
        one_by_one = [finder.find(name, k=_K) for name in names]
    with session_scope(engine) as session:
        mapped = map_terms(session, names)
        nearest = EmbeddingInterface().get_nearest_concepts_from_query_texts(
            session=session, query_texts=names, k=_K, concept_filter=STANDARD_AND_VALID
        )
    answers = {
        "search": [[hit.concept.concept_id for hit in one.concepts] for one in found],
        "search, one by one": [[hit.concept.concept_id for hit in one.concepts] for one in one_by_one],
        "map without its domain column": [[c.concept_id for c in one.candidates] for one in mapped],
        "search --dense": [[match.concept_id for match in one] for one in nearest],
    }
    print(f"{len(names):,} terms of {len({term.set_name for term in terms})} sets")
    for name, ids in answers.items():
        print(f"{name:32} recall@1 {_recall(terms, ids, 1):.3f}  recall@{_K} {_recall(terms, ids, _K):.3f}")
    of_map = answers["map without its domain column"]
    for name in ("search", "search, one by one"):
        same = sum(one == other for one, other in zip(answers[name], of_map, strict=True))
        print(f"{name}: {same:,} of {len(names):,} answers equal map's, all {_K} concepts in their order")


def _recall(terms: list[GoldTerm], answers: list[list[int]], k: int) -> float:
    """The share of terms with a target among the first k, as a mean over sets."""
    hits: dict[str, list[bool]] = defaultdict(list)
    for term, ids in zip(terms, answers, strict=True):
        hits[term.set_name].append(not term.targets.isdisjoint(ids[:k]))
    return float(np.mean([np.mean(of_set) for of_set in hits.values()]))


if __name__ == "__main__":
    main()
