"""What a ranked term is given back as: its candidates with their evidence, a decision and the reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from omop_emb.mapping.explain import flags, is_drug
from omop_emb.mapping.features.features import Scored
from omop_emb.mapping.features.names import ALIASES, NAMES
from omop_emb.mapping.ranking.linear import Ranker
from omop_emb.mapping.records import (
    Candidate,
    Decision,
    Variant,
    MappedTerm,
    PathStep,
    Provenance,
    Retriever,
    SourceTerm,
)
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.candidates import DENSE, EXACT, LEXICAL, UNIT, Found, Query
from omop_emb.mapping.retrieval.lexicon import KINDS, Lexicon
from omop_emb.mapping.settings import Settings

_MEMORY = [NAMES.index(name) for name in ALIASES]

Targets = list[tuple[int, PathStep | None]]
"""Rows of the standard concepts that a code leads to, each with the step there; None: it bears the code."""


@dataclass(frozen=True, eq=False)
class Ranked:
    """A batch's candidates, ranked.

    Attributes:
        found, scored: see candidates.py and features.py.
        columns: (p, columns) what the ranker looked at.
        scores: (p,) the ranker's.
        order: for each query, its candidates' places, best first.
        probability: (n,) that the first is right; None where the ranker is not calibrated here.
    """

    queries: list[Query]
    found: Found
    scored: Scored
    columns: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    order: list[npt.NDArray[np.int64]]
    probability: npt.NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class Results:
    """Makes results out of what an engine ranked."""

    lexicon: Lexicon
    ranker: Ranker
    memory: MemoryIndex | None
    settings: Settings
    provenance: Provenance

    def of(self, term: SourceTerm, ranked: Ranked, place: int) -> MappedTerm:
        """The result of a term, whose query has that place among those that were ranked."""
        probability = None if ranked.probability is None else float(ranked.probability[place])
        shown = tuple(
            self._candidate(term, ranked, place, int(where), rank, probability if rank == 1 else None)
            for rank, where in enumerate(ranked.order[place][: self.settings.candidates], start=1)
        )
        if by_code := self._by_code(term):
            return self._coded(term, shown, by_code)
        if not shown:
            return self._result(term, (), Decision.NO_MATCH, "nothing was found", probability)
        decision, reason = self.settings.policy.decide(probability, shown[0].domain_id, self.ranker)
        if term.code and term.source_vocabulary:
            reason = f"its code leads nowhere in {term.source_vocabulary}; {reason}"
        return self._result(term, shown, decision, reason, probability)

    def of_unnamed(self, term: SourceTerm) -> MappedTerm:
        """The result of a term that has nothing but a code, if that."""
        if by_code := self._by_code(term):
            return self._coded(term, (), by_code)
        return self._result(term, (), Decision.NO_MATCH, "no name, and its code leads nowhere", None)

    def _by_code(self, term: SourceTerm) -> Targets:
        if not term.source_vocabulary or not term.code:
            return []
        found: dict[int, PathStep | None] = {}
        for concept_id in self.lexicon.coded(term.source_vocabulary, term.code):
            for relationship, row in self.lexicon.standard_targets(concept_id):
                name = self.lexicon.paths.name_of(concept_id) or term.code
                found.setdefault(row, PathStep(concept_id, name, relationship) if relationship else None)
        return sorted(found.items(), key=lambda target: int(self.lexicon.concept_id[target[0]]))

    def _coded(self, term: SourceTerm, shown: tuple[Candidate, ...], by_code: Targets) -> MappedTerm:
        """A term whose code decides: its targets first, what its name would have given behind them."""
        targets = tuple(int(self.lexicon.concept_id[row]) for row, _ in by_code)
        disagrees = bool(shown) and shown[0].concept_id not in targets
        probability = None if disagrees else 1.0
        first = [
            self._by_row(term, row, step, rank, probability)
            for rank, (row, step) in enumerate(by_code, start=1)
        ]
        others = [replace(one, probability=None) for one in shown if one.concept_id not in targets]
        candidates = tuple(replace(one, rank=rank) for rank, one in enumerate([*first, *others], start=1))
        reason = f"code {term.source_vocabulary} {term.code}"
        if disagrees:
            reason += f"; the name says {shown[0].concept_id} {shown[0].concept_name}"
        accepted = self.settings.accept_codes and not disagrees
        return self._result(
            term,
            candidates,
            Decision.ACCEPT if accepted else Decision.REVIEW,
            reason,
            probability,
            by_code=targets,
            disagrees=disagrees,
        )

    def _by_row(
        self, term: SourceTerm, row: int, step: PathStep | None, rank: int, probability: float | None
    ) -> Candidate:
        lexicon = self.lexicon
        return Candidate(
            rank=rank,
            **self._concept(row),
            score=0.0,
            probability=probability,
            variant=Variant(term.code, "code"),
            matched_text=term.code,
            matched_kind="code",
            retrievers={Retriever.CODE: 1.0},
            path=(step,) if step is not None else (),
            flags=flags(term.name, lexicon.names[row], is_drug=is_drug(lexicon, row)) if term.name else (),
        )

    def _concept(self, row: int) -> dict[str, Any]:
        lexicon = self.lexicon
        return {
            "concept_id": int(lexicon.concept_id[row]),
            "concept_name": lexicon.names[row],
            "domain_id": lexicon.domains[lexicon.domain[row]],
            "vocabulary_id": lexicon.vocabularies[lexicon.vocabulary[row]],
            "concept_class_id": lexicon.concept_classes[lexicon.concept_class[row]],
            "standard_concept": "S",
            "concept_code": lexicon.codes[row],
        }

    def _candidate(
        self,
        term: SourceTerm,
        ranked: Ranked,
        place: int,
        where: int,
        rank: int,
        probability: float | None,
    ) -> Candidate:
        lexicon, scored = self.lexicon, ranked.scored
        row, text = int(ranked.found.concept[where]), int(scored.text[where])
        by = int(ranked.found.by[where])
        retrievers: dict[Retriever, float] = {}
        if by & (EXACT | UNIT):
            retrievers[Retriever.EXACT] = 1.0
        if by & DENSE:
            retrievers[Retriever.DENSE] = float(scored.dense[where])
        if by & LEXICAL:
            retrievers[Retriever.LEXICAL] = float(scored.lexical[where])
        matched, kind = lexicon.texts[text], KINDS[lexicon.text_kind[text]]
        remembered = int(scored.memory[where])
        nearest = float(scored.features[where, _MEMORY].max()) if remembered >= 0 else 0.0
        if self.memory is not None and nearest > max(float(scored.lexical[where]), 0.5):
            matched, kind = self.memory.names[remembered], "alias"
            retrievers[Retriever.MEMORY] = nearest
        path = lexicon.text_path[text]
        contributions = (
            self.ranker.explain(ranked.columns[where], lexicon.domains[lexicon.domain[row]])
            if rank <= self.settings.explain
            else ()
        )
        return Candidate(
            rank=rank,
            **self._concept(row),
            score=float(ranked.scores[where]),
            probability=probability,
            variant=ranked.queries[place].forms[int(scored.form[where])],
            matched_text=matched,
            matched_kind="name" if kind == "non-standard" else kind,
            retrievers=retrievers,
            path=(lexicon.paths[path],) if path >= 0 and kind == "non-standard" else (),
            flags=flags(term.name, lexicon.names[row], is_drug=is_drug(lexicon, row)),
            contributions=tuple(contributions),
        )

    def _result(
        self,
        term: SourceTerm,
        candidates: tuple[Candidate, ...],
        decision: Decision,
        reason: str,
        probability: float | None,
        *,
        by_code: tuple[int, ...] = (),
        disagrees: bool = False,
    ) -> MappedTerm:
        certain = probability if probability is not None else 0.5
        return MappedTerm(
            term=term,
            candidates=candidates,
            decision=decision,
            reason=reason,
            probability=probability,
            priority=(term.frequency if term.frequency is not None else 1) * (1 - certain),
            provenance=self.provenance,
            by_code=by_code,
            disagrees=disagrees,
        )
