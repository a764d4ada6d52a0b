"""How near a term's forms are to the candidates' texts, by vectors, letters and words, as features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from omop_emb.arrays import Floats, Ints
from omop_emb.mapping.features.names import GROUPS, PAIR
from omop_emb.mapping.retrieval.candidates import Query
from omop_emb.mapping.retrieval.dense_index import DenseIndex
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex
from omop_emb.mapping.retrieval.lexicon import KINDS

_PARTS = ("ingredient", "first part", "last part", "in brackets")
_DENSE, _LEXICAL, _IN_TERM, _IN_TEXT, _ALIKE = (len(GROUPS) * number for number in range(5))
_SAME_LETTERS = PAIR.index("same letters")
_RANKS = PAIR.index("dense rank")
_JOINT = PAIR.index("joint score")


@dataclass(frozen=True, eq=False)
class Forms:
    """A term's forms, encoded: a row for each.

    Attributes:
        grams: (f, grams) TF-IDF rows.
        words: (words, f) ones, as columns.
        word_total: (f,) sum of the words' idf.
        hash: (f,) hash of the normal text.
        vectors: (f, dimensions) unit rows; None without a dense index.
        exact_hash: hash of the term as it stands.
    """

    grams: sparse.csr_matrix
    words: Floats
    word_total: Floats
    hash: npt.NDArray[np.uint64]
    vectors: Floats | None
    exact_hash: np.uint64


@dataclass(frozen=True, eq=False)
class Nearest:
    """What of a candidate fitted best.

    Attributes:
        text: (p,) text row.
        form: (p,) place of the form.
        dense, lexical: (p,) best cosine over forms and texts.
    """

    text: Ints
    form: Ints
    dense: Floats
    lexical: Floats


def describe(
    lexical: LexicalIndex, dense: DenseIndex | None, query: Query, forms: Forms, concepts: Ints, out: Floats
) -> Nearest:
    """Write the features of PAIR, those of the memory aside, for (p,) concept rows into out."""
    first, last = lexical.lexicon.first_text[concepts], lexical.lexicon.first_text[concepts + 1]
    sizes = last - first
    begin = np.cumsum(sizes) - sizes
    rows = np.repeat(first - begin, sizes) + np.arange(int(sizes.sum()))
    lexical_scores = (lexical.gram_rows[rows] @ forms.grams.T.toarray(order="C")).T
    shared = (lexical.word_rows[rows] @ forms.words).T
    in_term = shared / np.maximum(forms.word_total[:, None], 1e-6)
    in_text = shared / np.maximum(lexical.word_total[rows][None, :], 1e-6)
    alike = (lexical.text_hash[rows][None, :] == forms.hash[:, None]).astype(np.float32)
    same_letters = lexical.exact_hash[rows] == forms.exact_hash
    if query.hidden:
        unseen = np.isin(rows, list(query.hidden))
        same_letters &= ~unseen
        for scores in (lexical_scores, in_term, in_text, alike):
            scores[:, unseen] = 0
    if dense is not None and forms.vectors is not None:
        near = dense.similarity(forms.vectors, concepts)
    else:
        near = np.zeros((len(query.forms), len(concepts)), np.float32)
    # the text of a concept that fits best, over all forms, is the one that is shown and compared
    joint = (lexical_scores + alike).max(axis=0)
    order = np.lexsort((rows, -joint, np.repeat(np.arange(len(concepts)), sizes)))
    best_text = rows[order[begin]]
    for number, members in enumerate(_groups(query)):
        out[:, _DENSE + number] = near[members].max(axis=0)
        out[:, _LEXICAL + number] = np.maximum.reduceat(lexical_scores[members].max(axis=0), begin)
        out[:, _IN_TERM + number] = np.maximum.reduceat(in_term[members].max(axis=0), begin)
        out[:, _IN_TEXT + number] = np.maximum.reduceat(in_text[members].max(axis=0), begin)
        out[:, _ALIKE + number] = np.maximum.reduceat(alike[members].max(axis=0), begin)
    out[:, _SAME_LETTERS] = np.maximum.reduceat(same_letters.astype(np.float32), begin)
    kinds = lexical.lexicon.text_kind[best_text]
    for kind in range(1, len(KINDS)):
        out[:, _SAME_LETTERS + kind] = kinds == kind
    out[:, _RANKS] = _reciprocal_rank(out[:, _DENSE])
    out[:, _RANKS + 1] = _reciprocal_rank(out[:, _LEXICAL])
    out[:, _RANKS + 2] = _reciprocal_rank(out[:, :_IN_TERM].sum(axis=1))
    cosines = out[:, _DENSE:_LEXICAL].max(axis=1), out[:, _LEXICAL:_IN_TERM].max(axis=1)
    out[:, _JOINT] = 0.6 * cosines[0] + 0.4 * cosines[1]
    out[:, _JOINT + 1] = out[:, _DENSE] ** 2
    out[:, _JOINT + 2] = out[:, _LEXICAL] ** 2
    per_form = np.maximum.reduceat(lexical_scores + 0.5 * alike, begin, axis=1) + near
    # the term itself unless another form fits clearly better
    per_form[0] += 1e-3
    return Nearest(
        best_text,
        per_form.argmax(axis=0),
        near.max(axis=0),
        np.maximum.reduceat(lexical_scores.max(axis=0), begin),
    )


def _groups(query: Query) -> list[list[int]]:
    """Places of the forms of each group; an empty group is the group before it."""
    rewritten = [n for n, form in enumerate(query.forms) if n and form.rule not in _PARTS] or [0]
    part = [n for n, form in enumerate(query.forms) if form.rule in _PARTS] or rewritten
    return [[0], rewritten, part]


def _reciprocal_rank(scores: Floats) -> Floats:
    order = np.argsort(-scores, kind="stable")
    rank = np.empty(len(scores), np.float32)
    rank[order] = np.arange(1, len(scores) + 1, dtype=np.float32)
    return np.asarray(1 / rank, np.float32)
