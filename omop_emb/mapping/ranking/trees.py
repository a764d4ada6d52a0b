"""Tree ranker: a site's gradient-boosted trees, which rerank the shipped ranker's first candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Doubles, Floats, Ints
from omop_emb.errors import ConfigurationError, MissingExtraError
from omop_emb.mapping.features import relative_features
from omop_emb.mapping.features.feature_signs import STATED_SIGNS
from omop_emb.mapping.ranking.calibration import Calibration
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.ranking.linear import LinearRanker, default_ranker
from omop_emb.mapping.ranking.ranker import APPROVED_COLUMN, TrainedSpace, add_approved_bonus

DEFAULT_ROUNDS = 150
MAX_RERANKED = 100
"""How many of the shipped ranker's first candidates are reranked; the others stay behind in its order."""

_RERANKED_UNSTORED = ("shipped-2",)  # its weights were not stored with the trees, and ship no longer
_UNRERANKED_SCORE = -1000.0  # of the first candidate that is not reranked, below every score of trees
_MIN_ROWS_FOR_THREADS = 300_000  # with fewer, threads cost more than they save
# More terms support more leaves: with 7,400 terms, recall@1 rose by .03 from 15 to 127 leaves.
_MIN_LEAVES, _MAX_LEAVES, _TERMS_PER_LEAF = 15, 127, 50
_PARAMETERS: dict[str, Any] = {
    "objective": "lambdarank",
    "learning_rate": 0.1,
    "min_data_in_leaf": 100,
    "lambda_l2": 10.0,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambdarank_truncation_level": 10,
    "deterministic": True,
    "force_row_wise": True,
    "seed": 1,
    "verbose": -1,
    "max_bin": 63,
    # Signs of what is stated cost nothing; with those of similarities and ranks recall@1 fell by .01 to .03.
    "monotone_constraints_method": "intermediate",
}


def load_lightgbm() -> Any:
    """The module lightgbm."""
    try:
        import lightgbm
    except ImportError as error:
        raise MissingExtraError("your own ranker", "mapping") from error
    return lightgbm


class TreeModel:
    """Trained trees in LightGBM's text and the domains that they distinguish, in the order of their codes."""

    def __init__(self, text: str, domains: Sequence[str]) -> None:
        self.text, self.domains = text, tuple(domains)
        self._booster = load_lightgbm().Booster(model_str=text)

    def score(self, columns: Floats, domains: Sequence[str] | npt.NDArray[np.str_]) -> Floats:
        """(p,) scores of (p, columns); all but the first MAX_RERANKED candidates keep their order.

        A concept that was approved for precisely this name is scored wherever the shipped ranker puts it.
        """
        rank = columns[:, relative_features.RANK_COLUMN]
        scores = np.asarray(_UNRERANKED_SCORE - rank, np.float32)
        first = np.flatnonzero((rank < MAX_RERANKED) | (columns[:, APPROVED_COLUMN] > 0))
        if len(first):
            scores[first] = self._booster.predict(
                append_domain_code(columns[first], np.asarray(domains, dtype=object)[first], self.domains)
            )
        return scores

    def score_examples(self, examples: Examples) -> Floats:
        """(p,) scores of all candidates, with the bonus for approved names."""
        columns = relative_features.columns(examples.features, examples.offsets, examples.shipped_scores)
        return add_approved_bonus(self.score(columns, examples.domains), examples.features)

    def contributions(self, columns: Floats, domain: str) -> Doubles:
        """(columns + 1,) what each column of one candidate, and its domain, added to its score (TreeSHAP)."""
        row = append_domain_code(columns[None, :], [domain], self.domains)
        return np.asarray(self._booster.predict(row, pred_contrib=True)[0][:-1], np.float64)


