"""Site examples: the candidates of a site's approved terms, as a ranker learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from omop_emb.errors import InputError
from omop_emb.mapping.engine import Engine
from omop_emb.mapping.evaluation.gold import ResolvedTerm
from omop_emb.mapping.evaluation.leakage import rank_without_leakage
from omop_emb.mapping.ranking.calibration import equal_text
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.ranking.linear import LinearRanker
from omop_emb.mapping.settings import Settings

MIN_TERMS = 100
"""With fewer approved terms that have a match, a ranker can be neither trained nor tested."""

MAX_TERMS = 10_000
"""More are sampled: training on this many takes 2 to 3 GB, and more terms gained nothing."""

_BLOCK_ROWS = 100_000


def sample_terms(terms: Sequence[ResolvedTerm]) -> Sequence[ResolvedTerm]:
    """The terms to learn from: all, or MAX_TERMS of them at random."""
    matched = sum(bool(rows) for _, rows in terms)
    if matched < MIN_TERMS:
        raise InputError(
            f"{matched} approved terms have a standard concept in this vocabulary; at least {MIN_TERMS} "
            "are needed to train and test a ranker"
        )
    if len(terms) <= MAX_TERMS:
        return terms
    drawn = np.random.default_rng(1).choice(len(terms), MAX_TERMS, replace=False)
    return [terms[number] for number in sorted(drawn.tolist())]


def build_examples(engine: Engine, terms: Sequence[ResolvedTerm], shipped: LinearRanker) -> Examples:
    """The candidates of terms, found without a term's own source and approval, with the shipped scores."""
    domains = np.array(engine.lexicon.domains)
    parts: list[dict[str, npt.NDArray[Any]]] = []
    for batch, ranked in rank_without_leakage(engine, terms, Settings()):
        candidates, scored = ranked.candidates, ranked.scored
        offsets = candidates.offsets
        is_target = [
            np.isin(candidates.concept[offsets[number] : offsets[number + 1]], list(rows))
            for number, (_, rows) in enumerate(batch)
        ]
        parts.append(
            {
                "features": scored.features.astype(np.float16),
                "domains": domains[engine.lexicon.domain[candidates.concept]],
                "offsets": np.diff(offsets),
                "is_target": np.concatenate(is_target),
                "sources": np.array([gold.source for gold, _ in batch]),
                "dense": scored.dense,
                "lexical": scored.lexical,
                "equal_text": equal_text(scored.features),
                "memory_only": candidates.found_only_by("memory"),
                "findable": np.array([bool(rows) for _, rows in batch]),
                "shipped_scores": np.zeros(len(candidates.concept), np.float32),
                "concept_ids": engine.lexicon.concept_id[candidates.concept],
            }
        )
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns["offsets"] = np.concatenate([[0], np.cumsum(columns["offsets"])]).astype(np.int64)
    return with_shipped_scores(Examples(**columns), shipped)


def with_shipped_scores(examples: Examples, shipped: LinearRanker) -> Examples:
    """The examples with the scores of the shipped ranker, without its bonus for approved names."""
    scores = [
        shipped.weigh(
            examples.features[start : start + _BLOCK_ROWS].astype(np.float32),
            examples.domains[start : start + _BLOCK_ROWS].tolist(),
        )
        for start in range(0, len(examples.features), _BLOCK_ROWS)
    ]
    return replace(examples, shipped_scores=np.concatenate(scores) if scores else examples.shipped_scores)
