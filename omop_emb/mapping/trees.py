"""A site's own ranker: gradient-boosted trees (LightGBM's lambdarank) over the same features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from omop_emb.errors import ConfigurationError, MissingExtraError
from omop_emb.mapping.calibration import Calibration
from omop_emb.mapping.features import NAMES
from omop_emb.mapping.records import Contribution

Floats = npt.NDArray[np.float32]

ROUNDS = 300
_PARAMETERS: dict[str, Any] = {
    "objective": "lambdarank",
    "num_leaves": 15,
    "learning_rate": 0.06,
    "min_data_in_leaf": 50,
    "lambda_l2": 10.0,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambdarank_truncation_level": 10,
    "deterministic": True,
    "force_row_wise": True,
    "seed": 1,
    "verbose": -1,
}


def _lightgbm() -> Any:
    try:
        import lightgbm
    except ImportError as error:
        raise MissingExtraError("a ranker of your own", "mapping") from error
    return lightgbm


@dataclass(frozen=True, eq=False)
class TreeRanker:
    """Trees over the features and a number for the domain.

    Attributes:
        model: LightGBM's own text.
        features: names of the columns that it was trained on.
        domains: the domains that it tells apart, in the order of their numbers.
    """

    name: str
    fingerprint: str
    own: bool
    calibration: Calibration | None
    model: str
    features: tuple[str, ...]
    domains: tuple[str, ...]

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
        if tuple(features) != NAMES:
            raise ConfigurationError(
                f"the ranker {name!r} was trained on other features than this version computes: run omop-emb "
                "calibrate again"
            )
        return cls(name, fingerprint, True, calibration, model, tuple(features), tuple(domains))

    @cached_property
    def _booster(self) -> Any:
        return _lightgbm().Booster(model_str=self.model)

    def _columns(self, features: Floats, domains: Sequence[str]) -> Floats:
        return with_domain(features, domains, self.domains)

    def score(self, features: Floats, domains: Sequence[str]) -> Floats:
        """(p,) scores, larger is better."""
        if not len(features):
            return np.zeros(0, np.float32)
        return np.asarray(self._booster.predict(self._columns(features, domains)), np.float32)

    def explain(self, features: Floats, domain: str) -> list[Contribution]:
        """What each feature of one candidate added to its score (TreeSHAP), strongest first."""
        parts = self._booster.predict(self._columns(features[None, :], [domain]), pred_contrib=True)[0][:-1]
        values = [*map(float, features), float(len(domain))]
        names = [*self.features, "domain"]
        order = np.argsort(-np.abs(parts), kind="stable")
        return [Contribution(names[p], values[p], float(parts[p])) for p in order if abs(parts[p]) > 1e-4]


def with_domain(features: Floats, domains: Sequence[str], known: Sequence[str]) -> Floats:
    """(p, features + 1): the domain's number behind the features, -1 for one that is not known."""
    place = {name: number for number, name in enumerate(known)}
    column = np.array([place.get(domain, -1) for domain in domains], np.float32)
    return np.column_stack([features, column])


def train(
    features: Floats,
    domains: Sequence[str],
    known: Sequence[str],
    sizes: npt.NDArray[np.int64],
    label: npt.NDArray[np.bool_],
    *,
    rounds: int = ROUNDS,
    threads: int = 0,
) -> str:
    """LightGBM's text of trees trained to put what is right before what is not.

    Args:
        features: (p, features) of all candidates, query by query.
        domains: (p,) of the candidates.
        known: the domains to tell apart.
        sizes: (n,) candidates a query.
        label: (p,) whether a candidate is right.
        rounds: how many trees.
        threads: 0 leaves it to LightGBM.
    """
    lightgbm = _lightgbm()
    data = lightgbm.Dataset(
        with_domain(features, domains, known), label.astype(np.int32), group=sizes, free_raw_data=True
    )
    booster = lightgbm.train({**_PARAMETERS, "num_threads": threads}, data, rounds)
    return str(booster.model_to_string())
