"""Memory retriever: concepts that a site has approved for names similar to a variant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

from omop_emb.arrays import Floats, Ints
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex, expand_spans, find_hashes, hash_texts
from omop_emb.mapping.retrieval.queries import QueryBatch
from omop_emb.mapping.terms.text_key import text_key
from omop_emb.mapping.terms.words import normalise
from omop_emb.search.topk import largest_of_rows

_BLOCK_QUERIES = 1024


class MemoryIndex:
    """Approved source names and the concepts that they were mapped to; a Retriever.

    Args:
        lexical: the vocabulary's index, whose grams are used.
        names: (m,) approved source names; one with several targets is listed several times.
        concepts: (m,) concept rows.
        vectors: (m, dimensions) unit rows of the names; None without a dense index.
        codes: (m,) source codes of the names, "" for none; None: none has one.
        approved_ids: (m,) concept ids as approved, possibly non-standard now; None: as `concepts`.

    Attributes:
        concept: (m,) concept rows.
        hash: (m,) hashes of the names' text keys.
        gram_rows: (m, grams) TF-IDF rows.
        gram_columns: (grams, m) the same, transposed.
    """

    uses_vectors = True

    def __init__(
        self,
        lexical: LexicalIndex,
        names: Sequence[str],
        concepts: Ints,
        vectors: Floats | None = None,
        codes: Sequence[str] | None = None,
        approved_ids: Sequence[int] | None = None,
    ) -> None:
        self._lexicon, self.names = lexical.lexicon, list(names)
        self.codes = list(codes) if codes is not None else [""] * len(self.names)
        texts = [normalise(name) for name in names]
        self.concept = np.asarray(concepts, np.int64)
        self.approved_ids = (
            np.asarray(approved_ids, np.int64)
            if approved_ids is not None
            else lexical.lexicon.concept_id[self.concept]
        )
        self.hash = hash_texts([text_key(name) for name in names])
        self._hash_order = np.argsort(self.hash, kind="stable")
        self.gram_rows = lexical.encode(texts)
        self.gram_columns = self.gram_rows.T.tocsr()
        self.vectors = vectors
        self._by_concept = np.argsort(self.concept, kind="stable")

    def __len__(self) -> int:
        return len(self.names)

    def find(self, batch: QueryBatch) -> tuple[Ints, Ints]:
        """(variant, concept row) of the approved names most similar to each variant."""
        variant, name = self.search(batch.grams, batch.key_hashes, batch.vectors)
        variant, name = batch.visible(variant, name, [query.hidden_names for query in batch.queries])
        return batch.permitted(self._lexicon, variant, self.concept[name])

    def search(
        self, grams: sparse.csr_matrix, hashes: npt.NDArray[np.uint64], vectors: Floats | None, k: int = 10
    ) -> tuple[Ints, Ints]:
        """(query, name) of all names with the same text key, and of the k nearest by grams and by vectors."""
        # By hash too, because jargon may have no 3-gram that the vocabulary has.
        equal, position = find_hashes(self.hash[self._hash_order], hashes)
        similar, name, _ = largest_of_rows((grams @ self.gram_columns).tocsr(), k)
        queries, names = [equal, similar], [self._hash_order[position], name]
        if vectors is not None and self.vectors is not None:
            size = min(k, len(self))
            for start in range(0, len(vectors), _BLOCK_QUERIES):
                scores = vectors[start : start + _BLOCK_QUERIES] @ self.vectors.T
                top = np.argpartition(-scores, size - 1, axis=1)[:, :size]
                queries.append(np.repeat(np.arange(len(scores)) + start, size))
                names.append(top.ravel())
        return np.concatenate(queries), np.concatenate(names)

    def names_of(self, concepts: Ints, hidden: frozenset[int] = frozenset()) -> tuple[Ints, Ints]:
        """(index into concepts, name) of every approved name of the given concepts that is not hidden."""
        ordered = self.concept[self._by_concept]
        start = np.searchsorted(ordered, concepts)
        sizes = np.searchsorted(ordered, concepts, "right") - start
        index, position = expand_spans(start, sizes)
        name = self._by_concept[position]
        if hidden:
            visible = ~np.isin(name, list(hidden))
            index, name = index[visible], name[visible]
        return index, name
