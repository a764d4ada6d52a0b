"""Lexical index: against brute force over all texts, in every domain."""

from __future__ import annotations

import csv
from functools import cache

import numpy as np
import pandas as pd
import pytest

from omop_emb.mapping.retrieval import lexical_index
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.lexicon import build_lexicon
from omop_emb.mapping.retrieval.tfidf import WordWeights
from omop_emb.mapping.terms.words import normalise
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
    return LexicalIndex(build_lexicon(rows, synonym, relationship))


@pytest.mark.parametrize("sparse", [0, 1_000_000])
@pytest.mark.parametrize("k", [3, 40])
def test_the_best_texts_are_those_of_brute_force_in_every_domain(
    k: int, sparse: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lexical_index, "SPARSE", sparse)
    made = index()
    queries = made.encode([normalise(term) for term in TERMS])
    most = np.array([k, k, k, 1, k])
    query, text = made.search(queries, DOMAINS, most)
    cosine = (queries @ made.text_grams.rows(np.arange(len(made.lexicon.texts))).T).toarray()
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


@pytest.mark.parametrize("sparse", [0, 1_000_000])
def test_a_filter_is_applied_inside_the_search(sparse: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexical_index, "SPARSE", sparse)
    made = index()
    queries = made.encode([normalise(TERMS[0])])
    _, every = made.search(queries, [None], 100_000)
    passing = np.arange(len(made.lexicon.concept_id)) % 7 == 0
    _, text = made.search(queries, [None], 5, passing)
    assert text.tolist() == every[passing[made.lexicon.text_concept[every]]][:5].tolist()


def test_common_grams_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    made = index()
    monkeypatch.setattr(lexical_index, "MAX_POSTINGS", 0)
    asked = lexical_index.rarest_grams(
        made.encode(["osteoarthrosis of knee"]), np.diff(made.text_grams.counts.tocsc().indptr)
    )
    assert asked.nnz == lexical_index.MIN_GRAMS


def test_the_weight_of_a_text_is_the_same_in_every_process() -> None:
    words = [f"w{number}" for number in range(300)]
    weights, _ = WordWeights.fit([" ".join(words[:size]) for size in range(1, 300)])
    expected = np.float32(0)
    for word in words[:-1]:
        expected += weights.idf[weights.column[word]]
    expected += np.float32(weights.unseen_idf)  # of the last word, which no text has
    _, total = weights.encode([" ".join(words)])
    assert total[0] == expected
