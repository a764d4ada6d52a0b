"""The engine: everything in memory that maps terms, and the way of a batch through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omop_emb.mapping.features.features import Features, Scored
from omop_emb.mapping.features.names import NAMES
from omop_emb.mapping.ranking import calibration
from omop_emb.mapping.ranking.linear import Ranker
from omop_emb.mapping.records import Variant, MappedTerm, Provenance, SourceTerm
from omop_emb.mapping.results import Ranked, Results
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.candidates import Embed, Found, Query, find
from omop_emb.mapping.retrieval.concept_attributes import Facts, gather
from omop_emb.mapping.retrieval.dense_index import DenseIndex
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.lexicon import Lexicon
from omop_emb.mapping.settings import Settings
from omop_emb.mapping.terms.normalise import forms

_ALIKE = [place for place, name in enumerate(NAMES) if name.startswith("reads alike")]


@dataclass(frozen=True, eq=False)
class Begun:
    """A batch whose candidates have been looked up; terms without a name have no query."""

    terms: Sequence[SourceTerm]
    queries: list[Query]
    found: Found | None


class Engine:
    """Maps batches of terms; built once for a vocabulary, a space and a site's memory.

    Args:
        lexicon: the vocabulary.
        dense: a space's vectors; None maps by spelling alone.
        embed: texts -> (n, dimensions) unit rows for the role of a query; needed with `dense`.
        ranker: what orders the candidates.
        calibrated: whether the ranker's probabilities are valid for this space.
        memory: what the site has approved.
        lexical, facts: made from the lexicon already, to share them between engines.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        dense: DenseIndex | None,
        embed: Embed | None,
        ranker: Ranker,
        *,
        calibrated: bool,
        memory: MemoryIndex | None = None,
        lexical: LexicalIndex | None = None,
        facts: Facts | None = None,
    ) -> None:
        self.lexicon = lexicon
        self.lexical = lexical or LexicalIndex(lexicon)
        self.facts = facts or gather(lexicon, self.lexical)
        self.dense, self.embed, self.memory = dense, embed, memory
        self.ranker, self.calibrated = ranker, calibrated
        self.features = Features(self.lexical, self.facts, dense, memory)

    def query(self, term: SourceTerm, settings: Settings) -> Query:
        """A term with its forms; further names are forms too."""
        made = list(forms(term.name, domain=term.domain, rules=settings.rules, limit=settings.variants))
        for name in term.further_names:
            made.extend(
                Variant(form.text, "further name" if form.rule == "original" else form.rule)
                for form in forms(name, domain=term.domain, rules=settings.rules, limit=2)
                if form.text
            )
        distinct = {form.text: form for form in reversed(made)}
        kept = [form for form in made if distinct[form.text] is form]
        return Query.of(tuple(kept[: settings.variants + len(term.further_names)]), term.domain)

    def find(self, queries: list[Query], settings: Settings) -> Found:
        """Candidates of a batch; most of a batch's time, and in libraries that let other threads run."""
        return find(
            queries,
            self.lexical,
            self.facts,
            self.dense,
            self.embed,
            self.memory,
            k=settings.retrieved,
            k_other=settings.retrieved_other,
        )

    def rank(self, queries: list[Query], settings: Settings, found: Found | None = None) -> Ranked:
        """Candidates of a batch, found (unless they are already), described and ordered; ties by id."""
        if found is None:
            found = self.find(queries, settings)
        scored = self.features.score(queries, found)
        names = [self.lexicon.domains[code] for code in self.lexicon.domain[found.concept]]
        columns = self.ranker.columns(scored.features, found.first, names)
        scores = self.ranker.score(columns, names)
        ids = self.lexicon.concept_id[found.concept]
        order = []
        for place in range(len(queries)):
            span = slice(int(found.first[place]), int(found.first[place + 1]))
            order.append(span.start + np.lexsort((ids[span], -scores[span])))
        probability = None
        if self.calibrated and self.ranker.calibration is not None:
            values, best = self.signals(found, scored, scores)
            domains = [names[place] if place >= 0 else "" for place in best]
            probability = self.ranker.calibration.probability(values, domains)
            probability[best < 0] = 0.0
        return Ranked(queries, found, scored, columns, scores, order, probability)

    @staticmethod
    def signals(
        found: Found, scored: Scored, scores: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """What probabilities are made from (see calibration.signals)."""
        alike = scored.features[:, _ALIKE].max(axis=1) if len(scores) else np.zeros(0, np.float32)
        return calibration.signals(scores, found.first, scored.dense, scored.lexical, alike)

    def begin(self, terms: Sequence[SourceTerm], settings: Settings) -> Begun:
        """The first half of mapping a batch: its candidates."""
        queries = [self.query(term, settings) for term in terms if term.name.strip()]
        return Begun(terms, queries, self.find(queries, settings) if queries else None)

    def finish(self, begun: Begun, settings: Settings, provenance: Provenance) -> list[MappedTerm]:
        """The second half: one result a term, in the same order."""
        ranked = self.rank(begun.queries, settings, begun.found) if begun.queries else None
        results = Results(self.lexicon, self.ranker, self.memory, settings, provenance)
        places = iter(range(len(begun.queries)))
        return [
            results.of(term, ranked, next(places))
            if ranked is not None and term.name.strip()
            else results.of_unnamed(term)
            for term in begun.terms
        ]
