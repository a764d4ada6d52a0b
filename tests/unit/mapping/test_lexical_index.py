"""Lexical retrieval in bulk: against brute force over all texts, whatever the domains."""

from __future__ import annotations

import csv
from functools import cache

import numpy as np
import pandas as pd
import pytest

from omop_emb.mapping.retrieval import lexical_index
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex, largest
from omop_emb.mapping.retrieval.lexicon import build
from omop_emb.mapping.terms.words import normal
from omop_emb.service import demo

TERMS = ("osteoarthrosis of knee", "ASPIRIN 81 MG TABLET", "fractur of arm", "sinusitis", "zzz qqq")
DOMAINS = (None, ("Drug",), ("Condition", "Procedure"), ("Condition",), ("Nothing",))


@cache
def index() -> LexicalIndex:
    with (demo.SAMPLE / "CONCEPT.csv").open(encoding="utf-8-sig", newline="") as lines:
        rows = pd.DataFrame(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    rows["concept_id"] = rows["concept_id"].astype(int)
    synonym = pd.DataFrame({"concept_id": [], "concept_synonym_name": []})
    relationship = pd.DataFrame({"concept_id_1": [], "concept_id_2": [], "relationship_id": []})
    return LexicalIndex(build(rows, synonym, relationship))


@pytest.mark.parametrize("k", [3, 40])
def test_the_best_texts_are_those_of_brute_force_in_every_domain(k: int) -> None:
    made = index()
    queries = made.encode([normal(term) for term in TERMS])
    most = np.array([k, k, k, 1, k])
    query, text = made.search(queries, DOMAINS, most)
    cosine = (queries @ made.gram_rows.T).toarray()
    lexicon = made.lexicon
    domain = np.array(lexicon.domains)[lexicon.domain[lexicon.text_concept]]
    for place, limits in enumerate(DOMAINS):
        allowed = cosine[place] > 0
        if limits is not None:
            allowed &= np.isin(domain, limits)
        rows = np.flatnonzero(allowed)
        best = rows[np.lexsort((rows, -cosine[place][rows]))][: most[place]]
        found = text[query == place]
        assert len(found) == len(best)
        np.testing.assert_allclose(cosine[place][found], cosine[place][best], atol=1e-6)


def test_common_grams_choose_no_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    made = index()
    monkeypatch.setattr(lexical_index, "MOST_POSTINGS", 0)
    asked = lexical_index.rarest(
        made.encode(["osteoarthrosis of knee"]), np.diff(made.gram_rows.tocsc().indptr)
    )
    assert asked.nnz == lexical_index.LEAST_GRAMS


@pytest.mark.parametrize("size", [0, 5, 100, 5_000])
@pytest.mark.parametrize("distinct", [1, 7, 100_000])
def test_the_largest_scores_are_those_of_a_sort_with_ties_by_place(size: int, distinct: int) -> None:
    random = np.random.default_rng(size + distinct)
    scores = random.integers(0, distinct + 1, size).astype(np.float32)
    for k in (1, 2, 3, 10):
        places, values = largest(scores, k)
        expected = [place for place in np.lexsort((np.arange(size), -scores)) if scores[place] > 0][:k]
        assert places.tolist() == expected
        assert values.tolist() == scores[expected].tolist()
