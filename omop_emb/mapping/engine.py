"""The engine: everything in memory that maps terms, and the way of a batch through it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from omop_emb.mapping import calibration
from omop_emb.mapping.candidates import DENSE, EXACT, LEXICAL, UNIT, Embed, Found, Query, find
from omop_emb.mapping.decision import Policy
from omop_emb.mapping.dense import DenseIndex
from omop_emb.mapping.explain import flags, is_drug
from omop_emb.mapping.facts import Facts, gather
from omop_emb.mapping.feature_names import ALIASES, NAMES
from omop_emb.mapping.features import Features, Scored
from omop_emb.mapping.lexical import LexicalIndex
from omop_emb.mapping.lexicon import KINDS, Lexicon
from omop_emb.mapping.memory import MemoryIndex
from omop_emb.mapping.normalise import RULES, forms
from omop_emb.mapping.ranker import Ranker
from omop_emb.mapping.records import (
    Candidate,
    Decision,
    Form,
    MappedTerm,
    PathStep,
    Provenance,
    Retriever,
    SourceTerm,
)

_ALIKE = [place for place, name in enumerate(NAMES) if name.startswith("reads alike")]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How terms are mapped.

    Attributes:
        candidates: how many are given for each term.
        retrieved: how many concepts each retriever finds for a term's original.
        retrieved_other: how many for each other form.
        rules: the normalisation rules that may be used (see normalise.RULES).
        forms: how many forms of a term at most.
        explain: for how many candidates contributions are listed.
        accept_codes: accept what a code leads to, where the name's first candidate says the same.
        policy: what may be decided without a person.
    """

    candidates: int = 10
    retrieved: int = 100
    retrieved_other: int = 40
    rules: Collection[str] = RULES
    forms: int = 5
    explain: int = 0
    accept_codes: bool = False
    policy: Policy = field(default_factory=Policy)


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
        made = list(forms(term.name, domain=term.domain, rules=settings.rules, limit=settings.forms))
        for name in term.further_names:
            made.extend(
                Form(form.text, "further name" if form.rule == "original" else form.rule)
                for form in forms(name, domain=term.domain, rules=settings.rules, limit=2)
                if form.text
            )
        distinct = {form.text: form for form in reversed(made)}
        kept = [form for form in made if distinct[form.text] is form]
        return Query.of(tuple(kept[: settings.forms + len(term.further_names)]), term.domain)

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
        terms = begun.terms
        named = [place for place, term in enumerate(terms) if term.name.strip()]
        ranked = self.rank(begun.queries, settings, begun.found) if named else None
        at = {place: number for number, place in enumerate(named)}
        results = []
        for place, term in enumerate(terms):
            by_code = self._by_code(term)
            if ranked is not None and place in at:
                results.append(self._mapped(term, ranked, at[place], by_code, settings, provenance))
            else:
                results.append(self._coded(term, (), by_code, settings, provenance))
        return results

    def _by_code(self, term: SourceTerm) -> list[tuple[Retriever, int, PathStep | None]]:
        if not term.source_vocabulary or not term.code:
            return []
        found: dict[int, tuple[Retriever, int, PathStep | None]] = {}
        for concept_id in self.lexicon.coded(term.source_vocabulary, term.code):
            for relationship, row in self.lexicon.standard_targets(concept_id):
                name = self.lexicon.paths.name_of(concept_id) or term.code
                step = PathStep(concept_id, name, relationship) if relationship else None
                found.setdefault(row, (Retriever.CODE, row, step))
        return sorted(found.values(), key=lambda entry: int(self.lexicon.concept_id[entry[1]]))

    def _mapped(
        self,
        term: SourceTerm,
        ranked: Ranked,
        place: int,
        by_code: list[tuple[Retriever, int, PathStep | None]],
        settings: Settings,
        provenance: Provenance,
    ) -> MappedTerm:
        order = ranked.order[place]
        probability = None if ranked.probability is None else float(ranked.probability[place])
        shown = [
            self._candidate(
                term, ranked, place, int(where), rank + 1, probability if rank == 0 else None, settings
            )
            for rank, where in enumerate(order[: settings.candidates])
        ]
        if by_code:
            return self._coded(term, tuple(shown), by_code, settings, provenance)
        if not shown:
            return _result(term, (), Decision.NO_MATCH, "nothing was found", probability, provenance)
        decision, reason = settings.policy.decide(probability, shown[0].domain_id, self.ranker)
        if term.code and term.source_vocabulary:
            reason = f"its code leads nowhere in {term.source_vocabulary}; {reason}"
        return _result(term, tuple(shown), decision, reason, probability, provenance)

    def _coded(
        self,
        term: SourceTerm,
        shown: tuple[Candidate, ...],
        by_code: list[tuple[Retriever, int, PathStep | None]],
        settings: Settings,
        provenance: Provenance,
    ) -> MappedTerm:
        """A term whose code decides: its targets first, what its name would have given behind them."""
        if not by_code:
            return _result(
                term, shown, Decision.NO_MATCH, "no name, and its code leads nowhere", None, provenance
            )
        targets = tuple(int(self.lexicon.concept_id[row]) for _, row, _ in by_code)
        disagrees = bool(shown) and shown[0].concept_id not in targets
        probability = None if disagrees else 1.0
        first = [
            self._by_row(term, row, step, rank + 1, probability)
            for rank, (_, row, step) in enumerate(by_code)
        ]
        others = [replace(one, probability=None) for one in shown if one.concept_id not in targets]
        candidates = tuple(replace(one, rank=rank) for rank, one in enumerate([*first, *others], start=1))
        reason = f"code {term.source_vocabulary} {term.code}"
        if disagrees:
            reason += f"; the name says {shown[0].concept_id} {shown[0].concept_name}"
        return _result(
            term,
            candidates,
            Decision.ACCEPT if settings.accept_codes and not disagrees else Decision.REVIEW,
            reason,
            probability,
            provenance,
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
            form=Form(term.code, "code"),
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
        settings: Settings,
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
            if rank <= settings.explain
            else ()
        )
        return Candidate(
            rank=rank,
            **self._concept(row),
            score=float(ranked.scores[where]),
            probability=probability,
            form=ranked.queries[place].forms[int(scored.form[where])],
            matched_text=matched,
            matched_kind="name" if kind == "non-standard" else kind,
            retrievers=retrievers,
            path=(lexicon.paths[path],) if path >= 0 and kind == "non-standard" else (),
            flags=flags(term.name, lexicon.names[row], is_drug=is_drug(lexicon, row)),
            contributions=tuple(contributions),
        )


_MEMORY = [NAMES.index(name) for name in ALIASES]


def _result(
    term: SourceTerm,
    candidates: tuple[Candidate, ...],
    decision: Decision,
    reason: str,
    probability: float | None,
    provenance: Provenance,
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
        provenance=provenance,
        by_code=by_code,
        disagrees=disagrees,
    )
