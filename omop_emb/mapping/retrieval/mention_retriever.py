"""Mention retriever: concepts with a name that is part of a longer term, such as the drug in an order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from omop_emb.arrays import Ints
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex, hash_texts
from omop_emb.mapping.retrieval.lexicon import NON_STANDARD
from omop_emb.mapping.retrieval.queries import QueryBatch

_MAX_WORDS = 6  # of a phrase
_MIN_LETTERS = 3
_MAX_TEXTS = 30  # equal to a phrase; one with more says little


class MentionRetriever:
    """Finds texts of concepts that are equal to some words in a row of a variant, when normalised."""

    uses_vectors = False

    def __init__(self, index: LexicalIndex) -> None:
        self._index = index

    def find(self, batch: QueryBatch) -> tuple[Ints, Ints]:
        """(variant, concept row) of every text that a variant mentions; nothing for units."""
        mentions = [
            (variant, phrase)
            for query, start in zip(batch.queries, batch.offsets.tolist(), strict=False)
            if query.domains != ("Unit",)
            for variant, text in enumerate(query.normal, start)
            for phrase in phrases(text)
        ]
        owner = np.array([variant for variant, _ in mentions], np.int64)
        lexicon = self._index.lexicon
        mention, text = self._index.find_equal(hash_texts([phrase for _, phrase in mentions]))
        chosen = np.bincount(mention, minlength=len(mentions))[mention] <= _MAX_TEXTS
        chosen &= lexicon.text_kind[text] != NON_STANDARD
        return batch.permitted(
            lexicon, owner[mention[chosen]], lexicon.text_concept[text[chosen]].astype(np.int64)
        )


def phrases(text: str) -> Iterator[str]:
    """The words in a row of a normal text, except all of them."""
    words = text.split()
    for start in range(len(words)):
        for stop in range(start + 1, min(start + _MAX_WORDS, len(words)) + 1):
            phrase = " ".join(words[start:stop])
            if stop - start < len(words) and sum(map(str.isalpha, phrase)) >= _MIN_LETTERS:
                yield phrase
