"""TF-IDF: sparse rows of character 3-grams and of words, counted without a loop over letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from omop_emb.arrays import Doubles, Floats, Ints
from omop_emb.mapping.retrieval import spilled_array

# Each of these has a code of its own; all other letters (Cyrillic, Hangul …) share the remaining codes.
_LETTERS = " abcdefghijklmnopqrstuvwxyz0123456789%+./<>=-*^,:!"
_CODES = 128
_SHARED_CODES = _CODES - len(_LETTERS)
_CHUNK_TEXTS = 20_000  # counting needs forty times as much memory as the texts of a chunk
_MOST_OF_A_GRAM = 255  # in a text; more are not counted


def _letter_codes(points: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    table = np.full(128, -1, np.int64)
    table[np.frombuffer(_LETTERS.encode(), np.uint8)] = np.arange(len(_LETTERS))
    codes = np.where(points < 128, table[np.minimum(points, 127)], -1)
    return np.where(codes < 0, len(_LETTERS) + points % _SHARED_CODES, codes)


def count_grams(texts: Sequence[str]) -> sparse.csr_matrix:
    """(n, 128³) counts of the 3-grams of " text ", for normal texts."""
    starts = range(0, max(1, len(texts)), _CHUNK_TEXTS)
    chunks = [_count_grams(texts[start : start + _CHUNK_TEXTS]) for start in starts]
    return sparse.vstack(chunks, format="csr")


def _count_grams(texts: Sequence[str]) -> sparse.csr_matrix:
    joined = "".join(f" {text} " for text in texts)
    codes = _letter_codes(np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32))
    lengths = np.fromiter((len(text) + 2 for text in texts), np.int64, len(texts))
    owner = np.repeat(np.arange(len(texts)), lengths)
    grams = (codes[:-2] * _CODES + codes[1:-1]) * _CODES + codes[2:]
    inside = owner[:-2] == owner[2:]
    rows, columns = owner[:-2][inside], grams[inside]
    counts = np.ones(len(rows), np.float32)
    matrix = sparse.csr_matrix((counts, (rows, columns)), shape=(len(texts), _CODES**3))
    matrix.sum_duplicates()
    np.minimum(matrix.data, _MOST_OF_A_GRAM, out=matrix.data)
    return matrix


def _short(indptr: npt.NDArray[np.int64]) -> npt.NDArray[np.integer]:
    """Offsets as scipy keeps them: in 32 bits where they fit, as wider ones would widen all indices."""
    return indptr.astype(np.int32) if indptr[-1] <= np.iinfo(np.int32).max else indptr


@dataclass(frozen=True, eq=False)
class GramWeights:
    """The 3-grams of a vocabulary's texts, and how rare each is."""

    column: npt.NDArray[np.int32]  # (128³,) column of each gram, -1 for one that no text has
    idf: Floats  # (columns,) smoothed inverse document frequency
    unseen_idf: float  # the weight of a gram that no text has; it only lengthens a query

    @classmethod
    def fit(cls, texts: Sequence[str]) -> tuple[GramWeights, TextGrams]:
        """From all normal texts; also the 3-grams of each."""
        most = sum(map(len, texts))
        indices, data = spilled_array.empty(most, np.int32), spilled_array.empty(most, np.uint8)
        indptr = np.zeros(len(texts) + 1, np.int64)
        frequency = np.zeros(_CODES**3, np.int64)
        entries = 0
        for start in range(0, len(texts), _CHUNK_TEXTS):
            counts = _count_grams(texts[start : start + _CHUNK_TEXTS])
            frequency += np.bincount(counts.indices, minlength=len(frequency))
            indices[entries : entries + counts.nnz] = counts.indices
            data[entries : entries + counts.nnz] = counts.data
            indptr[start + 1 : start + 1 + counts.shape[0]] = entries + counts.indptr[1:]
            entries += counts.nnz
        present = np.flatnonzero(frequency)
        column = np.full(len(frequency), -1, np.int32)
        column[present] = np.arange(len(present), dtype=np.int32)
        idf = (np.log((1 + len(texts)) / (1 + frequency[present])) + 1).astype(np.float32)
        weights = cls(column, idf, float(np.log(1 + len(texts)) + 1))
        length = np.ones(len(texts))
        for start in range(0, len(texts), _CHUNK_TEXTS):
            bounds = indptr[start : start + _CHUNK_TEXTS + 1]
            part = slice(int(bounds[0]), int(bounds[-1]))
            indices[part] = column[indices[part]]
            of_part = data[part] * idf[indices[part]]
            length[start : start + len(bounds) - 1] = _lengths(of_part, np.diff(bounds))
        shape = (len(texts), len(present))
        rows = sparse.csr_matrix((data[:entries], indices[:entries], _short(indptr)), shape=shape)
        rows.has_sorted_indices = True  # columns have the order of the grams, which are sorted
        return weights, TextGrams(rows, length, idf)

    def weigh(self, counts: sparse.csr_matrix) -> sparse.csr_matrix:
        """(n, columns) TF-IDF rows: of unit length, shorter for a text with unseen grams."""
        columns, sizes = self.column[counts.indices], np.diff(counts.indptr)
        seen = columns >= 0
        idf = np.where(seen, self.idf[np.maximum(columns, 0)], np.float32(self.unseen_idf))
        weights, owner = counts.data * idf, np.repeat(np.arange(len(sizes)), sizes)
        weights = (weights / _lengths(weights, sizes)[owner]).astype(np.float32)
        matrix = sparse.csr_matrix(
            (weights[seen], (owner[seen], columns[seen])),
            shape=(counts.shape[0], len(self.idf)),
            dtype=np.float32,
        )
        matrix.sort_indices()
        return matrix


