"""Mapping engine: vocabulary, vectors, memory and ranker in memory, and the steps of a batch of terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from omop_emb.arrays import Doubles, Floats, Ints, Mask
from omop_emb.mapping.features.candidate_features import Features, ScoredCandidates
from omop_emb.mapping.judge.prompt import ApprovedExample
from omop_emb.mapping.ranking import calibration
from omop_emb.mapping.ranking.preference_columns import preference_columns
from omop_emb.mapping.ranking.prior_shift import NO_SHIFT, PriorShift
from omop_emb.mapping.ranking.ranker import Ranker
from omop_emb.mapping.ranking.site_preferences import (
    NO_PREFERENCES,
    PreferenceExample,
    SitePreferences,
    learn_preferences,
)
from omop_emb.mapping.ranking.stated_strength import prefer_stated_strength
from omop_emb.mapping.records import MappedTerm, Provenance, SourceTerm, Variant
from omop_emb.mapping.results import RankedBatch, ResultBuilder
from omop_emb.mapping.retrieval import array_cache
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.candidates import Candidates, find_candidates, make_retrievers
from omop_emb.mapping.retrieval.concept_attributes import ConceptAttributes
from omop_emb.mapping.retrieval.dense_index import DenseIndex
from omop_emb.mapping.retrieval.further_spaces import FurtherSpace
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.queries import Embed, Query, QueryBatch, common_domains
from omop_emb.mapping.retrieval.similar_approvals import similar_approvals
from omop_emb.mapping.settings import Settings
from omop_emb.mapping.terms.variants import query_variants
from omop_emb.records import ConceptFilter

_FURTHER_NAME_VARIANTS = 2  # at most, of each further name
_KEPT_MASKS = 64
_MAX_LEARNED = 400  # approved names that preferences are learned from: some 10 ms each, and more add little
_LEARNED_CANDIDATES = 60  # the shipped ranker's first of each name
_LEARNED_AT_ONCE = 150

_Approved = tuple[str, tuple[int, ...]]  # an approved name and the rows of its concepts


@dataclass(frozen=True, eq=False)
class PendingBatch:
    """A batch whose candidates have been found; terms without a name have no query."""

    terms: Sequence[SourceTerm]
    queries: list[Query]
    candidates: Candidates | None


class Engine:
    """Maps batches of terms.

    Args:
        lexical: the vocabulary, searchable by spelling.
        attributes: what the names of its concepts say.
        dense: a space's vectors; None maps by spelling alone.
        embed: texts -> (n, dimensions) unit rows, embedded as queries; needed with `dense`.
        ranker: orders the candidates.
        calibrated: whether the ranker's probabilities are valid for this space.
        memory: the names that the site has approved.
        further: spaces that are searched besides, in the order in which the ranker was trained with them.
        earlier: an engine of the same vocabulary and space, whose examples of approved names are used again.

    Attributes:
        files_left_out: files without which their terms were searched, and why.
    """

    def __init__(
        self,
        lexical: LexicalIndex,
        attributes: ConceptAttributes,
        dense: DenseIndex | None,
        embed: Embed | None,
        ranker: Ranker,
        *,
        calibrated: bool,
        memory: MemoryIndex | None = None,
        further: Sequence[FurtherSpace] = (),
        earlier: Engine | None = None,
    ) -> None:
        self.lexicon, self.lexical = lexical.lexicon, lexical
        self.attributes, self.dense = attributes, dense
        self.embed, self.memory = embed if dense is not None else None, memory
        self.ranker, self.calibrated = ranker, calibrated
        self.further = further
        self.retrievers = make_retrievers(lexical, attributes, dense, memory, further)
        # Bounded, as a service is asked with any number of filters.
        self._masks = lru_cache(_KEPT_MASKS)(self.lexicon.passing)
        self.features = Features(lexical, attributes, dense, memory, further)
        self.files_left_out: dict[str, str] = {}
        again = earlier if earlier is not None and earlier.ranker.name == ranker.name else None
        self._examples: dict[_Approved, PreferenceExample] = {} if again is None else dict(again._examples)

    def build_query(self, term: SourceTerm, settings: Settings) -> Query:
        """A term's variants as a query; those of its further names and its translation belong to it too."""
        variants = list(
            query_variants(
                term.name,
                domain=term.domain,
                rules=settings.rules,
                limit=settings.variants,
                harvested=self.lexical.abbreviations,
            )
        )
        others = [(name, "further name") for name in term.further_names]
        if term.translation:
            others.append((term.translation, "translation"))
        of_others = [
            [
                Variant(variant.text, rule if variant.rule == "original" else variant.rule)
                for variant in query_variants(
                    name, domain=term.domain, rules=settings.rules, limit=_FURTHER_NAME_VARIANTS
                )
                if variant.text
            ]
            for name, rule in others
        ]
        # Each text itself before what rules make of any: the limit must leave none out.
        for place in range(_FURTHER_NAME_VARIANTS):
            variants += (found[place] for found in of_others if place < len(found))
        distinct: dict[str, Variant] = {}
        for variant in variants:
            distinct.setdefault(variant.text, variant)
        limit = settings.variants + len(others)
        chosen = list(distinct.values())[:limit]
        files = term.files if self.embed is not None else ()
        if files:
            chosen.append(Variant(term.name, "with its files"))
        query = Query.of(tuple(chosen), term.domain)
        return replace(
            query,
            files=files,
            domains=common_domains(query.domains, settings.concept_filter.domains),
            suggestions=tuple(
                row for concept_id in term.suggestions for _, row in self.lexicon.standard_targets(concept_id)
            ),
        )

    def approved_examples(self, queries: Sequence[Query], count: int) -> list[list[ApprovedExample]]:
        """Per query, up to `count` similar names that persons of the site approved, the nearest first."""
        memory = self.memory
        if memory is None:
            return [[] for _ in queries]
        found = similar_approvals(memory, self.lexical, self.embed, queries, count)
        return [
            [
                ApprovedExample(
                    memory.names[row], int(self.lexicon.concept_id[concept]), self.lexicon.names[concept]
                )
                for row, concept in zip(rows, memory.concept[rows].tolist(), strict=True)
            ]
            for rows in found
        ]

    def passing(self, concept_filter: ConceptFilter) -> Mask | None:
        """(c,) the concepts that a filter lets through; None for all."""
        return self._masks(concept_filter)

    def find(self, queries: list[Query], settings: Settings) -> Candidates:
        """Candidates of a batch: most of its time, in libraries that let other threads run."""
        batch = QueryBatch.encode(
            queries,
            self.lexical,
            self.embed,
            k=settings.retrieved,
            k_other=settings.retrieved_other,
            # Domains are the queries' own, as a term may narrow them.
            allowed=self.passing(replace(settings.concept_filter, domains=None)),
            further=[space.embed for space in self.further],
        )
        candidates = find_candidates(batch, self.retrievers)
        self.files_left_out.update(batch.left_out)
        return candidates

    def rank(
        self, queries: list[Query], settings: Settings, candidates: Candidates | None = None
    ) -> RankedBatch:
        """A batch's candidates (found now unless given), scored and ordered; ties by concept id."""
        if candidates is None:
            candidates = self.find(queries, settings)
        scored = self.features.compute(candidates)
        domains = [self.lexicon.domains[code] for code in self.lexicon.domain[candidates.concept]]
        columns = self.ranker.columns(scored.features, candidates.offsets, domains)
        scores = self.ranker.score(columns, domains)
        if not self.ranker.is_site_trained:
            scores = prefer_stated_strength(scores, scored.features, candidates.offsets)
        preferences = self.preferences_of(settings)
        if preferences is not NO_PREFERENCES:
            scores = scores + preferences.score(scored.features, domains)
        ids = self.lexicon.concept_id[candidates.concept]
        order = []
        for begin, end in zip(candidates.offsets[:-1].tolist(), candidates.offsets[1:].tolist(), strict=True):
            order.append(begin + np.lexsort((ids[begin:end], -scores[begin:end])))
        probability = None
        if self.calibrated and self.ranker.calibration is not None:
            values, best = self.signals(candidates, scored, scores)
            best_domains = [domains[row] if row >= 0 else "" for row in best]
            probability = self.ranker.calibration.probability(values, best_domains)
            probability[best < 0] = 0.0
        return RankedBatch(queries, candidates, scored, columns, scores, order, probability, preferences)

    def preferences_of(self, settings: Settings) -> SitePreferences:
        """What the site prefers, unless the settings or its own ranker know better, and what they prefer."""
        learns = settings.use_preferences and not self.ranker.is_site_trained and not self.further
        learned = self.learned_preferences if learns else NO_PREFERENCES
        return learned.choose(settings.prefer) if settings.prefer else learned

    @cached_property
    def learned_preferences(self) -> SitePreferences:
        """What the approved names say, each ranked as if none were approved; learned at the first use.

        A name is searched by its stored vector alone, so that nothing is embedded.
        """
        memory = self.memory
        if memory is None or not len(memory) or (self.embed is not None and memory.vectors is None):
            return NO_PREFERENCES
        targets: dict[tuple[int, str], list[int]] = {}  # hash and name -> rows of concepts
        vectors: dict[str, Floats] = {}
        for number, name in enumerate(memory.names):
            targets.setdefault((int(memory.hash[number]), name), []).append(int(memory.concept[number]))
            if memory.vectors is not None:
                vectors[name] = memory.vectors[number]
        # By hash: a sample that stays nearly the same when an approval is added.
        keys = [(name, tuple(rows)) for (_, name), rows in sorted(targets.items())[:_MAX_LEARNED]]
        searched = None if self.dense is None or self._examples else self.dense.cache_key
        cached_as = searched and array_cache.cache_key("preferences", searched, self.ranker.name, str(keys))
        # It takes seconds: a new process reads what an earlier one has learned.
        learned: SitePreferences | None = array_cache.load(cached_as) if cached_as else None
        if learned is not None:
            return learned
        missing = [key for key in keys if key not in self._examples]
        for start in range(0, len(missing), _LEARNED_AT_ONCE):
            self._add_examples(missing[start : start + _LEARNED_AT_ONCE], vectors)
        self._examples = {key: self._examples[key] for key in keys}
        learned = learn_preferences(list(self._examples.values()))
        return array_cache.store(cached_as, learned) if cached_as else learned

    def _add_examples(self, keys: Sequence[_Approved], vectors: Mapping[str, Floats]) -> None:
        lexicon = self.lexicon
        queries = [
            Query.of((Variant(name),), "|".join(lexicon.domains[lexicon.domain[row]] for row in rows))
            for name, rows in keys
        ]
        embed = None if self.embed is None else lambda texts: np.stack([vectors[str(one)] for one in texts])
        allowed = self.passing(replace(Settings().concept_filter, domains=None))
        batch = QueryBatch.encode(queries, self.lexical, embed, allowed=allowed)
        retrievers = {name: one for name, one in self.retrievers.items() if name != "memory"}
        candidates = find_candidates(batch, retrievers)
        features = self.features.without_memory().compute(candidates).features
        domains = [lexicon.domains[code] for code in lexicon.domain[candidates.concept]]
        scores = self.ranker.score(self.ranker.columns(features, candidates.offsets, domains), domains)
        scores = prefer_stated_strength(scores, features, candidates.offsets)
        for number, key in enumerate(keys):
            span = candidates.span(number)
            rows = span.start + np.argsort(-scores[span], kind="stable")[:_LEARNED_CANDIDATES]
            self._examples[key] = PreferenceExample(
                preference_columns(features[rows], [domains[row] for row in rows.tolist()]),
                scores[rows],
                np.isin(candidates.concept[rows], key[1]),
            )

    @staticmethod
    def signals(candidates: Candidates, scored: ScoredCandidates, scores: Floats) -> tuple[Doubles, Ints]:
        """What probabilities are computed from, see calibration.compute_signals()."""
        equal = calibration.equal_text(scored.features)
        return calibration.compute_signals(scores, candidates.offsets, scored.dense, scored.lexical, equal)

    def begin(self, terms: Sequence[SourceTerm], settings: Settings) -> PendingBatch:
        """The first half of mapping a batch: its candidates."""
        queries = [self.build_query(term, settings) for term in terms if term.has_name]
        return PendingBatch(terms, queries, self.find(queries, settings) if queries else None)

    def finish(
        self,
        batch: PendingBatch,
        settings: Settings,
        provenance: Provenance,
        shift: PriorShift = NO_SHIFT,
    ) -> list[MappedTerm]:
        """The second half: one result per term, in the same order; `shift` corrects the probabilities."""
        ranked = self.rank(batch.queries, settings, batch.candidates) if batch.queries else None
        passing = self.passing(settings.concept_filter)
        results = ResultBuilder(self.lexicon, self.ranker, self.memory, settings, provenance, passing, shift)
        numbers = iter(range(len(batch.queries)))
        return [
            results.build(term, ranked, next(numbers))
            if ranked is not None and term.has_name
            else results.build_unnamed(term)
            for term in batch.terms
        ]
