"""Similarity features: a term's variants and a candidate's texts, by vectors, 3-grams and words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Floats, Ints
from omop_emb.mapping.features.encoded_term import Columns, EncodedTerm
from omop_emb.mapping.retrieval.dense_index import DenseIndex
from omop_emb.mapping.retrieval.lexical_index import LexicalIndex, expand_spans
from omop_emb.mapping.retrieval.lexicon import TEXT_KINDS
from omop_emb.mapping.retrieval.queries import Query

VARIANT_GROUPS = ("original", "rewritten", "part")
"""Variants are compared in three groups: the term, the term in other words, and a part of it."""

_PART_RULES = ("ingredient", "first part", "last part", "in brackets")
_MEASURES = ("lexical", "term words found,", "concept words found,", "normalised equal,")
FEATURES = (
    *(f"{measure} {group}" for measure in ("dense", *_MEASURES) for group in VARIANT_GROUPS),
    "exact equal",
    *(f"matched {kind}" for kind in TEXT_KINDS[1:]),
    "dense rank",
    "lexical rank",
    "joint rank",
)
COMBINED_FEATURES = ("joint score", "dense squared", "lexical squared")

_DENSE_WEIGHT, _LEXICAL_WEIGHT = 0.6, 0.4  # of the joint score
_ORIGINAL_BONUS = 1e-3  # so that another variant must fit clearly better than the original


@dataclass(frozen=True, eq=False)
class BestMatches:
    """What fits each of p candidates best."""

    text: Ints  # (p,) text row
    variant: Ints  # (p,) number of the variant
    dense: Floats  # (p,) best cosine over variants and texts
    lexical: Floats  # (p,) the same


class SimilarityFeatures:
    """Compares terms with the texts and vectors of candidates."""

    def __init__(self, lexical: LexicalIndex, dense: DenseIndex | None) -> None:
        self._lexical, self._dense = lexical, dense

    def describe(self, term: EncodedTerm, concepts: Ints) -> tuple[Columns, BestMatches]:
        """FEATURES and COMBINED_FEATURES of (p,) concept rows, and their best matches."""
        lexical = self._lexical
        offsets = lexical.lexicon.text_offsets
        sizes = offsets[concepts + 1] - offsets[concepts]
        begin = np.cumsum(sizes) - sizes
        owner, rows = expand_spans(offsets[concepts], sizes)
        # Shape: variants, texts of all candidates.
        lexical_scores = (lexical.text_grams.rows(rows) @ term.grams.T.toarray(order="C")).T
        shared = (lexical.word_rows[rows] @ term.words).T
        in_term = shared / np.maximum(term.word_total[:, None], 1e-6)
        in_text = shared / np.maximum(lexical.word_total[rows][None, :], 1e-6)
        equal = (lexical.text_hash[rows][None, :] == term.hashes[:, None]).astype(np.float32)
        exact_equal = lexical.exact_hash[rows] == term.exact_hash
        if term.query.hidden_texts:
            hidden = np.isin(rows, list(term.query.hidden_texts))
            exact_equal &= ~hidden
            for scores in (lexical_scores, in_term, in_text, equal):
                scores[:, hidden] = 0
        # Shape: variants, candidates.
        if self._dense is not None and term.vectors is not None:
            dense_scores = self._dense.similarity(term.vectors, concepts)
        else:
            dense_scores = np.zeros((len(term.query.variants), len(concepts)), np.float32)
        # The text of a concept that fits best, over all variants, is the one that is shown.
        text_scores = (lexical_scores + equal).max(axis=0)
        order = np.lexsort((rows, -text_scores, owner))
        best_text = rows[order[begin]]
        columns: dict[str, Floats] = {}
        for group, members in _variant_groups(term.query).items():
            columns[f"dense {group}"] = dense_scores[members].max(axis=0)
            for measure, scores in zip(_MEASURES, (lexical_scores, in_term, in_text, equal), strict=True):
                columns[f"{measure} {group}"] = np.maximum.reduceat(scores[members].max(axis=0), begin)
        columns["exact equal"] = np.maximum.reduceat(exact_equal.astype(np.float32), begin)
        kinds = lexical.lexicon.text_kind[best_text]
        for kind, name in enumerate(TEXT_KINDS[1:], start=1):
            columns[f"matched {name}"] = (kinds == kind).astype(np.float32)
        columns.update(_combined(columns))
        variant_scores = np.maximum.reduceat(lexical_scores + 0.5 * equal, begin, axis=1) + dense_scores
        variant_scores[0] += _ORIGINAL_BONUS
        return columns, BestMatches(
            best_text,
            variant_scores.argmax(axis=0),
            dense_scores.max(axis=0),
            np.maximum.reduceat(lexical_scores.max(axis=0), begin),
        )


def _combined(columns: Columns) -> dict[str, Floats]:
    """Ranks among a term's candidates, joint score and squares, from the cosines."""
    dense, lexical = (
        np.column_stack([columns[f"{measure} {group}"] for group in VARIANT_GROUPS])
        for measure in ("dense", "lexical")
    )
    return {
        "dense rank": _reciprocal_rank(dense[:, 0]),
        "lexical rank": _reciprocal_rank(lexical[:, 0]),
        "joint rank": _reciprocal_rank(np.hstack([dense, lexical]).sum(axis=1)),
        "joint score": _DENSE_WEIGHT * dense.max(axis=1) + _LEXICAL_WEIGHT * lexical.max(axis=1),
        "dense squared": dense[:, 0] ** 2,
        "lexical squared": lexical[:, 0] ** 2,
    }


def _variant_groups(query: Query) -> dict[str, list[int]]:
    """Numbers of the variants in each group; an empty group takes those of the group before it."""
    is_part = [variant.rule in _PART_RULES for variant in query.variants]
    rewritten = [number for number, part in enumerate(is_part) if number and not part] or [0]
    parts = [number for number, part in enumerate(is_part) if part] or rewritten
    return dict(zip(VARIANT_GROUPS, ([0], rewritten, parts), strict=True))


def _reciprocal_rank(scores: npt.NDArray[np.floating]) -> Floats:
    order = np.argsort(-scores, kind="stable")
    rank = np.empty(len(scores), np.float32)
    rank[order] = np.arange(1, len(scores) + 1, dtype=np.float32)
    return np.asarray(1 / rank, np.float32)
