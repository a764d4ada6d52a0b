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
from omop_emb.mapping.ranker import approved_first
from omop_emb.mapping.records import Contribution
from omop_emb.mapping.training import Examples

Floats = npt.NDArray[np.float32]

ROUNDS = 300
_WORTH_THREADS = 300_000
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

    def score(self, features: Floats, domains: Sequence[str] | npt.NDArray[np.str_]) -> Floats:
        """(p,) scores of (p, features)."""
        return np.asarray(self._booster.predict(with_domain(features, domains, self._domains)), np.float32)

    def contributions(self, features: Floats, domain: str) -> npt.NDArray[np.float64]:
        """(features + 1,) what each feature of one candidate, and its domain, added (TreeSHAP)."""
        columns = with_domain(features[None, :], [domain], self._domains)
        return np.asarray(self._booster.predict(columns, pred_contrib=True)[0][:-1], np.float64)


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
    def _booster(self) -> Booster:
        return Booster(self.model, self.domains)

    def score(self, features: Floats, domains: Sequence[str]) -> Floats:
        """(p,) scores, larger is better."""
        if not len(features):
            return np.zeros(0, np.float32)
        return approved_first(self._booster.score(features, domains), features, self.features)

    def explain(self, features: Floats, domain: str) -> list[Contribution]:
        """What each feature of one candidate added to its score (TreeSHAP), strongest first."""
        parts = self._booster.contributions(features, domain)
        values = [*map(float, features), float(len(domain))]
        names = [*self.features, "domain"]
        order = np.argsort(-np.abs(parts), kind="stable")
        return [Contribution(names[p], values[p], float(parts[p])) for p in order if abs(parts[p]) > 1e-4]


def with_domain(
    features: npt.NDArray[np.floating], domains: Sequence[str] | npt.NDArray[np.str_], known: Sequence[str]
) -> Floats:
    """(p, features + 1): the domain's number behind the features, -1 for one that is not known."""
    names, place = np.unique(np.asarray(domains, dtype=object).astype(str), return_inverse=True)
    numbers = np.array([known.index(name) if name in known else -1 for name in names], np.float32)
    return np.column_stack([features.astype(np.float32, copy=False), numbers[place]])


def domains_of(examples: Examples) -> tuple[str, ...]:
    """The domains of what is right, which trees tell apart."""
    return tuple(str(name) for name in np.unique(examples.domains[examples.right]))


def train_on(examples: Examples, *, rounds: int | None = None) -> str:
    """LightGBM's text of trees trained to put what is right before what is not.

    All candidates are examples: a ranker that saw the nearest ones alone puts the far-fetched first.

    Args:
        examples: terms with their candidates.
        rounds: how many trees; None: ROUNDS.
    """
    lightgbm = _lightgbm()
    columns = with_domain(examples.features, examples.domains, domains_of(examples))
    sizes = np.diff(examples.first)
    data = lightgbm.Dataset(columns, examples.right.astype(np.int32), group=sizes[sizes > 0])
    # threads wait for each other longer than so little takes
    threads = 1 if len(columns) < _WORTH_THREADS else 0
    booster = lightgbm.train({**_PARAMETERS, "num_threads": threads}, data, rounds or ROUNDS)
    return str(booster.model_to_string())
