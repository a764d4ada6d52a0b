"""Similar approvals: the approved names of a site that are most similar to a term, nearest first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.queries import Embed, Query, QueryBatch

_MIN_SIMILARITY = 0.5  # of vectors or of 3-grams; less similar names teach nothing


def similar_approvals(
    memory: MemoryIndex, lexical: LexicalIndex, embed: Embed | None, queries: Sequence[Query], count: int
) -> list[list[int]]:
    """Per query, the numbers of the `count` approved names most similar to its original, the nearest first.

    What a query hides is left out, and so are names that say the same for the same concept.
    """
    originals = [Query.of(query.variants[:1], None) for query in queries]
    if not queries or not count:
        return [[] for _ in queries]
    batch = QueryBatch.encode(originals, lexical, embed if memory.vectors is not None else None)
    number, name = memory.search(batch.grams, batch.key_hashes, batch.vectors)
    similarity = np.asarray(batch.grams[number].multiply(memory.gram_rows[name]).sum(axis=1)).ravel()
    if batch.vectors is not None and memory.vectors is not None:
        dense = np.einsum("ij,ij->i", np.asarray(batch.vectors)[number], memory.vectors[name])
        similarity = np.maximum(similarity, dense)
    equal = batch.key_hashes[number] == memory.hash[name]
    similarity = np.where(equal, 1.0, similarity)
    found: list[list[int]] = [[] for _ in queries]
    seen: set[tuple[int, int, int]] = set()
    for position in np.lexsort((name, -similarity)).tolist():
        own, row = int(number[position]), int(name[position])
        key = own, int(memory.hash[row]), int(memory.concept[row])
        is_wanted = similarity[position] >= _MIN_SIMILARITY and row not in queries[own].hidden_names
        if is_wanted and key not in seen and len(found[own]) < count:
            seen.add(key)
            found[own].append(row)
    return found
