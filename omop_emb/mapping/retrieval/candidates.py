"""Candidates of many terms at once: what exact, dense and lexical retrieval found, one row a concept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Floats, Ints, Mask
from omop_emb.mapping.records import Variant
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.concept_attributes import Facts
from omop_emb.mapping.retrieval.dense_index import DenseIndex
from omop_emb.mapping.retrieval.lexical_index import Domains, LexicalIndex, hashes
from omop_emb.mapping.terms.units import unit_key
from omop_emb.mapping.terms.words import normal

Embed = Callable[[list[str]], Floats]

EXACT, DENSE, LEXICAL, UNIT, MEMORY = 1, 2, 4, 8, 16
"""Bits of who found a candidate."""


@dataclass(frozen=True, eq=False)
class Query:
    """A term with its forms, ready to be looked up.

    Attributes:
        forms: the original first.
        normal: each form's normal text.
        domains: domains that its concept may be in; None: any.
        hidden: text rows that must not help to find it: where a term is measured, its own source.
        hidden_memory: rows of the memory that must not either: what was approved for the term itself.
    """

    forms: tuple[Variant, ...]
    normal: tuple[str, ...]
    domains: Domains
    hidden: frozenset[int] = frozenset()
    hidden_memory: frozenset[int] = frozenset()

    @classmethod
    def of(cls, forms: tuple[Variant, ...], domain: str | None) -> Query:
        """From forms and a domain, or several of them separated by "|"."""
        domains = tuple(dict.fromkeys(domain.split("|"))) if domain else None
        return cls(forms, tuple(normal(form.text) for form in forms), domains)


@dataclass(frozen=True, eq=False)
class Found:
    """The candidates of a block of queries.

    Attributes:
        first: (n + 1,) where each query's candidates begin.
        concept: (p,) concept rows, ascending within a query.
        by: (p,) bits of who found it.
        form_first: (n + 1,) where each query's forms begin in the three below.
        form_grams: (f, grams) TF-IDF rows of all forms.
        form_hash: (f,) hash of each form's normal text.
        form_vectors: (f, dimensions) unit rows; None without a dense index.
    """

    first: Ints
    concept: Ints
    by: npt.NDArray[np.uint8]
    form_first: Ints
    form_grams: object
    form_hash: npt.NDArray[np.uint64]
    form_vectors: Floats | None


def find(
    queries: Sequence[Query],
    lexical: LexicalIndex,
    facts: Facts,
    dense: DenseIndex | None,
    embed: Embed | None,
    memory: MemoryIndex | None = None,
    *,
    k: int = 100,
    k_other: int = 40,
) -> Found:
    """The union of what each retriever finds for each form.

    Args:
        queries: terms with their forms.
        lexical: the vocabulary, searchable.
        facts: what its names say.
        dense: a space's vectors; None to do without.
        embed: texts -> (n, dimensions) unit rows, for the role of a query; needed with `dense`.
        memory: what was approved before.
        k: how many concepts each retriever gives for a term's original.
        k_other: how many for each of its other forms.
    """
    texts = [text for query in queries for text in query.normal]
    sizes = np.array([len(query.forms) for query in queries], np.int64)
    form_first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    owner = np.repeat(np.arange(len(queries)), sizes)
    is_original = np.zeros(len(texts), bool)
    is_original[form_first[:-1]] = True
    domains = [queries[place].domains for place in owner.tolist()]
    gram_rows = lexical.encode(texts)
    form_hash = hashes(texts)
    concept_of = lexical.lexicon.text_concept.astype(np.int64)
    found: list[tuple[Ints, Ints, int]] = []

    def keep(form: Ints, concept: Ints, by: int) -> None:
        found.append((owner[form], concept.astype(np.int64), by))

    form, text = _seen(*lexical.exact(form_hash), owner, [query.hidden for query in queries])
    allowed = _in_domains(lexical, concept_of[text], [domains[place] for place in form])
    keep(form[allowed], concept_of[text][allowed], EXACT)
    most = np.where(is_original, k, k_other)
    with ThreadPoolExecutor(1, "omop-emb-dense") as beside:
        nearest = beside.submit(_nearest, queries, domains, most, dense, embed)
        form, text = lexical.search(gram_rows, domains, most)
        form, text = _seen(form, text, owner, [query.hidden for query in queries])
        keep(form, concept_of[text], LEXICAL)
        vectors, form, concept = nearest.result()
        keep(form, concept, DENSE)
    for place, query in enumerate(queries):
        if query.domains is None or "Unit" in query.domains:
            key = unit_key(query.forms[0].text)
            rows = facts.unit_rows.get(key, [])
            if query.hidden:
                rows = [row for row in rows if _has_key(lexical, row, key, query.hidden)]
            if rows and len(rows) <= 20:
                found.append((np.full(len(rows), place), np.array(rows, np.int64), UNIT))
    if memory is not None and len(memory):
        form, name = memory.search(gram_rows, form_hash, vectors)
        form, name = _seen(form, name, owner, [query.hidden_memory for query in queries])
        concept = memory.concept[name]
        allowed = _in_domains(lexical, concept, [domains[place] for place in form])
        keep(form[allowed], concept[allowed], MEMORY)
    return Found(
        *_union(found, len(queries), len(lexical.lexicon.concept_id)),
        form_first,
        gram_rows,
        form_hash,
        vectors,
    )


def _nearest(
    queries: Sequence[Query],
    domains: Sequence[Domains],
    k: Ints,
    dense: DenseIndex | None,
    embed: Embed | None,
) -> tuple[Floats | None, Ints, Ints]:
    """Vectors of all forms, and (form, concept row) of the k concepts nearest to each."""
    if dense is None or embed is None:
        return None, np.zeros(0, np.int64), np.zeros(0, np.int64)
    vectors = embed([form.text for query in queries for form in query.forms])
    return vectors, *dense.search(vectors, domains, k)


def _seen(form: Ints, row: Ints, owner: Ints, hidden: Sequence[frozenset[int]]) -> tuple[Ints, Ints]:
    """(form, row) without the rows that are hidden from the query that owns the form."""
    pairs = [(query, unseen) for query, rows in enumerate(hidden) for unseen in rows]
    if not pairs or not len(row):
        return form, row
    base = max(int(row.max()), max(unseen for _, unseen in pairs)) + 1
    kept = ~np.isin(owner[form] * base + row, [query * base + unseen for query, unseen in pairs])
    return form[kept], row[kept]


def _has_key(lexical: LexicalIndex, concept: int, key: str, hidden: frozenset[int]) -> bool:
    """Whether a unit has a key by a text that is not hidden."""
    lexicon = lexical.lexicon
    texts = range(int(lexicon.first_text[concept]), int(lexicon.first_text[concept + 1]))
    return any(row not in hidden and unit_key(lexicon.texts[row]) == key for row in texts)


def _in_domains(lexical: LexicalIndex, concepts: Ints, limits: Sequence[Domains]) -> Mask:
    names = lexical.lexicon.domains
    codes = lexical.lexicon.domain[concepts]
    return np.array(
        [limit is None or names[code] in limit for code, limit in zip(codes, limits, strict=True)], bool
    )


def _union(
    found: list[tuple[Ints, Ints, int]], queries: int, concepts: int
) -> tuple[Ints, Ints, npt.NDArray[np.uint8]]:
    """(first, concept, by) with one entry for each query and concept."""
    keys = np.concatenate([query * concepts + concept for query, concept, _ in found])
    bits = np.concatenate([np.full(len(query), by, np.uint8) for query, _, by in found])
    order = np.argsort(keys, kind="stable")
    keys, bits = keys[order], bits[order]
    if not len(keys):
        return np.zeros(queries + 1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8)
    start = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    by = np.bitwise_or.reduceat(bits, start)
    query, concept = keys[start] // concepts, keys[start] % concepts
    return np.searchsorted(query, np.arange(queries + 1)).astype(np.int64), concept, by
