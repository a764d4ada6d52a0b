"""Character 3-grams and words as sparse rows of TF-IDF, counted without a loop over letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from omop_emb.arrays import Floats, Ints

# Letters and digits have a place each; Cyrillic, Hangul and so on share the rest by their code points.
_LETTERS = " abcdefghijklmnopqrstuvwxyz0123456789%+./"
_SIZE = 128
_OTHERS = len(_LETTERS)
_TEXTS = 20_000


def _alphabet(points: npt.NDArray[np.uint32]) -> Ints:
    table = np.full(128, -1, np.int64)
    for place, letter in enumerate(_LETTERS):
        table[ord(letter)] = place
    codes = np.where(points < 128, table[np.minimum(points, 127)], -1)
    return np.where(codes < 0, _OTHERS + points % (_SIZE - _OTHERS), codes)


def grams(texts: Sequence[str]) -> sparse.csr_matrix:
    """(n, 128³) counts of the 3-grams of " text " for normal texts; row i belongs to text i."""
    # In pieces: what is needed on the way takes forty times as much memory as the text.
    pieces = [_grams(texts[at : at + _TEXTS]) for at in range(0, len(texts), _TEXTS)]
    if len(pieces) == 1:
        return pieces[0]
    if not pieces:
        return sparse.csr_matrix((0, _SIZE**3), dtype=np.float32)
    return sparse.vstack(pieces, format="csr")


def _grams(texts: Sequence[str]) -> sparse.csr_matrix:
    joined = "".join(f" {text} " for text in texts)
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    lengths = np.fromiter((len(text) + 2 for text in texts), np.int64, len(texts))
    codes = _alphabet(points)
    triples = (codes[:-2] * _SIZE + codes[1:-1]) * _SIZE + codes[2:] if len(codes) > 2 else codes[:0]
    owner = np.repeat(np.arange(len(texts)), lengths)
    inside = owner[:-2] == owner[2:] if len(codes) > 2 else np.zeros(0, bool)
    rows, columns = owner[:-2][inside], triples[inside]
    counts = np.ones(len(rows), np.float32)
    matrix = sparse.csr_matrix((counts, (rows, columns)), shape=(len(texts), _SIZE**3))
    matrix.sum_duplicates()
    return matrix


@dataclass(frozen=True, eq=False)
class Grams:
    """What is learned from the vocabulary's texts: which grams there are, and how rare each is.

    Attributes:
        column: (128³,) column of each gram, -1 for one that no text has.
        idf: (columns,) smoothed inverse document frequency.
        unseen_idf: the weight of a gram that no text has; it only lengthens a query.
    """

    column: npt.NDArray[np.int32]
    idf: Floats
    unseen_idf: float

    @classmethod
    def learn(cls, counts: sparse.csr_matrix) -> Grams:
        """From the gram counts of all texts."""
        present, frequency = np.unique(counts.indices, return_counts=True)
        column = np.full(counts.shape[1], -1, np.int32)
        column[present] = np.arange(len(present), dtype=np.int32)
        n = counts.shape[0]
        idf = (np.log((1 + n) / (1 + frequency)) + 1).astype(np.float32)
        return cls(column, idf, float(np.log(1 + n) + 1))

    def weigh(self, counts: sparse.csr_matrix) -> sparse.csr_matrix:
        """(n, columns) rows of TF-IDF; of unit length if all grams are known, shorter otherwise."""
        columns = self.column[counts.indices]
        known = columns >= 0
        weights = counts.data * np.where(known, self.idf[np.maximum(columns, 0)], np.float32(self.unseen_idf))
        owner = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        length = np.sqrt(np.bincount(owner, weights.astype(np.float64) ** 2, counts.shape[0]))
        length[length == 0] = 1
        weights = (weights / length[owner]).astype(np.float32)
        matrix = sparse.csr_matrix(
            (weights[known], (owner[known], columns[known])),
            shape=(counts.shape[0], len(self.idf)),
            dtype=np.float32,
        )
        matrix.sort_indices()
        return matrix


@dataclass(frozen=True, eq=False)
class Words:
    """The words of the vocabulary's texts, each with its rarity.

    Attributes:
        number: word -> column.
        idf: (columns,) natural logarithm of texts / texts with the word.
        unseen_idf: the weight of a word that no text has.
    """

    number: dict[str, int]
    idf: Floats
    unseen_idf: float

    @classmethod
    def learn(cls, texts: Sequence[str]) -> tuple[Words, sparse.csr_matrix]:
        """From all normal texts; also their (n, columns) matrix of idf, each word counted once."""
        labels: dict[str, int] = {}
        columns, sizes = [np.zeros(0, np.int32)], np.zeros(len(texts), np.int64)
        for at in range(0, len(texts), _TEXTS):  # in pieces, so that few words are there twice
            lists = [text.split() for text in texts[at : at + _TEXTS]]
            sizes[at : at + len(lists)] = [len(words) for words in lists]
            flat = [labels.setdefault(word, len(labels)) for words in lists for word in words]
            columns.append(np.array(flat, np.int32))
        codes = np.concatenate(columns)
        owner = np.repeat(np.arange(len(texts), dtype=np.int32), sizes)
        matrix = sparse.csr_matrix(
            (np.ones(len(codes), np.float32), (owner, codes)), shape=(len(texts), len(labels))
        )
        matrix.sum_duplicates()
        frequency = np.bincount(matrix.indices, minlength=len(labels))
        idf = (np.log((1 + len(texts)) / (1 + frequency)) + 0.1).astype(np.float32)
        matrix.data = idf[matrix.indices]
        return cls(labels, idf, float(np.log(1 + len(texts)) + 0.1)), matrix

    def rows(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """(n, columns) idf of the words of texts, each counted once, as learn() gives them."""
        matrix, _ = self.encode(texts)
        matrix.data = self.idf[matrix.indices]
        matrix.sort_indices()
        return matrix

    def encode(self, texts: Sequence[str]) -> tuple[sparse.csr_matrix, Floats]:
        """((n, columns) of ones, (n,) total idf of each text's words, those that are unknown included)."""
        rows: list[int] = []
        columns: list[int] = []
        total = np.zeros(len(texts), np.float32)
        for row, text in enumerate(texts):
            for word in set(text.split()):
                place = self.number.get(word)
                if place is None:
                    total[row] += self.unseen_idf
                else:
                    total[row] += self.idf[place]
                    rows.append(row)
                    columns.append(place)
        matrix = sparse.csr_matrix(
            (np.ones(len(rows), np.float32), (rows, columns)), shape=(len(texts), len(self.idf))
        )
        return matrix, total
