"""Mapping results: a ranked term as candidates with their evidence, a decision and its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from omop_emb.arrays import Doubles, Floats, Ints, Mask
from omop_emb.mapping.features.candidate_features import ScoredCandidates
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.features.further_features import best_cosines
from omop_emb.mapping.features.sign_features import signs_of_query
from omop_emb.mapping.ranking.policy import is_acceptable
from omop_emb.mapping.ranking.prior_shift import NO_SHIFT, PriorShift
from omop_emb.mapping.ranking.ranker import Ranker
from omop_emb.mapping.ranking.reasons import compare
from omop_emb.mapping.ranking.site_preferences import NO_PREFERENCES, SitePreferences
from omop_emb.mapping.records import (
    Candidate,
    Contribution,
    Decision,
    MappedTerm,
    Provenance,
    Retriever,
    SourceTerm,
    Variant,
)
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.candidates import Candidates
from omop_emb.mapping.retrieval.code_lookup import CodeLookup, CodeTarget, look_up_code
from omop_emb.mapping.retrieval.lexicon import STATUSES, TEXT_KINDS, Lexicon
from omop_emb.mapping.retrieval.queries import Query, common_domains
from omop_emb.mapping.settings import Settings
from omop_emb.mapping.terms.flags import flags
from omop_emb.mapping.terms.signs import Signs, closest_differences, objection, signs_of
from omop_emb.mapping.terms.words import normalise
from omop_emb.records import Concept

_SIGNS_DIFFER = NAMES.index("signs differ")
_CONCEPT = tuple(field.name for field in fields(Concept) if field.name != "invalid_reason")
_MIN_MEMORY_SIMILARITY = 0.5  # below, an approved name is no better an explanation than the concept's own


@dataclass(frozen=True, eq=False)
class RankedBatch:
    """A batch's candidates, ranked.

    Attributes:
        candidates, scored: see retrieval/candidates.py and features/candidate_features.py.
        columns: (p, columns) what the ranker read.
        scores: (p,) the ranker's.
        order: per query, the numbers of its candidates, best first.
        probability: (n,) that the first is right; None if the ranker is not calibrated for this space.
        preferences: what was added to the ranker's scores.
    """

    queries: list[Query]
    candidates: Candidates
    scored: ScoredCandidates
    columns: Floats
    scores: Floats
    order: list[Ints]
    probability: Doubles | None
    preferences: SitePreferences = NO_PREFERENCES


@dataclass(frozen=True, eq=False)
class ResultBuilder:
    """Builds the results of a ranked batch."""

    lexicon: Lexicon
    ranker: Ranker
    memory: MemoryIndex | None
    settings: Settings
    provenance: Provenance
    passing: Mask | None = None  # (c,) the concepts that the settings' filter lets through; None: all
    shift: PriorShift = NO_SHIFT

    def build(self, term: SourceTerm, ranked: RankedBatch, query: int) -> MappedTerm:
        """The result of a term; `query` is the number of its query in the batch."""
        said = None if ranked.probability is None else float(ranked.probability[query])
        probability = self.shift.correct(said)
        candidates = tuple(
            self._candidate(term, ranked, query, int(number), rank, probability if rank == 1 else None)
            for rank, number in enumerate(ranked.order[query][: self.settings.candidates], start=1)
        )
        named = candidates[0].concept_id if candidates else None
        by_code = look_up_code(self.lexicon, term, named, self.passing)
        if by_code.targets:
            return self._coded(term, candidates, by_code)
        if not candidates:
            decision, reason = self._nothing_found(term)
        elif self.settings.includes_non_standard:
            decision = Decision.REVIEW
            reason = "nothing is accepted when non-standard concepts are candidates"
        elif set(candidates[0].retrievers) == {Retriever.SUGGESTED}:
            decision, reason = Decision.REVIEW, "only the source suggests it, which is not evidence"
        else:
            best = int(ranked.order[query][0])
            acceptable = is_acceptable(ranked.scored.features[best : best + 1])[0]
            against = "" if acceptable else objection(candidates[0].flags)
            # Thresholds were tested on what the ranker says: a correction may only make them stricter.
            tested = None if said is None or probability is None else min(said, probability)
            decision, reason = self.settings.policy.decide(
                tested, candidates[0].domain_id, self.ranker, objection=against
            )
        if by_code.problem:
            reason = f"{by_code.problem}; {reason}"
        return self._result(term, candidates, decision, reason, probability, unknown_code=by_code.is_unknown)

    def build_unnamed(self, term: SourceTerm) -> MappedTerm:
        """The result of a term that has at most a code."""
        by_code = look_up_code(self.lexicon, term, passing=self.passing)
        if by_code.targets:
            return self._coded(term, (), by_code)
        reason = f"no name, and {by_code.problem or 'its code maps to no concept'}"
        return self._result(term, (), Decision.NO_MATCH, reason, None, unknown_code=by_code.is_unknown)

    def _nothing_found(self, term: SourceTerm) -> tuple[Decision, str]:
        """The decision and reason without candidates; a limit may have excluded the right concept."""
        domains, of_filter = Query.of((), term.domain).domains, self.settings.concept_filter.domains
        if domains is not None and common_domains(domains, of_filter) == ():
            return Decision.REVIEW, f"its domain {' or '.join(domains)} is not {' or '.join(of_filter or ())}"
        if domains is not None and not set(domains) & set(self.lexicon.domains):
            return Decision.REVIEW, "its domain has no concepts in the vocabulary"
        if self.settings.filter_text:
            return Decision.REVIEW, f"nothing was found with {self.settings.filter_text}"
        return Decision.NO_MATCH, "nothing was found"

    def _coded(self, term: SourceTerm, by_name: tuple[Candidate, ...], by_code: CodeLookup) -> MappedTerm:
        """A term whose code decides: the code's targets first, the name's candidates after them."""
        targets = tuple(int(self.lexicon.concept_id[target.row]) for target in by_code.targets)
        disagrees = bool(by_name) and by_name[0].concept_id not in targets
        against = objection(by_name[0].flags) if by_name else ""
        is_standard = not any(self.lexicon.status[target.row] for target in by_code.targets)
        is_certain = is_standard and not (disagrees or by_code.others or by_code.excluded or against)
        probability = 1.0 if is_certain else None
        candidates = [self._code_candidate(term, target, probability) for target in by_code.targets]
        candidates += (
            replace(candidate, probability=None)
            for candidate in by_name
            if candidate.concept_id not in targets
        )
        reason = f"code {by_code.vocabulary} {term.code}"
        if by_code.others:
            reason += f", which in {' and '.join(by_code.others)} means something else"
        for value in dict.fromkeys(value for target in by_code.targets for value in target.mapped_values):
            kind = value.relationship_id.removeprefix("Maps to ")
            reason += f"; {kind} {value.concept_id} {value.concept_name}"
        if by_code.excluded:
            reason += ", which maps to concepts that the filter excludes, too"
        if disagrees:
            reason += f"; the name says {by_name[0].concept_id} {by_name[0].concept_name}"
        elif against:
            reason += f", but {against}"
        return self._result(
            term,
            tuple(replace(candidate, rank=rank) for rank, candidate in enumerate(candidates, start=1)),
            Decision.ACCEPT if self.settings.accept_codes and is_certain else Decision.REVIEW,
            reason,
            probability,
            by_code=targets,
            disagrees=disagrees,
        )

    def _code_candidate(self, term: SourceTerm, target: CodeTarget, probability: float | None) -> Candidate:
        return Candidate(
            rank=1,
            **self._concept(target.row),
            score=0.0,
            probability=probability,
            variant=Variant(term.code, "code"),
            matched_text=term.code,
            matched_kind="code",
            retrievers={Retriever.CODE: 1.0},
            path=(target.step,) if target.step is not None else (),
            mapped_values=target.mapped_values,
            flags=(
                *self._sign_flags([signs_of(term.name)], target.row),
                *self._flags(term, Variant(term.name), target.row),
            )
            if term.name
            else (),
        )

    def _concept(self, row: int) -> dict[str, Any]:
        concept = self.lexicon.concept(row)
        return {name: getattr(concept, name) for name in _CONCEPT}

    def _sign_flags(self, of_term: Sequence[Signs], row: int, *, same_unit: bool = False) -> tuple[str, ...]:
        """Signs in which no text of a concept agrees with a term."""
        is_unit = self.lexicon.domains[self.lexicon.domain[row]] == "Unit"
        texts = [signs_of(text) for text in self.lexicon.own_texts(row)]
        return tuple(closest_differences(of_term, texts, is_unit=is_unit, same_unit=same_unit))

    def _flags(self, term: SourceTerm, variant: Variant, row: int) -> tuple[str, ...]:
        domain = self.lexicon.domains[self.lexicon.domain[row]]
        status = self.lexicon.status[row]
        marks = (STATUSES[status],) if status else ()
        return marks + flags(term.name, variant.text, self.lexicon.names[row], domain)

    def _candidate(
        self,
        term: SourceTerm,
        ranked: RankedBatch,
        query: int,
        number: int,
        rank: int,
        probability: float | None,
    ) -> Candidate:
        """Candidate `number` of a batch, which belongs to that query."""
        lexicon, scored = self.lexicon, ranked.scored
        row, text = int(ranked.candidates.concept[number]), int(scored.text[number])
        found_by = {name for name, mask in ranked.candidates.found_by.items() if mask[number]}
        dense, lexical = float(scored.dense[number]), float(scored.lexical[number])
        retrievers: dict[Retriever, float] = {}
        if found_by & {"exact", "unit"}:
            retrievers[Retriever.EXACT] = 1.0
        if "dense" in found_by:
            retrievers[Retriever.DENSE] = dense
        if found_by & {"lexical", "mention"}:
            retrievers[Retriever.LEXICAL] = lexical
        if "further" in found_by:
            cosines = best_cosines(scored.features[number : number + 1])
            retrievers[Retriever.FURTHER] = float(np.nanmax(cosines))
        if "suggested" in found_by:
            retrievers[Retriever.SUGGESTED] = 1.0
        matched_text, kind = lexicon.texts[text], TEXT_KINDS[lexicon.text_kind[text]]
        approved = int(scored.approved_name[number])
        if self.memory is not None and approved >= 0:
            similarity = float(scored.approved_similarity[number])
            if similarity > max(lexical, _MIN_MEMORY_SIMILARITY):
                matched_text, kind = self.memory.names[approved], "alias"
                retrievers[Retriever.MEMORY] = similarity
        path = int(lexicon.text_path[text]) if kind == "non-standard" else -1
        variant = ranked.queries[query].variants[int(scored.variant[number])]
        # What belongs beside a mapping is known for that very text, not for similar ones.
        source_id = -1
        if normalise(matched_text) == normalise(variant.text):
            if path >= 0:
                source_id = lexicon.targets[path].concept_id
            elif kind == "alias" and self.memory is not None:
                source_id = int(self.memory.approved_ids[approved])
        signs: tuple[str, ...] = ()
        if scored.features[number, _SIGNS_DIFFER]:
            of_term = signs_of_query(ranked.queries[query])
            signs = self._sign_flags(of_term, row, same_unit="unit" in found_by)
        return Candidate(
            rank=rank,
            **self._concept(row),
            score=float(ranked.scores[number]),
            probability=probability,
            variant=variant,
            matched_text=matched_text,
            matched_kind="name" if kind == "non-standard" else kind,
            retrievers=retrievers,
            path=(lexicon.targets[path],) if path >= 0 else (),
            mapped_values=lexicon.values.get(source_id),
            flags=(*signs, *self._flags(term, variant, row)),
            contributions=self._contributions(ranked, query, number, rank),
        )

    def _contributions(
        self, ranked: RankedBatch, query: int, number: int, rank: int
    ) -> tuple[Contribution, ...]:
        """The reasons for the first candidate against the second, or for another against the first."""
        if rank > self.settings.explain:
            return ()

        def described(candidate: int) -> tuple[Floats, str]:
            row = int(ranked.candidates.concept[candidate])
            return ranked.columns[candidate], self.lexicon.domains[self.lexicon.domain[row]]

        rivals = ranked.order[query][1:2] if rank == 1 else ranked.order[query][:1]
        rival = described(int(rivals[0])) if len(rivals) else None
        return compare(self.ranker, described(number), rival, ranked.preferences)

    def _result(
        self,
        term: SourceTerm,
        candidates: tuple[Candidate, ...],
        decision: Decision,
        reason: str,
        probability: float | None,
        **code_fields: Any,
    ) -> MappedTerm:
        certainty = probability if probability is not None else 0.5
        return MappedTerm(
            term=term,
            candidates=candidates,
            decision=decision,
            reason=reason,
            probability=probability,
            priority=(term.frequency if term.frequency is not None else 1) * (1 - certainty),
            provenance=self.provenance,
            **code_fields,
        )
