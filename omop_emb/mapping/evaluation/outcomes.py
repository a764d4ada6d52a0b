"""Term outcomes: where each retriever and the ranker put the chosen concepts of gold terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from omop_emb.mapping.engine import Engine
from omop_emb.mapping.evaluation.gold import GoldTerm, ResolvedTerm, resolve_targets
from omop_emb.mapping.evaluation.leakage import rank_without_leakage
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.features.further_features import standardised_cosines
from omop_emb.mapping.ranking.examples import target_rank
from omop_emb.mapping.results import RankedBatch
from omop_emb.mapping.settings import Settings
from omop_emb.mapping.terms.words import normalise

RANKINGS = ("exact", "dense", "further spaces", "lexical", "memory", "fusion", "ranker")
"""What is measured: each retriever alone, their weighted sum, and the ranker over the union."""

_JOINT, _SAME_UNIT = NAMES.index("joint score"), NAMES.index("same unit")


@dataclass(frozen=True, kw_only=True)
class TermOutcome:
    """The outcome of one gold term."""

    gold: GoldTerm
    findable: bool  # whether a chosen concept is a standard concept here; if not, "no match" is correct
    trivial: bool  # whether the term equals a name of a chosen concept
    domain: str  # of the chosen concept; without one the term's own, or ""
    ranks: dict[str, int]  # rank of the first chosen concept by each of RANKINGS, 0 if it is not found
    probability: float | None  # that the first candidate is correct; None without calibration
    first: tuple[int, str, str] | None  # (concept id, name, domain) of the first candidate; None without one
    expected: tuple[str, ...]  # names of the chosen concepts

    @property
    def correct(self) -> bool:
        """Whether the first candidate is a chosen concept."""
        return self.ranks["ranker"] == 1

    def to_json(self) -> dict[str, Any]:
        """JSON values for readers and for later comparisons."""
        return {
            "source": self.gold.source,
            "code": self.gold.term.code,
            "name": self.gold.term.name,
            "domain": self.domain,
            "findable": self.findable,
            "trivial": self.trivial,
            "ranks": self.ranks,
            "probability": self.probability,
            "first": list(self.first) if self.first else None,
            "expected": list(self.expected),
            "targets": sorted(self.gold.targets),
        }


def evaluate_terms(
    engine: Engine, terms: Sequence[GoldTerm], settings: Settings | None = None
) -> list[TermOutcome]:
    """The outcomes of gold terms in their order, without those that resolve_targets() leaves out.

    No term is found by its own source concept or its own approval; the engine's ranker must not have
    learned from these terms.
    """
    resolved = resolve_targets(engine.lexicon, terms)
    return [
        _outcome(engine, ranked, number, term)
        for batch, ranked in rank_without_leakage(engine, resolved, settings or Settings())
        for number, term in enumerate(batch)
    ]


def _outcome(engine: Engine, ranked: RankedBatch, number: int, term: ResolvedTerm) -> TermOutcome:
    """The outcome of the term whose query has that number in the batch."""
    gold, rows = term
    lexicon, candidates, scored = engine.lexicon, ranked.candidates, ranked.scored
    span = candidates.span(number)
    concepts, features = candidates.concept[span], scored.features[span]
    found_by = {name: mask[span] for name, mask in candidates.found_by.items()}
    is_target = np.isin(concepts, list(rows))
    scores = {
        "exact": (found_by["exact"] | found_by["unit"], features[:, _JOINT]),
        "dense": (found_by["dense"], scored.dense[span]),
        "further spaces": (found_by["further"], standardised_cosines(features).sum(axis=1)),
        "lexical": (found_by["lexical"], scored.lexical[span]),
        "memory": (found_by["memory"], scored.approved_similarity[span]),
        "fusion": (np.ones(len(concepts), bool), features[:, _JOINT] + 0.3 * features[:, _SAME_UNIT]),
    }
    ranks = {}
    for name, (found, score) in scores.items():
        ranks[name] = target_rank(score[found], is_target[found])
    order = ranked.order[number]
    hits = np.flatnonzero(is_target[order - span.start])
    ranks["ranker"] = int(hits[0]) + 1 if len(hits) else 0
    first = None
    if len(order):
        row = int(candidates.concept[order[0]])
        first = (int(lexicon.concept_id[row]), lexicon.names[row], lexicon.domains[lexicon.domain[row]])
    targets = sorted(rows)
    name = normalise(gold.term.name)
    return TermOutcome(
        gold=gold,
        findable=bool(rows),
        trivial=any(name == normalise(text) for row in targets for text in _own_texts(engine, row)),
        domain=lexicon.domains[lexicon.domain[targets[0]]] if targets else gold.term.domain or "",
        ranks=ranks,
        probability=None if ranked.probability is None else float(ranked.probability[number]),
        first=first,
        expected=tuple(lexicon.names[row] for row in targets),
    )


def _own_texts(engine: Engine, row: int) -> list[str]:
    """A concept's name and synonyms, without names of non-standard concepts that map to it."""
    lexicon = engine.lexicon
    return [lexicon.texts[text] for text in lexicon.text_rows(row) if lexicon.text_kind[text] < 2]
