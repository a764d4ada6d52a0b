"""Completion index: a lexicon's texts by the beginning of each of their words, for search as one types."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Ints, Mask
from omop_emb.mapping.retrieval import array_cache
from omop_emb.mapping.retrieval.lexicon import TEXT_KINDS, Lexicon
from omop_emb.mapping.terms.abbreviations import expand_abbreviations
from omop_emb.mapping.terms.words import LETTERS, american, fold

_WORD = re.compile(f"[{LETTERS}]+")
_KEY_BYTES = 24  # what follows is compared text by text
_MAX_STARTS = 12  # words of a text by whose beginning it is found
_IS_SHOWN = np.array([kind != "code" for kind in TEXT_KINDS])
_NAME = TEXT_KINDS.index("name")
_LONGEST_SYNONYM = 80  # bytes; longer ones are lists of words, as LOINC has
_READINGS = 3  # concepts that are shown for the readings of an abbreviation
_CHUNK_TEXTS = 20_000


def completion_key(text: str) -> str:
    """A text's words, folded, with single spaces; a space at the end where the last word is finished."""
    folded = fold(text)
    words = " ".join(_WORD.findall(folded))
    return f"{words} " if words and not _WORD.match(folded[-1]) else words


class CompletionIndex:
    """The words' beginnings of all texts, sorted.

    Attributes:
        keys: (n,) the first bytes from each beginning on, ascending.
        text: (n,) the text row of each.
        is_first: (n,) whether the text itself begins there.
        order: (t,) the rank of each text among all: short texts of concepts with many names first.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        is_list = (lexicon.text_kind != _NAME) & (np.diff(lexicon.texts.offsets) > _LONGEST_SYNONYM)
        shown = np.flatnonzero(_IS_SHOWN[lexicon.text_kind] & ~is_list)
        chunks = [(np.zeros(0, f"S{_KEY_BYTES}"), np.zeros(0, np.int32), np.zeros(0, bool))]
        for start in range(0, len(shown), _CHUNK_TEXTS):
            chunks.append(_beginnings(lexicon, shown[start : start + _CHUNK_TEXTS].tolist()))
        keys, text, is_first = (np.concatenate(column) for column in zip(*chunks, strict=True))
        by_key = np.argsort(keys, kind="stable")
        self.keys, self.text, self.is_first = keys[by_key], text[by_key], is_first[by_key]
        self.order = _order(lexicon)

    def find(self, lexicon: Lexicon, prefix: str, k: int, passing: Mask | None = None) -> list[int]:
        """The text rows of at most k concepts, each with the best of its texts that begin so, best first.

        The last of them begin as the readings of an abbreviation, if the prefix is one.

        passing: (c,) the concepts that may be found; None: all.
        """
        key = completion_key(prefix)
        readings = list(map(completion_key, expand_abbreviations(prefix.strip())))
        direct = self._concepts(lexicon, [key, american(key), key.rstrip()], k, passing)
        expanded = self._concepts(lexicon, readings, min(k, _READINGS), passing)
        rest = {concept: text for concept, text in expanded.items() if concept not in direct}
        return [*list(direct.values())[: k - len(rest)], *rest.values()]

    def _concepts(
        self, lexicon: Lexicon, keys: Sequence[str], k: int, passing: Mask | None
    ) -> dict[int, int]:
        """Concept row -> its best text row, of at most k concepts."""
        found: dict[int, int] = {}
        for key in dict.fromkeys(keys):
            if len(found) < k:
                for text in self._texts(lexicon, key, k, passing):
                    found.setdefault(int(lexicon.text_concept[text]), text)
        return dict(islice(found.items(), k))

    def _texts(self, lexicon: Lexicon, key: str, k: int, passing: Mask | None) -> Iterator[int]:
        wanted = key.encode("utf-8", "surrogatepass")
        if not wanted.strip():
            return
        start = np.searchsorted(self.keys, wanted[:_KEY_BYTES])
        stop = np.searchsorted(self.keys, wanted[: _KEY_BYTES - 1] + b"\xff")
        if len(wanted) >= _KEY_BYTES:
            stop = np.searchsorted(self.keys, wanted[:_KEY_BYTES], "right")
        text, is_first = self.text[start:stop], self.is_first[start:stop]
        if passing is not None:
            passes = passing[lexicon.text_concept[text]]
            text, is_first = text[passes], is_first[passes]
        rank = self.order[text] + np.where(is_first, 0, len(self.order))
        concepts: set[int] = set()
        size = 8 * k
        done = 0
        while len(concepts) < k and done < len(rank):
            best = _smallest(rank, size)
            for number in best[done:].tolist():
                row = int(text[number])
                if len(wanted) > _KEY_BYTES and f" {key}" not in f" {completion_key(lexicon.texts[row])} ":
                    continue
                concepts.add(int(lexicon.text_concept[row]))
                yield row
            done, size = len(best), 8 * size


def open_completion_index(lexicon: Lexicon, state: str) -> CompletionIndex:
    """The index of a lexicon, from the cache or built and cached; state: identifies the lexicon."""
    key = array_cache.cache_key("completions", state)
    cached: CompletionIndex | None = array_cache.load(key)
    return array_cache.store(key, CompletionIndex(lexicon)) if cached is None else cached


def _beginnings(
    lexicon: Lexicon, rows: Sequence[int]
) -> tuple[npt.NDArray[np.bytes_], npt.NDArray[np.int32], Mask]:
    """(key, text row, whether the text itself begins there) of every word of some texts."""
    keys: list[bytes] = []
    text: list[int] = []
    is_first: list[bool] = []
    for row in rows:
        key = completion_key(lexicon.texts[row]).rstrip()
        for number, start in enumerate(_starts(key)):
            keys.append(key[start : start + _KEY_BYTES].encode("utf-8", "surrogatepass")[:_KEY_BYTES])
            text.append(row)
            is_first.append(number == 0)
    return np.array(keys, f"S{_KEY_BYTES}"), np.array(text, np.int32), np.array(is_first, bool)


def _starts(key: str) -> list[int]:
    """Where the words of a key begin."""
    return [0, *(found.end() for found in re.finditer(" ", key))][:_MAX_STARTS] if key else []


def _smallest(values: Ints, size: int) -> Ints:
    """The positions of the smallest values, ascending."""
    if size >= len(values):
        return np.argsort(values, kind="stable")
    part = np.argpartition(values, size)[:size]
    return part[np.argsort(values[part], kind="stable")]


def _order(lexicon: Lexicon) -> npt.NDArray[np.int32]:
    """(t,) the rank of each text: a short one first, and before that names that many sources use."""
    length = np.diff(lexicon.texts.offsets)
    texts_of_concept = np.diff(lexicon.text_offsets)[lexicon.text_concept]
    # A concept with four times as many names is worth as much as a text that is four letters shorter.
    cost = length - 2 * np.log2(texts_of_concept) + lexicon.text_kind
    order = np.empty(len(cost), np.int32)
    order[np.lexsort((lexicon.text_kind, cost))] = np.arange(len(cost), dtype=np.int32)
    return order
