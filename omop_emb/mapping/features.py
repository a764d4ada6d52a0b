"""Explainable features of a term and a candidate, for many candidates at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from omop_emb.mapping import contrasts, drugs
from omop_emb.mapping.candidates import DENSE, EXACT, LEXICAL, UNIT, Found, Query
from omop_emb.mapping.dense import DenseIndex
from omop_emb.mapping.facts import LEVELS, PROPERTIES, Facts
from omop_emb.mapping.lexical import LexicalIndex, hashes
from omop_emb.mapping.lexicon import KINDS
from omop_emb.mapping.memory import MemoryIndex
from omop_emb.mapping.normalise import specimen
from omop_emb.mapping.words import normal

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_PARTS = ("ingredient", "first part", "last part", "in brackets")
GROUPS = ("original", "rewritten", "part")
"""Forms are compared in three groups: the term, the same in other words, and a part of it."""

_VOCABULARIES = (
    "SNOMED",
    "LOINC",
    "RxNorm",
    "RxNorm Extension",
    "UCUM",
    "HCPCS",
    "ICD10PCS",
    "ICD9Proc",
    "ICDO3",
    "OMOP Extension",
    "OMOP Genomic",
    "Cancer Modifier",
    "NAACCR",
    "ATC",
    "CVX",
)
_DOMAINS = (
    "Condition",
    "Drug",
    "Measurement",
    "Procedure",
    "Observation",
    "Unit",
    "Device",
    "Meas Value",
    "Spec Anatomic Site",
    "Specimen",
)

_PAIR = (
    *(f"dense {group}" for group in GROUPS),
    *(f"lexical {group}" for group in GROUPS),
    *(f"term words found, {group}" for group in GROUPS),
    *(f"concept words found, {group}" for group in GROUPS),
    *(f"reads alike, {group}" for group in GROUPS),
    "same letters",
    *(f"matched {kind}" for kind in KINDS[1:]),
    "dense rank",
    "lexical rank",
    "joint rank",
    "memory lexical",
    "memory dense",
    "memory exact",
    "joint score",
    "dense squared",
    "lexical squared",
)
_STATIC = (
    "found by exact",
    "found by dense and lexical",
    "same unit",
    "same unit, alone",
    "numbers of the term missing",
    "numbers of the concept extra",
    "concept longer",
    "concept shorter",
    "strengths agree",
    "strengths differ",
    "strength only in the concept",
    "strength only in the term",
    "forms agree",
    "forms differ",
    "form only in the concept",
    "form only in the term",
    "brand in the term",
    "brand not in the term",
    "more ingredients than the term",
    "box",
    "supplier",
    "quantity",
    *(f"drug: {level}" for level in LEVELS),
    *(f"drug: {level}, term has a strength" for level in LEVELS),
    *(f"property {name}" for name in (*PROPERTIES, "other")),
    "method not in the term",
    "timing stated",
    "property with units fits",
    *(f"{group} differs" for group in contrasts.groups()),
    *(f"{group} only in the concept" for group in contrasts.groups()),
    *(f"{group} only in the term" for group in contrasts.groups()),
    "specimen agrees",
    "serum or plasma by default",
    "blood by default",
    "non-standard sources",
    *(f"vocabulary {name}" for name in _VOCABULARIES),
    *(f"domain {name}" for name in _DOMAINS),
    *(f"domain {name}, none asked for" for name in _DOMAINS),
)
NAMES: tuple[str, ...] = (*_PAIR, *_STATIC)
"""Every feature, in the order of the columns."""


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


def _reciprocal_rank(scores: Floats) -> Floats:
    order = np.argsort(-scores, kind="stable")
    rank = np.empty(len(scores), np.float32)
    rank[order] = np.arange(1, len(scores) + 1, dtype=np.float32)
    return np.asarray(1 / rank, np.float32)


class Features:
    """Computes features against one vocabulary, one space's vectors and one memory."""

    def __init__(
        self, lexical: LexicalIndex, facts: Facts, dense: DenseIndex | None, memory: MemoryIndex | None = None
    ) -> None:
        self.lexical, self.facts, self.dense, self.memory = lexical, facts, dense, memory
        words = lexical.words
        numeric = np.zeros(len(words.idf), np.float32)
        numeric[[place for word, place in words.number.items() if word[0].isdigit()]] = 1
        self._numeric = numeric
        self._numbers = np.asarray((lexical.word_rows.sign() @ numeric), np.float32).ravel()
        own = lexical.lexicon.text_kind == 0
        self._concept_numbers = self._numbers[own]
        self._name_text = np.flatnonzero(own)
        self._concept_words = lexical.word_rows[self._name_text]
        lexicon = lexical.lexicon
        self._vocabulary = np.array(
            [_VOCABULARIES.index(name) if name in _VOCABULARIES else -1 for name in lexicon.vocabularies]
        )
        self._domain = np.array(
            [_DOMAINS.index(name) if name in _DOMAINS else -1 for name in lexicon.domains]
        )

    def score(self, queries: Sequence[Query], found: Found) -> Scored:
        """Features of every candidate that was found."""
        count = len(found.concept)
        table = np.zeros((count, len(NAMES)), np.float32)
        pair, static = table[:, : len(_PAIR)], table[:, len(_PAIR) :]
        text, form = np.zeros(count, np.int64), np.zeros(count, np.int64)
        near = np.zeros((count, 2), np.float32)
        remembered = np.full(count, -1, np.int64)
        texts = [one for query in queries for one in query.normal]
        word_rows, word_total = self.lexical.words.encode(texts)
        original_hash = hashes([query.forms[0].text for query in queries])
        for place, query in enumerate(queries):
            start, stop = int(found.first[place]), int(found.first[place + 1])
            if start == stop:
                continue
            forms = slice(int(found.form_first[place]), int(found.form_first[place + 1]))
            self._pair(
                query,
                found,
                slice(start, stop),
                forms,
                word_rows[forms],
                word_total[forms],
                original_hash[place],
                pair,
                text,
                form,
                near,
                remembered,
            )
            self._static(query, found, slice(start, stop), word_rows[forms], static[start:stop])
        return Scored(table, text, form, near[:, 0], near[:, 1], remembered)

    def _pair(
        self,
        query: Query,
        found: Found,
        span: slice,
        forms: slice,
        words: sparse.csr_matrix,
        word_total: Floats,
        exact_hash: np.uint64,
        out: Floats,
        text_out: Ints,
        form_out: Ints,
        near: Floats,
        remembered: Ints,
    ) -> None:
        lexical = self.lexical
        concepts = found.concept[span]
        first, last = lexical.lexicon.first_text[concepts], lexical.lexicon.first_text[concepts + 1]
        sizes = last - first
        begin = np.cumsum(sizes) - sizes
        rows = np.repeat(first - begin, sizes) + np.arange(int(sizes.sum()))
        grams = found.form_grams[forms]  # type: ignore[index]  # a csr_matrix, which scipy does not type
        lexical_scores = (lexical.gram_rows[rows] @ grams.T.toarray()).T
        shared = (lexical.word_rows[rows] @ words.T.toarray()).T
        in_term = shared / np.maximum(word_total[:, None], 1e-6)
        in_text = shared / np.maximum(lexical.word_total[rows][None, :], 1e-6)
        alike = (lexical.text_hash[rows][None, :] == found.form_hash[forms][:, None]).astype(np.float32)
        same_letters = lexical.exact_hash[rows] == exact_hash
        if query.hidden:
            unseen = np.isin(rows, list(query.hidden))
            same_letters &= ~unseen
            for scores in (lexical_scores, in_term, in_text, alike):
                scores[:, unseen] = 0
        if self.dense is not None and found.form_vectors is not None:
            dense = self.dense.similarity(found.form_vectors[forms], concepts)
        else:
            dense = np.zeros((len(query.forms), len(concepts)), np.float32)
        groups = self._groups(query)
        # the text of a concept that fits best, over all forms, is the one that is shown and compared
        joint = (lexical_scores + alike).max(axis=0)
        order = np.lexsort((rows, -joint, np.repeat(np.arange(len(concepts)), sizes)))
        best_text = rows[order[begin]]
        table = out[span]
        for number, members in enumerate(groups):
            table[:, number] = dense[members].max(axis=0)
            table[:, 3 + number] = np.maximum.reduceat(lexical_scores[members].max(axis=0), begin)
            table[:, 6 + number] = np.maximum.reduceat(in_term[members].max(axis=0), begin)
            table[:, 9 + number] = np.maximum.reduceat(in_text[members].max(axis=0), begin)
            table[:, 12 + number] = np.maximum.reduceat(alike[members].max(axis=0), begin)
        table[:, 15] = np.maximum.reduceat(same_letters.astype(np.float32), begin)
        kinds = lexical.lexicon.text_kind[best_text]
        for kind in range(1, len(KINDS)):
            table[:, 15 + kind] = kinds == kind
        at = 15 + len(KINDS)
        table[:, at] = _reciprocal_rank(table[:, 0])
        table[:, at + 1] = _reciprocal_rank(table[:, 3])
        table[:, at + 2] = _reciprocal_rank(table[:, :6].sum(axis=1))
        table[:, at + 6] = 0.6 * table[:, :3].max(axis=1) + 0.4 * table[:, 3:6].max(axis=1)
        table[:, at + 7] = table[:, 0] ** 2
        table[:, at + 8] = table[:, 3] ** 2
        self._remember(query, found, concepts, forms, table[:, at + 3 : at + 6], remembered[span])
        text_out[span] = best_text
        per_form = np.maximum.reduceat(lexical_scores + 0.5 * alike, begin, axis=1) + dense
        # the term itself unless another form fits clearly better
        per_form[0] += 1e-3
        form_out[span] = per_form.argmax(axis=0)
        near[span, 0] = dense.max(axis=0)
        near[span, 1] = np.maximum.reduceat(lexical_scores.max(axis=0), begin)

    @staticmethod
    def _groups(query: Query) -> list[list[int]]:
        """Places of the forms of each group; an empty group is the group before it."""
        rewritten = [n for n, form in enumerate(query.forms) if n and form.rule not in _PARTS] or [0]
        part = [n for n, form in enumerate(query.forms) if form.rule in _PARTS] or rewritten
        return [[0], rewritten, part]

    def _remember(
        self, query: Query, found: Found, concepts: Ints, forms: slice, out: Floats, names: Ints
    ) -> None:
        memory = self.memory
        if memory is None or not len(memory):
            return
        place, name = memory.of(concepts, query.hidden_memory)
        if not len(place):
            return
        grams = found.form_grams[forms]  # type: ignore[index]  # as above
        lexical = np.asarray((memory.rows[name] @ grams.T.toarray()).max(axis=1)).ravel()
        np.maximum.at(out[:, 0], place, lexical)
        if memory.vectors is not None and found.form_vectors is not None:
            dense = (memory.vectors[name] @ found.form_vectors[forms].T).max(axis=1)
            np.maximum.at(out[:, 1], place, dense)
        # the term as it stands: a form of it may be another term
        alike = (memory.hash[name] == found.form_hash[forms.start]).astype(np.float32)
        np.maximum.at(out[:, 2], place, alike)
        order = np.argsort(lexical, kind="stable")  # the last written is the nearest
        names[place[order]] = name[order]

    def _static(self, query: Query, found: Found, span: slice, words: sparse.csr_matrix, out: Floats) -> None:
        facts, concepts, by = self.facts, found.concept[span], found.by[span]
        lexicon = self.lexical.lexicon
        original = query.forms[0].text
        said = {name: column for column, name in enumerate(_STATIC)}

        def put(name: str, values: npt.NDArray[np.generic] | float) -> None:
            out[:, said[name]] = values

        put("found by exact", (by & EXACT) > 0)
        put("found by dense and lexical", (by & (DENSE | LEXICAL)) == DENSE | LEXICAL)
        unit = (by & UNIT) > 0
        put("same unit", unit)
        put("same unit, alone", unit & (unit.sum() == 1))

        numeric = words[0].multiply(self._numeric)
        shared = np.asarray(self._concept_words[concepts].sign() @ numeric.T.toarray()).ravel()
        asked = sum(1 for word in set(query.normal[0].split()) if word[0].isdigit())
        put("numbers of the term missing", (asked - shared) / max(asked, 1))
        extra = self._concept_numbers[concepts] - shared
        put("numbers of the concept extra", np.minimum(extra, 3))
        length = np.log(np.maximum(facts.words[concepts], 1) / max(1, len(query.normal[0].split())))
        put("concept longer", np.maximum(length, 0))
        put("concept shorter", np.maximum(-length, 0))

        level = facts.level[concepts]
        if (level >= 0).any():
            self._drug(query, concepts, level, words, put)
        prop = facts.property[concepts]
        for value in np.unique(prop[prop >= 0]):
            put(f"property {(*PROPERTIES, 'other')[value]}", prop == value)
        term_bits = contrasts.bits(query.normal[0])
        laboratory = specimen(original)
        if laboratory is not None:
            term_bits |= contrasts.bits(normal(laboratory[1]))
        put("method not in the term", facts.method[concepts] & ("by" not in query.normal[0].split()))
        put("timing stated", facts.timing[concepts])
        self._contrast(term_bits, facts.contrast[concepts], prop >= 0, put)
        sources = facts.sources[concepts]
        if query.hidden:
            own = lexicon.text_concept[list(query.hidden)]
            sources = sources - (concepts[:, None] == own[None, :]).sum(axis=1)
        put("non-standard sources", np.log1p(sources))

        vocabulary = self._vocabulary[lexicon.vocabulary[concepts]]
        domain = self._domain[lexicon.domain[concepts]]
        base = said[f"vocabulary {_VOCABULARIES[0]}"]
        rows = np.arange(len(concepts))
        out[rows[vocabulary >= 0], base + vocabulary[vocabulary >= 0]] = 1
        several = query.domains is None or len(query.domains) > 1
        base = said[f"domain {_DOMAINS[0]}, none asked for" if several else f"domain {_DOMAINS[0]}"]
        out[rows[domain >= 0], base + domain[domain >= 0]] = 1

    def _drug(
        self, query: Query, concepts: Ints, level: npt.NDArray[np.int8], words: sparse.csr_matrix, put: object
    ) -> None:
        assert callable(put)  # noqa: S101 - tells the type of a local function
        facts, original = self.facts, query.forms[0].text
        drug = level >= 0
        strengths = drugs.strengths(original)
        known = [facts.strength_column[value] for value in strengths if value in facts.strength_column]
        wanted = np.zeros(facts.strengths.shape[1], np.float32)
        wanted[known] = 1
        states = facts.strengths[concepts]
        agreeing = states @ wanted
        stated = np.asarray(states.sum(axis=1)).ravel() > 0
        asks = bool(strengths)
        put("strengths agree", agreeing > 0)
        put("strengths differ", stated & asks & (agreeing == 0))
        put("strength only in the concept", stated & (not asks))
        put("strength only in the term", drug & ~stated & asks)
        asked = np.uint64(sum(facts.form_bit.get(form, 0) for form in drugs.dose_forms(original)))
        forms = facts.forms[concepts]
        put("forms agree", (forms & asked) > 0)
        put("forms differ", (forms > 0) & (asked > 0) & ((forms & asked) == 0))
        put("form only in the concept", (forms > 0) & (asked == 0))
        put("form only in the term", drug & (forms == 0) & (asked > 0))
        brand_words = facts.brand_words[concepts]
        hit = np.asarray(brand_words @ words[0].T.toarray()).ravel()
        all_words = np.asarray(brand_words.sum(axis=1)).ravel()
        in_term = facts.brand[concepts] & (hit >= all_words) & (all_words > 0)
        put("brand in the term", in_term)
        put("brand not in the term", facts.brand[concepts] & ~in_term)
        listed = 1 + original.count("/") + original.count("+") + original.lower().count(" and ")
        put("more ingredients than the term", np.clip(facts.parts[concepts] - listed, 0, 3) * drug)
        put("box", facts.box[concepts])
        put("supplier", facts.supplier[concepts])
        put("quantity", facts.quantity[concepts])
        for number, name in enumerate(LEVELS):
            put(f"drug: {name}", level == number)
            put(f"drug: {name}, term has a strength", (level == number) & asks)

    @staticmethod
    def _contrast(
        term: int, concepts: npt.NDArray[np.uint64], loinc: npt.NDArray[np.bool_], put: object
    ) -> None:
        assert callable(put)  # noqa: S101 - as above
        for group, mask in contrasts.masks().items():
            ours = np.uint64(term & mask)
            theirs = concepts & np.uint64(mask)
            both = theirs & ours
            put(f"{group} differs", (theirs > 0) & (ours > 0) & (both == 0))
            put(f"{group} only in the concept", (theirs > 0) & (ours == 0))
            put(f"{group} only in the term", (theirs == 0) & (ours > 0))
            if group == "specimen":
                values = contrasts.groups()[group]
                put("specimen agrees", both > 0)
                put(
                    "serum or plasma by default",
                    loinc & (ours == 0) & ((theirs & np.uint64(values["serum"])) > 0),
                )
                put("blood by default", loinc & (ours == 0) & ((theirs & np.uint64(values["blood"])) > 0))
