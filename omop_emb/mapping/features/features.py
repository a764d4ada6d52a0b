"""Explainable features of a term and a candidate, for many candidates at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Floats, Ints
from omop_emb.mapping.features import drug_features, laboratory_features, similarity
from omop_emb.mapping.features.approved_neighbours import Neighbours
from omop_emb.mapping.features.laboratory_features import Analytes
from omop_emb.mapping.features.names import DOMAINS, HABITS, NAMES, PAIR, STATIC, VOCABULARIES, Put
from omop_emb.mapping.features.similarity import Forms
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.candidates import DENSE, EXACT, LEXICAL, UNIT, Found, Query
from omop_emb.mapping.retrieval.concept_attributes import Facts
from omop_emb.mapping.retrieval.dense_index import DenseIndex
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex, hashes
from omop_emb.mapping.terms import contrasts
from omop_emb.mapping.terms.normalise import specimen
from omop_emb.mapping.terms.words import normal

_COLUMN = {name: column for column, name in enumerate(STATIC)}
_MEMORY = PAIR.index("memory lexical")
_VOTES = slice(PAIR.index("memory nearness"), PAIR.index("memory nearness") + 1 + len(HABITS))
# OMOP numbers concepts as they come in: what its first sources were mapped to is below 500,000, its first
# load below 4,500,000, LOINC's first names from 3,000,000 on. What was needed first is needed most.
_OLDEST, _FIRST_LOAD = 500_000, 4_500_000
_FIRST_LOINC = (3_000_000, 3_040_000)


@dataclass(frozen=True, eq=False)
class Scored:
    """Features of a block's candidates and what was matched.

    Attributes:
        features: (p, len(NAMES)) float32.
        text: (p,) text row that fitted best.
        form: (p,) place of the form, within its query, that fitted best.
        dense, lexical: (p,) best cosine over forms and texts.
        memory: (p,) place of the nearest approved name in the memory, -1 for none.
    """

    features: Floats
    text: Ints
    form: Ints
    dense: Floats
    lexical: Floats
    memory: Ints


class Features:
    """Computes features against one vocabulary, one space's vectors and one memory."""

    def __init__(
        self, lexical: LexicalIndex, facts: Facts, dense: DenseIndex | None, memory: MemoryIndex | None = None
    ) -> None:
        self.lexical, self.facts, self.dense, self.memory = lexical, facts, dense, memory
        words, lexicon = lexical.words, lexical.lexicon
        numeric = np.zeros(len(words.idf), np.float32)
        numeric[[place for word, place in words.number.items() if word[0].isdigit()]] = 1
        numbers = np.asarray((lexical.word_rows.sign() @ numeric), np.float32).ravel()
        own = np.flatnonzero(lexicon.text_kind == 0)
        self._concept_numbers = numbers[own]
        self._number_words = lexical.word_rows[own].sign().multiply(numeric).tocsr()
        self._neighbours = Neighbours(memory, lexicon, facts) if memory is not None and len(memory) else None
        self._analytes = Analytes(lexical, facts)
        self._vocabulary = _places(lexicon.vocabularies, VOCABULARIES)
        self._domain = _places(lexicon.domains, DOMAINS)
        ids = lexicon.concept_id
        loinc = np.array([name == "LOINC" for name in lexicon.vocabularies], bool)[lexicon.vocabulary]
        self._ages = {
            "oldest concepts": ids < _OLDEST,
            "early concept": (ids >= _OLDEST) & (ids < _FIRST_LOAD),
            "early LOINC": loinc & (ids >= _FIRST_LOINC[0]) & (ids < _FIRST_LOINC[1]),
        }

    def score(self, queries: Sequence[Query], found: Found) -> Scored:
        """Features of every candidate that was found."""
        count = len(found.concept)
        table = np.zeros((count, len(NAMES)), np.float32)
        pair, static = table[:, : len(PAIR)], table[:, len(PAIR) :]
        text, form = np.zeros(count, np.int64), np.zeros(count, np.int64)
        dense, lexical = np.zeros(count, np.float32), np.zeros(count, np.float32)
        remembered = np.full(count, -1, np.int64)
        words, word_total = self.lexical.words.encode([one for query in queries for one in query.normal])
        original_hash = hashes([query.forms[0].text for query in queries])
        votes = self._neighbours.nearest(queries, found) if self._neighbours is not None else None
        for place, query in enumerate(queries):
            span = slice(int(found.first[place]), int(found.first[place + 1]))
            if span.start == span.stop:
                continue
            rows = slice(int(found.form_first[place]), int(found.form_first[place + 1]))
            forms = Forms(
                found.form_grams[rows],  # type: ignore[index]  # a csr_matrix, which scipy does not type
                words[rows].T.toarray(),
                word_total[rows],
                found.form_hash[rows],
                None if found.form_vectors is None else found.form_vectors[rows],
                original_hash[place],
            )
            concepts = found.concept[span]
            near = similarity.describe(self.lexical, self.dense, query, forms, concepts, pair[span])
            text[span], form[span], dense[span], lexical[span] = (
                near.text,
                near.form,
                near.dense,
                near.lexical,
            )
            remembered[span] = self._remember(query, forms, concepts, pair[span, _MEMORY : _MEMORY + 4])
            if votes is not None and self._neighbours is not None:
                self._neighbours.describe(votes, place, concepts, pair[span, _VOTES])
            self._say(query, forms, concepts, found.by[span], static[span])
        return Scored(table, text, form, dense, lexical, remembered)

    def _remember(self, query: Query, forms: Forms, concepts: Ints, out: Floats) -> Ints:
        """Write the features of the memory; the place of each candidate's nearest approved name, or -1."""
        names = np.full(len(concepts), -1, np.int64)
        memory = self.memory
        if memory is None or not len(memory):
            return names
        place, name = memory.of(concepts, query.hidden_memory)
        if not len(place):
            return names
        lexical = np.asarray((memory.rows[name] @ forms.grams.T.toarray()).max(axis=1)).ravel()
        np.maximum.at(out[:, 0], place, lexical)
        if memory.vectors is not None and forms.vectors is not None:
            dense = (memory.vectors[name] @ forms.vectors.T).max(axis=1)
            np.maximum.at(out[:, 1], place, dense)
        # the term as it stands: a form of it may be another term
        alike = (memory.hash[name] == forms.hash[0]).astype(np.float32)
        np.maximum.at(out[:, 2], place, alike)
        out[:, 3] = np.log1p(np.bincount(place, minlength=len(concepts)))
        order = np.argsort(lexical, kind="stable")  # the last written is the nearest
        names[place[order]] = name[order]
        return names

    def _say(
        self, query: Query, forms: Forms, concepts: Ints, by: npt.NDArray[np.uint8], out: Floats
    ) -> None:
        """Write what the term and the candidates' names say, and what is known of the candidates."""
        facts, original = self.facts, query.forms[0].text

        def put(name: str, values: npt.NDArray[np.generic] | float) -> None:
            out[:, _COLUMN[name]] = values

        put("found by exact", (by & EXACT) > 0)
        put("found by dense and lexical", (by & (DENSE | LEXICAL)) == DENSE | LEXICAL)
        unit = (by & UNIT) > 0
        put("same unit", unit)
        put("same unit, alone", unit & (unit.sum() == 1))
        words = forms.words[:, 0]
        self._count(query, words, concepts, put)
        if (facts.level[concepts] >= 0).any():
            drug_features.describe(facts, original, words, concepts, put)
        self._analytes.describe(concepts, forms.words, forms.word_total, put)
        laboratory_features.describe(facts, original, query.normal[0], concepts, put)
        said = contrasts.bits(query.normal[0])
        laboratory = specimen(original)
        if laboratory is not None:
            said |= contrasts.bits(normal(laboratory[1]))
        laboratory_features.contrast(facts, said, concepts, put)
        self._know(query, concepts, put, out)

    def _count(self, query: Query, words: Floats, concepts: Ints, put: Put) -> None:
        """Numbers that one of both lacks, and which one has more words."""
        common = self._number_words[concepts] @ words
        said = query.normal[0].split()
        asked = sum(1 for word in set(said) if word[0].isdigit())
        put("numbers of the term missing", (asked - common) / max(asked, 1))
        put("numbers of the concept extra", np.minimum(self._concept_numbers[concepts] - common, 3))
        length = np.log(np.maximum(self.facts.words[concepts], 1) / max(1, len(said)))
        put("concept longer", np.maximum(length, 0))
        put("concept shorter", np.maximum(-length, 0))

    def _know(self, query: Query, concepts: Ints, put: Put, out: Floats) -> None:
        """Vocabulary, domain, and signs of how much a concept is used."""
        lexicon = self.lexical.lexicon
        sources = self.facts.sources[concepts]
        if query.hidden:
            own = lexicon.text_concept[list(query.hidden)]
            sources = sources - (concepts[:, None] == own[None, :]).sum(axis=1)
        put("non-standard sources", np.log1p(sources))
        for name, is_so in self._ages.items():
            put(name, is_so[concepts])
        vocabulary = self._vocabulary[lexicon.vocabulary[concepts]]
        domain = self._domain[lexicon.domain[concepts]]
        rows = np.arange(len(concepts))
        base = _COLUMN[f"vocabulary {VOCABULARIES[0]}"]
        out[rows[vocabulary >= 0], base + vocabulary[vocabulary >= 0]] = 1
        several = query.domains is None or len(query.domains) > 1
        base = _COLUMN[f"domain {DOMAINS[0]}, none asked for" if several else f"domain {DOMAINS[0]}"]
        out[rows[domain >= 0], base + domain[domain >= 0]] = 1


def _places(labels: Sequence[str], known: Sequence[str]) -> Ints:
    """(labels,) place of each among those that have a feature, -1 for another."""
    return np.array([known.index(label) if label in known else -1 for label in labels], np.int64)
