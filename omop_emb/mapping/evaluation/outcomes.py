"""Measuring a mapping on terms whose concepts are known: where each retriever and the ranker put them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from omop_emb.arrays import Floats, Mask
from omop_emb.mapping.engine import Engine
from omop_emb.mapping.evaluation.gold import GoldTerm, Targets
from omop_emb.mapping.evaluation.leakage import OwnSource
from omop_emb.mapping.features.names import ALIASES, NAMES
from omop_emb.mapping.results import RankedBatch
from omop_emb.mapping.retrieval.candidates import DENSE, EXACT, LEXICAL, MEMORY, UNIT
from omop_emb.mapping.settings import Settings
from omop_emb.mapping.terms.words import normal

RANKINGS = ("exact", "dense", "lexical", "memory", "fusion", "ranker")
"""What is measured: each retriever alone, their weighted sum, and the ranker over the union."""

_JOINT, _SAME_UNIT = NAMES.index("joint score"), NAMES.index("same unit")
_MEMORY = [NAMES.index(name) for name in ALIASES]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one term.

    Attributes:
        gold: the term and what was chosen for it.
        findable: whether a chosen concept is a candidate at all; else it has no match here.
        trivial: whether the term reads like a name of a chosen concept.
        domain: of the chosen concept; the term's own, or "", without a match.
        ranks: rank of the first chosen concept by each of RANKINGS, 0 where it is not found.
        probability: that the first candidate is right; None without calibration.
        first: (concept id, name, domain) of the first candidate; None without one.
        expected: names of the chosen concepts.
    """

    gold: GoldTerm
    findable: bool
    trivial: bool
    domain: str
    ranks: dict[str, int]
    probability: float | None
    first: tuple[int, str, str] | None
    expected: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Whether the first candidate is a chosen concept."""
        return self.ranks["ranker"] == 1

    def to_json(self) -> dict[str, Any]:
        """Plain values: what a later comparison and a reader need."""
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


def evaluate(
    engine: Engine,
    terms: Sequence[GoldTerm],
    settings: Settings | None = None,
    *,
    batch_size: int = 500,
    progress: Callable[[int], None] | None = None,
) -> list[Outcome]:
    """What becomes of terms whose concepts are known, in their order.

    Nothing leaks: a term is not found by its own source concept (see own_source.py), nor by what was
    approved for it. Terms whose chosen concepts exist but lead to nothing standard are left out.

    Args:
        engine: what maps; its ranker must not have learned from these terms.
        terms: with what people chose.
        settings: how they are mapped.
        batch_size: how many at once.
        progress: told how many are done.
    """
    settings = settings or Settings()
    resolve, own = Targets(engine.lexicon), OwnSource(engine.lexicon, engine.memory)
    resolved = [(term, rows) for term in terms if (rows := resolve.rows(term.targets)) is not None]
    outcomes: list[Outcome] = []
    for at in range(0, len(resolved), batch_size):
        block = resolved[at : at + batch_size]
        queries = [own.hide(engine.build_query(gold.term, settings), gold.term) for gold, _ in block]
        ranked = engine.rank(queries, settings)
        outcomes.extend(
            _outcome(engine, ranked, place, gold, rows) for place, (gold, rows) in enumerate(block)
        )
        if progress is not None:
            progress(len(outcomes))
    return outcomes


def _outcome(
    engine: Engine, ranked: RankedBatch, place: int, gold: GoldTerm, rows: frozenset[int]
) -> Outcome:
    lexicon, found, scored = engine.lexicon, ranked.candidates, ranked.scored
    span = slice(int(found.first[place]), int(found.first[place + 1]))
    concepts, by, features = found.concept[span], found.by[span], scored.features[span]
    right = np.isin(concepts, list(rows))
    scores = {
        "exact": (EXACT | UNIT, features[:, _JOINT]),
        "dense": (DENSE, scored.dense[span]),
        "lexical": (LEXICAL, scored.lexical[span]),
        "memory": (MEMORY, features[:, _MEMORY].max(axis=1, initial=0)),
        "fusion": (255, features[:, _JOINT] + 0.3 * features[:, _SAME_UNIT]),
    }
    ranks = {name: rank_of(score, right, (by & bits) > 0) for name, (bits, score) in scores.items()}
    order = ranked.order[place]
    hits = np.flatnonzero(right[order - span.start])
    ranks["ranker"] = int(hits[0]) + 1 if len(hits) else 0
    first = None
    if len(order):
        row = int(found.concept[order[0]])
        first = (int(lexicon.concept_id[row]), lexicon.names[row], lexicon.domains[lexicon.domain[row]])
    ordered = sorted(rows)
    name = normal(gold.term.name)
    return Outcome(
        gold=gold,
        findable=bool(rows),
        trivial=any(name == normal(text) for row in ordered for text in _own_texts(engine, row)),
        domain=lexicon.domains[lexicon.domain[ordered[0]]] if ordered else gold.term.domain or "",
        ranks=ranks,
        probability=None if ranked.probability is None else float(ranked.probability[place]),
        first=first,
        expected=tuple(lexicon.names[row] for row in ordered),
    )


def _own_texts(engine: Engine, row: int) -> list[str]:
    lexicon = engine.lexicon
    texts = range(int(lexicon.first_text[row]), int(lexicon.first_text[row + 1]))
    return [lexicon.texts[text] for text in texts if lexicon.text_kind[text] < 2]


def rank_of(scores: Floats, right: Mask, found: Mask) -> int:
    """Rank of the best right candidate among those found, ties in their order; 0 where none is found."""
    hits = np.flatnonzero(right & found)
    if not len(hits):
        return 0
    best = hits[scores[hits].argmax()]
    others = scores[found]
    before = scores[:best][found[:best]]
    return 1 + int((others > scores[best]).sum()) + int((before == scores[best]).sum())
