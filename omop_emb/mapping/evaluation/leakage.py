"""Leakage guard: measured terms are not found by their own source concept or their own approvals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from omop_emb.mapping.engine import Engine
from omop_emb.mapping.evaluation.gold import ResolvedTerm
from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.results import RankedBatch
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.lexicon import NON_STANDARD, Lexicon
from omop_emb.mapping.retrieval.queries import Query
from omop_emb.mapping.settings import Settings
from omop_emb.mapping.terms.text_key import text_key
from omop_emb.mapping.terms.words import normalise

_BATCH_TERMS = 500


class LeakageGuard:
    """Hides from a term's query what belongs to the term itself.

    These are names of non-standard concepts with its code (in its vocabulary, if it names one) or the same
    words, and the approvals of its code or of the same text. Approvals of a text that differs, if only in a
    sign, stay: a site that maps the term sees them too.
    """

    def __init__(self, lexicon: Lexicon, memory: MemoryIndex | None = None) -> None:
        self._by_name: dict[str, set[int]] = defaultdict(set)
        self._by_concept: dict[int, set[int]] = defaultdict(set)
        for row in (lexicon.text_kind == NON_STANDARD).nonzero()[0].tolist():
            self._by_name[normalise(lexicon.texts[row])].add(row)
            self._by_concept[lexicon.targets[lexicon.text_path[row]].concept_id].add(row)
        self._by_code: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for (vocabulary, code), ids in lexicon.ids_by_code.items():
            for concept_id in ids:
                if concept_id in self._by_concept:
                    self._by_code[code].append((vocabulary, concept_id))
        self._memory_by_name: dict[str, set[int]] = defaultdict(set)
        self._memory_by_code: dict[str, set[int]] = defaultdict(set)
        if memory is not None:
            for row, (name, code) in enumerate(zip(memory.names, memory.codes, strict=True)):
                self._memory_by_name[text_key(name)].add(row)
                if code:
                    self._memory_by_code[code].add(row)

    def hide(self, query: Query, term: SourceTerm) -> Query:
        """The query of a term, with the term's own texts and approvals hidden."""
        rows = set(self._by_name.get(query.normal[0], ()))
        for vocabulary, concept_id in self._by_code.get(term.code, ()) if term.code else ():
            if term.source_vocabulary in (None, vocabulary):
                rows |= self._by_concept[concept_id]
        name = text_key(query.variants[0].text)
        memory = self._memory_by_name.get(name, set()) | self._memory_by_code.get(term.code, set())
        return replace(query, hidden_texts=frozenset(rows), hidden_names=frozenset(memory))


def rank_without_leakage(
    engine: Engine, terms: Sequence[ResolvedTerm], settings: Settings
) -> Iterator[tuple[Sequence[ResolvedTerm], RankedBatch]]:
    """All terms in batches, ranked without what belongs to a term itself.

    The site's preferences are left out too, as they were learned from all its approvals at once.
    """
    settings = replace(settings, use_preferences=False)
    guard = LeakageGuard(engine.lexicon, engine.memory)
    for start in range(0, len(terms), _BATCH_TERMS):
        batch = terms[start : start + _BATCH_TERMS]
        queries = [guard.hide(engine.build_query(gold.term, settings), gold.term) for gold, _ in batch]
        yield batch, engine.rank(queries, settings)
