"""What a term must not be found by when it is measured: its own source concept, and its own approvals."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.candidates import Query
from omop_emb.mapping.retrieval.lexicon import KINDS, Lexicon
from omop_emb.mapping.terms.words import normal

_MAPPED = KINDS.index("non-standard")


class OwnSource:
    """Finds the text rows and approvals that a term owns.

    A term owns the names of a non-standard concept that bears its code (of its vocabulary, where it names
    one) or reads like it, and the approvals that bear its code or read like it.
    """

    def __init__(self, lexicon: Lexicon, memory: MemoryIndex | None = None) -> None:
        self._by_name: dict[str, set[int]] = defaultdict(set)
        self._by_concept: dict[int, set[int]] = defaultdict(set)
        for row in (lexicon.text_kind == _MAPPED).nonzero()[0].tolist():
            self._by_name[normal(lexicon.texts[row])].add(row)
            self._by_concept[lexicon.paths[lexicon.text_path[row]].concept_id].add(row)
        self._by_code: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for (vocabulary, code), ids in lexicon.by_code.items():
            for concept_id in ids:
                if concept_id in self._by_concept:
                    self._by_code[code].append((vocabulary, concept_id))
        self._memory_by_name: dict[str, set[int]] = defaultdict(set)
        self._memory_by_code: dict[str, set[int]] = defaultdict(set)
        if memory is not None:
            for row, (name, code) in enumerate(zip(memory.names, memory.codes, strict=True)):
                self._memory_by_name[normal(name)].add(row)
                if code:
                    self._memory_by_code[code].add(row)

    def hide(self, query: Query, term: SourceTerm) -> Query:
        """The query of a term, blind to what the term owns."""
        name = query.normal[0]
        rows = set(self._by_name.get(name, ()))
        for vocabulary, concept_id in self._by_code.get(term.code, ()) if term.code else ():
            if term.source_vocabulary in (None, vocabulary):
                rows |= self._by_concept[concept_id]
        memory = self._memory_by_name.get(name, set()) | self._memory_by_code.get(term.code, set())
        return replace(query, hidden=frozenset(rows), hidden_memory=frozenset(memory))