def _lengths(weights: Floats, sizes: Ints) -> Doubles:
    """The length of each row of weights, of the given sizes; 1 for an empty one."""
    owner = np.repeat(np.arange(len(sizes)), sizes)
    length = np.sqrt(np.bincount(owner, weights.astype(np.float64) ** 2, len(sizes)))
    length[length == 0] = 1
    return length


@dataclass(frozen=True, eq=False)
class TextGrams:
    """The 3-grams of a vocabulary's t texts in counts, which take less memory than the weights."""

    counts: sparse.csr_matrix  # (t, columns) uint8
    length: Doubles  # (t,) of each row of counts * idf
    idf: Floats  # (columns,)

    def rows(self, rows: Ints) -> sparse.csr_matrix:
        """(rows, columns) TF-IDF of some texts, of unit length."""
        chosen = self.counts[rows]
        length = np.repeat(self.length[rows], np.diff(chosen.indptr))
        chosen.data = (chosen.data * self.idf[chosen.indices] / length).astype(np.float32)
        return chosen


@dataclass(frozen=True, eq=False)
class WordWeights:
    """The words of a vocabulary's texts, and how rare each is."""

    column: dict[str, int]  # word -> column
    idf: Floats  # (columns,) smoothed natural logarithm of texts / texts with the word
    unseen_idf: float  # the weight of a word that no text has

    @classmethod
    def fit(cls, texts: Sequence[str]) -> tuple[WordWeights, sparse.csr_matrix]:
        """From all normal texts; also their (n, columns) matrix of idf, each word counted once."""
        column: dict[str, int] = {}
        columns, sizes = [np.zeros(0, np.int32)], np.zeros(len(texts), np.int64)
        for start in range(0, len(texts), _CHUNK_TEXTS):
            words = [text.split() for text in texts[start : start + _CHUNK_TEXTS]]
            sizes[start : start + len(words)] = [len(of_text) for of_text in words]
            numbers = [column.setdefault(word, len(column)) for of_text in words for word in of_text]
            columns.append(np.array(numbers, np.int32))
        indices = np.concatenate(columns)
        indptr = _short(np.concatenate([[0], np.cumsum(sizes)]))
        matrix = sparse.csr_matrix(
            (np.ones(len(indices), np.float32), indices, indptr), shape=(len(texts), len(column))
        )
        matrix.sum_duplicates()
        frequency = np.bincount(matrix.indices, minlength=len(column))
        idf = (np.log((1 + len(texts)) / (1 + frequency)) + 0.1).astype(np.float32)
        matrix.data = idf[matrix.indices]
        return cls(column, idf, float(np.log(1 + len(texts)) + 0.1)), matrix

    def encode(self, texts: Sequence[str]) -> tuple[sparse.csr_matrix, Floats]:
        """((n, columns) ones, (n,) total idf) of each text's distinct words, unseen ones in the total too."""
        rows: list[int] = []
        columns: list[int] = []
        total = np.zeros(len(texts), np.float32)
        for row, text in enumerate(texts):
            for word in dict.fromkeys(text.split()):  # in the order of the text: float32 sums depend on it
                column = self.column.get(word)
                if column is None:
                    total[row] += self.unseen_idf
                else:
                    total[row] += self.idf[column]
                    rows.append(row)
                    columns.append(column)
        matrix = sparse.csr_matrix(
            (np.ones(len(rows), np.float32), (rows, columns)), shape=(len(texts), len(self.idf))
        )
        return matrix, total
