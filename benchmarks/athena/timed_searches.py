"""Timed searches, in a process of their own: warm, one term at a time, in all concepts and in a domain."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from omop_emb import ConceptFilter, ConceptMatch, EmbeddingInterface, database_engine
from omop_emb.service import ConceptFinder

_QUERIES, _K = 200, 10
_FILTERS = {
    name: ConceptFilter(domains=domains, standard_only=True, valid_only=True)
    for name, domains in (("all", None), ("domain", ("Condition",)))
}
_NEAR = 1e-6  # similarities closer than that are equal


def dense() -> None:
    """Print seconds of searches by vectors, and the share of the exact ten nearest that they find."""
    terms, interface, figures = _terms(), EmbeddingInterface(), {}
    with Session(database_engine()) as session:

        def nearest(texts: list[str], **given: Any) -> list[list[ConceptMatch]]:
            return interface.get_nearest_concepts_from_query_texts(
                session=session, query_texts=texts, k=_K, **given
            )

        for name, chosen in _FILTERS.items():
            search = partial(nearest, concept_filter=chosen)
            search(terms[-1:])
            found, times = _times(terms[:_QUERIES], lambda text, search=search: search([text])[0])
            exact = search(terms[:_QUERIES], exact=True)
            shares = [
                sum(hit.similarity >= best[-1].similarity - _NEAR for hit in hits) / len(best)
                for hits, best in zip(found, exact, strict=True)
            ]
            figures[name] = {**times, "recall": sum(shares) / len(shares)}
    print(json.dumps(figures))


def find() -> None:
    """Print seconds of the one search, and of its first answer."""
    terms, finder, figures = _terms(), ConceptFinder(database_engine()), {}
    began = time.perf_counter()
    finder.find(terms[0])
    figures["opened"] = {"seconds": time.perf_counter() - began}
    for name, chosen in _FILTERS.items():
        finder.find(terms[-1], concept_filter=chosen)
        search = partial(finder.find, concept_filter=chosen)
        _, figures[name] = _times(terms[1 : _QUERIES + 1], search)
    print(json.dumps(figures))


def _terms() -> list[str]:
    with open(sys.argv[1], encoding="utf-8", newline="") as file:
        return [row["name"] for row in csv.DictReader(file)]


def _times(texts: list[str], search: Callable[[str], Any]) -> tuple[list[Any], dict[str, float]]:
    answers, seconds = [], []
    for text in texts:
        began = time.perf_counter()
        answers.append(search(text))
        seconds.append(time.perf_counter() - began)
    seconds.sort()
    return answers, {"p50": seconds[len(seconds) // 2], "p95": seconds[len(seconds) * 95 // 100 - 1]}
