"""Reviewed rows: those of a file that people have approved, and how they correct its probabilities."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from omop_emb.mapping.approvals.reuse import CheckedMappings
from omop_emb.mapping.approvals.review_words import Verdict, read_verdict
from omop_emb.mapping.approvals.reviewed_table import by_person
from omop_emb.mapping.files.term_file import TermFile
from omop_emb.mapping.files.usagi_file import UsagiMapping, UsagiTarget
from omop_emb.mapping.mapper import BATCH_SIZE, Mapper
from omop_emb.mapping.ranking.prior_shift import (
    MIN_REVIEWED_ROWS,
    NO_SHIFT,
    PriorShift,
    fit_prior_shift,
)
from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.terms.text_key import text_key

_MOST_ROWS = 200  # more change the correction by less than its own error

ReviewedRow = tuple[SourceTerm, frozenset[int]]
"""A term and the concepts that people approved for it, none for no match."""


def correct_by_reviewed_rows(mapper: Mapper, file: TermFile, previous: CheckedMappings | None) -> PriorShift:
    """Correct the probabilities of a mapper by the reviewed rows of a file; returns by how much.

    They are rows that a person decided in Usagi's file, rows of the earlier file, and names that the site has
    approved. Each is mapped as if only it had not been approved. A site's own ranker has learned from them
    already, and is not corrected; nor is one without probabilities.
    """
    if mapper.engine.ranker.is_site_trained or not mapper.provenance.calibrated:
        return NO_SHIFT
    memory = _ApprovedNames(mapper.engine.memory)
    rows = [*_decided_in_usagi(file), *_approved_elsewhere(file, mapper, memory, previous)]
    if len(rows) < MIN_REVIEWED_ROWS:
        return NO_SHIFT
    if len(rows) > _MOST_ROWS:
        chosen = np.random.default_rng(1).choice(len(rows), _MOST_ROWS, replace=False)
        rows = [rows[number] for number in sorted(chosen)]
    shift = fit_prior_shift(_outcomes(rows, mapper, memory))
    mapper.correct_probabilities(shift)
    return shift


class _ApprovedNames:
    """A memory's names and codes by text; all of them empty without a memory."""

    def __init__(self, memory: MemoryIndex | None) -> None:
        self._memory = memory
        self._by_name: dict[str, set[int]] = defaultdict(set)
        self._by_code: dict[str, set[int]] = defaultdict(set)
        if memory is not None:
            for number, (name, code) in enumerate(zip(memory.names, memory.codes, strict=True)):
                self._by_name[text_key(name)].add(number)
                if code:
                    self._by_code[code].add(number)

    def of(self, term: SourceTerm) -> frozenset[int]:
        """Numbers of the names that must not find the term: its own text, and those of its code."""
        return frozenset(self._by_name.get(text_key(term.name), set()) | self._by_code.get(term.code, set()))

    def concepts(self, term: SourceTerm) -> Iterator[int]:
        """Ids of the concepts that were approved for precisely this text."""
        if self._memory is not None:
            for number in self._by_name.get(text_key(term.name), ()):
                yield int(self._memory.approved_ids[number])


def _decided_in_usagi(file: TermFile) -> Iterator[ReviewedRow]:
    for mapping in file.usagi.mappings() if file.usagi is not None else ():
        if mapping.problem or not mapping.key[1]:
            continue
        verdict = by_person(read_verdict(mapping.status), _author(mapping))
        if verdict is Verdict.APPROVED:
            yield SourceTerm(code=mapping.key[0], name=mapping.key[1]), _concept_ids(mapping.targets)


def _author(mapping: UsagiMapping) -> str:
    return mapping.rows[0].get("statusSetBy", "")


def _concept_ids(targets: Iterable[UsagiTarget]) -> frozenset[int]:
    return frozenset(target.concept_id for target in targets if target.is_mapping)


def _approved_elsewhere(
    file: TermFile, mapper: Mapper, memory: _ApprovedNames, previous: CheckedMappings | None
) -> Iterator[ReviewedRow]:
    if previous is None and mapper.engine.memory is None:
        return
    for term in file:
        mapping = previous.find(term) if previous is not None else None
        if mapping is not None:
            yield term, _concept_ids(mapping.targets)
        elif approved := frozenset(memory.concepts(term)):
            yield term, approved


def _outcomes(
    rows: Iterable[ReviewedRow], mapper: Mapper, memory: _ApprovedNames
) -> Iterator[tuple[float, int, int]]:
    """The probability of each row's first candidate, and whether it is what was approved."""
    engine, lexicon = mapper.engine, mapper.engine.lexicon
    usable = [(mapper.values.spell(term), approved) for term, approved in rows if term.has_name]
    for start in range(0, len(usable), BATCH_SIZE):
        batch = usable[start : start + BATCH_SIZE]
        queries = [
            replace(engine.build_query(term, mapper.settings), hidden_names=memory.of(term))
            for term, _ in batch
        ]
        ranked = engine.rank(queries, mapper.settings)
        assert ranked.probability is not None  # noqa: S101 - the ranker is calibrated
        for number, (_, approved) in enumerate(batch):
            targets = {row for concept_id in approved for _, row in lexicon.standard_targets(concept_id)}
            if approved and not targets:
                continue  # outdated: it says nothing about the present vocabulary
            order = ranked.order[number]
            first = int(ranked.candidates.concept[order[0]]) if len(order) else -1
            yield float(ranked.probability[number]), 1, int(first in targets)
