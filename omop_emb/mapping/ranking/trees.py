"""A site's own ranker: gradient-boosted trees (LightGBM's lambdarank) over the same features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Doubles, Floats, Ints
from omop_emb.errors import ConfigurationError, MissingExtraError
from omop_emb.mapping.features import relative
from omop_emb.mapping.features.names import NAMES
from omop_emb.mapping.ranking.calibration import Calibration
from omop_emb.mapping.ranking.examples import Examples
from omop_emb.mapping.ranking.linear import LinearRanker, approved_first, default_ranker
from omop_emb.mapping.records import Contribution

ROUNDS = 150
_LEAVES, _TERMS_A_LEAF = (15, 127), 50
REORDERED = 100
"""How many of the shipped ranker's first candidates are ordered anew."""

_BEHIND = -1000.0
_WORTH_THREADS = 300_000
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
}


def _lightgbm() -> Any:
    try:
        import lightgbm
    except ImportError as error:
        raise MissingExtraError("a ranker of your own", "mapping") from error
    return lightgbm


def require() -> None:
    """Raise now what training would raise after minutes.

    Raises:
        MissingExtraError: LightGBM is not installed.
    """
    _lightgbm()


class Booster:
    """Trees that were read from LightGBM's text, with the domains that they tell apart."""

    def __init__(self, model: str, domains: Sequence[str]) -> None:
        self._booster = _lightgbm().Booster(model_str=model)
        self._domains = tuple(domains)

    def score(self, columns: Floats, domains: Sequence[str] | npt.NDArray[np.str_]) -> Floats:
        """(p,) scores of (p, columns); what stands behind REORDERED others keeps its place."""
        place = columns[:, relative.PLACE]
        scores = np.asarray(_BEHIND - place, np.float32)
        near = np.flatnonzero(place < REORDERED)
        if len(near):
            seen = with_domain(columns[near], np.asarray(domains, dtype=object)[near], self._domains)
            scores[near] = self._booster.predict(seen)
        return scores

    def of(self, examples: Examples) -> Floats:
        """(p,) scores of all candidates of terms; what was approved for the very name comes first."""
        scores = self.score(
            relative.columns(examples.features, examples.first, examples.shipped), examples.domains
        )
        return approved_first(scores, examples.features, NAMES)

    def contributions(self, columns: Floats, domain: str) -> Doubles:
        """(columns + 1,) what each column of one candidate, and its domain, added (TreeSHAP)."""
        seen = with_domain(columns[None, :], [domain], self._domains)
        return np.asarray(self._booster.predict(seen, pred_contrib=True)[0][:-1], np.float64)


@dataclass(frozen=True, eq=False)
class TreeRanker:
    """Trees that order anew what the shipped ranker puts first.

    Attributes:
        model: LightGBM's own text.
        features: names of the columns that it was trained on.
        domains: the domains that it tells apart, in the order of their numbers.
        shipped: the ranker whose order it starts from.
    """

    name: str
    fingerprint: str
    own: bool
    calibration: Calibration | None
    model: str
    features: tuple[str, ...]
    domains: tuple[str, ...]
    shipped: LinearRanker

    @classmethod
    def of(
        cls,
        model: str,
        *,
        name: str,
        fingerprint: str,
        calibration: Calibration | None,
        features: Sequence[str],
        domains: Sequence[str],
    ) -> TreeRanker:
        """A stored ranker.

        Raises:
            ConfigurationError: it was trained on other features than this version computes.
        """
        shipped = default_ranker(NAMES)
        if tuple(features) != relative.names(shipped.name):
            raise ConfigurationError(
                f"the ranker {name!r} was trained on other features than this version computes: run omop-emb "
                "calibrate again"
            )
        return cls(name, fingerprint, True, calibration, model, tuple(features), tuple(domains), shipped)

    @cached_property
    def _booster(self) -> Booster:
        return Booster(self.model, self.domains)

    def columns(self, features: Floats, first: Ints, domains: Sequence[str]) -> Floats:
        """(p, columns) the features and how they stand beside the term's others."""
        return relative.columns(features, first, self.shipped.weigh(features, domains))

    def score(self, columns: Floats, domains: Sequence[str]) -> Floats:
        """(p,) scores, larger is better."""
        if not len(columns):
            return np.zeros(0, np.float32)
        return approved_first(self._booster.score(columns, domains), columns, self.features)

    def explain(self, columns: Floats, domain: str) -> list[Contribution]:
        """What each column of one candidate added to its score (TreeSHAP), strongest first."""
        parts = self._booster.contributions(columns, domain)
        values = [*map(float, columns), float(len(domain))]
        names = [*self.features, "domain"]
        order = np.argsort(-np.abs(parts), kind="stable")
        return [Contribution(names[p], values[p], float(parts[p])) for p in order if abs(parts[p]) > 1e-4]


def with_domain(
    columns: npt.NDArray[np.floating], domains: Sequence[str] | npt.NDArray[np.str_], known: Sequence[str]
) -> Floats:
    """(p, columns + 1): the domain's number behind the columns, -1 for one that is not known."""
    names, place = np.unique(np.asarray(domains, dtype=object).astype(str), return_inverse=True)
    numbers = np.array([known.index(name) if name in known else -1 for name in names], np.float32)
    return np.column_stack([columns, numbers[place]]).astype(np.float32, copy=False)


def domains_of(examples: Examples) -> tuple[str, ...]:
    """The domains of what is right, which trees tell apart."""
    return tuple(str(name) for name in np.unique(examples.domains[examples.right]))


def train_on(examples: Examples, *, rounds: int | None = None) -> str:
    """LightGBM's text of trees trained to put what is right before what is not.

    They learn from the candidates that the shipped ranker puts first, since these are what they order.

    Args:
        examples: terms with their candidates.
        rounds: how many trees; None: ROUNDS.
    """
    lightgbm = _lightgbm()
    near = np.flatnonzero(relative.places(examples.shipped, examples.first) < REORDERED)
    columns = relative.columns(examples.features, examples.first, examples.shipped, near)
    seen = with_domain(columns, examples.domains[near], domains_of(examples))
    sizes = np.minimum(np.diff(examples.first), REORDERED)
    data = lightgbm.Dataset(seen, examples.right[near].astype(np.int32), group=sizes[sizes > 0])
    # threads wait for each other longer than so little takes
    threads = 1 if len(seen) < _WORTH_THREADS else 0
    # many terms bear more leaves: from 15 to 127, recall@1 rose by .03 with 7,400 terms
    leaves = int(np.clip(len(examples) // _TERMS_A_LEAF, *_LEAVES))
    asked = {**_PARAMETERS, "num_leaves": leaves, "num_threads": threads}
    booster = lightgbm.train(asked, data, rounds or ROUNDS)
    return str(booster.model_to_string())