@dataclass(frozen=True, eq=False)
class TreeRanker:
    """A site's own ranker: trees that rerank what the shipped ranker puts first; see Ranker."""

    name: str
    fingerprint: str
    calibration: Calibration | None
    model: TreeModel
    shipped: LinearRanker
    further_spaces: Sequence[TrainedSpace] = ()
    is_site_trained: bool = True

    @classmethod
    def from_stored(
        cls,
        text: str,
        *,
        name: str,
        fingerprint: str,
        calibration: Calibration | None,
        features: Sequence[str],
        domains: Sequence[str],
        further_spaces: Sequence[TrainedSpace] = (),
        shipped: LinearRanker | None = None,
    ) -> TreeRanker:
        """A ranker that was stored with the names of its columns, its domains and the ranker it reranks.

        Without that one (`shipped`), as up to shipped-2, it reranks the one that ships now.
        """
        model, reranked = TreeModel(text, domains), shipped or default_ranker()
        ranker = cls(name, fingerprint, calibration, model, reranked, further_spaces)
        further, earlier = len(further_spaces), () if shipped else _RERANKED_UNSTORED
        known = [relative_features.names(one, further) for one in (reranked.name, *earlier)]
        if tuple(features) not in known:
            raise ConfigurationError(
                f"the ranker {name!r} was trained on other features than this version computes: run omop-emb "
                "calibrate again"
            )
        return ranker

    @property
    def features(self) -> tuple[str, ...]:
        """Names of its columns."""
        return relative_features.names(self.shipped.name, len(self.further_spaces))

    def columns(self, features: Floats, offsets: Ints, domains: Sequence[str]) -> Floats:
        """(p, columns) the features, and how they compare with the term's other candidates."""
        return relative_features.columns(features, offsets, self.shipped.weigh(features, domains))

    def score(self, columns: Floats, domains: Sequence[str]) -> Floats:
        """(p,) scores, larger is better."""
        if not len(columns):
            return np.zeros(0, np.float32)
        return add_approved_bonus(self.model.score(columns, domains), columns)

    def contributions(self, columns: Floats, domain: str) -> dict[str, float]:
        """What each column of one candidate, and its domain, added to its score, without bonuses."""
        parts = self.model.contributions(columns, domain).tolist()
        return dict(zip([*self.features, "domain"], parts, strict=True))


def append_domain_code(
    columns: npt.NDArray[np.floating], domains: Sequence[str] | npt.NDArray[np.str_], known: Sequence[str]
) -> Floats:
    """(p, columns + 1): the index of the domain in `known` as a last column, -1 for other domains."""
    names, inverse = np.unique(np.asarray(domains, dtype=object).astype(str), return_inverse=True)
    codes = np.array([known.index(name) if name in known else -1 for name in names], np.float32)
    return np.column_stack([columns, codes[inverse]]).astype(np.float32, copy=False)


def train_trees(examples: Examples, *, rounds: int | None = None) -> TreeModel:
    """Trees trained to put targets first (lambdarank), on the candidates that they will rerank."""
    lightgbm = load_lightgbm()
    first = np.flatnonzero(relative_features.ranks(examples.shipped_scores, examples.offsets) < MAX_RERANKED)
    columns = relative_features.columns(examples.features, examples.offsets, examples.shipped_scores, first)
    domains = tuple(str(name) for name in np.unique(examples.domains[examples.is_target]))
    rows = append_domain_code(columns, examples.domains[first], domains)
    sizes = np.minimum(np.diff(examples.offsets), MAX_RERANKED)
    data = lightgbm.Dataset(rows, examples.is_target[first].astype(np.int32), group=sizes[sizes > 0])
    parameters = {
        **_PARAMETERS,
        "monotone_constraints": np.pad(STATED_SIGNS, (0, rows.shape[1] - len(STATED_SIGNS))).tolist(),
        "num_leaves": int(np.clip(len(examples) // _TERMS_PER_LEAF, _MIN_LEAVES, _MAX_LEAVES)),
        "num_threads": 1 if len(rows) < _MIN_ROWS_FOR_THREADS else 0,
    }
    booster = lightgbm.train(parameters, data, rounds or DEFAULT_ROUNDS)
    return TreeModel(str(booster.model_to_string()), domains)
