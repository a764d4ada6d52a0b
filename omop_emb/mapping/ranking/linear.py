"""Rankers: features of candidates in, an order out; the shipped one is linear and can be explained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Protocol

import numpy as np

from omop_emb.arrays import Floats, Ints
from omop_emb.errors import ConfigurationError
from omop_emb.mapping.ranking.calibration import APPROVED, Calibration
from omop_emb.mapping.records import Contribution

DEFAULT = "default_ranker.json"
OTHER = "other"
_APPROVED_NAME = "memory exact"


class Ranker(Protocol):
    """What orders candidates.

    Attributes:
        name: such as "default-2" or "site-3".
        fingerprint: digest of the space whose scores it learned from; it is valid for no other.
        own: whether it was trained on approvals of the site itself.
        calibration: from scores to a probability.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above
    @property
    def fingerprint(self) -> str: ...  # noqa: D102 - described above
    @property
    def own(self) -> bool: ...  # noqa: D102 - described above
    @property
    def calibration(self) -> Calibration | None: ...  # noqa: D102 - described above

    def columns(self, features: Floats, first: Ints, domains: Sequence[str]) -> Floats:
        """(p, columns) what it looks at, from (p, features) of terms that begin at (n + 1,) first."""
        ...

    def score(self, columns: Floats, domains: Sequence[str]) -> Floats:
        """(p,) scores, larger is better, of candidates that are in the given domains."""
        ...

    def explain(self, columns: Floats, domain: str) -> list[Contribution]:
        """What each column of one candidate added to its score, strongest first."""
        ...


@dataclass(frozen=True, eq=False)
class LinearRanker:
    """A weight for every feature, and for some domains a correction of it.

    Attributes:
        features: names, in the order of the columns.
        weights: (features,) for every domain.
        corrections: domain -> (features,) added to them.
        centre: (features,) of an average candidate; contributions are told relative to it.
    """

    name: str
    fingerprint: str
    own: bool
    calibration: Calibration | None
    features: tuple[str, ...]
    weights: Floats
    corrections: Mapping[str, Floats]
    centre: Floats

    def columns(self, features: Floats, first: Ints, domains: Sequence[str]) -> Floats:
        """The features as they are."""
        return features

    def score(self, columns: Floats, domains: Sequence[str]) -> Floats:
        """(p,) scores, larger is better."""
        return approved_first(self.weigh(columns, domains), columns, self.features)

    def weigh(self, features: Floats, domains: Sequence[str]) -> Floats:
        """(p,) scores by the weights alone."""
        place = {domain: number for number, domain in enumerate(self.corrections)}
        none = len(place)
        chosen = np.array([place.get(domain, place.get(OTHER, none)) for domain in domains], np.int64)
        corrections = [*self.corrections.values(), np.zeros_like(self.weights)]
        # all of them for every row: that costs less than a copy of each domain's rows
        products = features @ np.stack([self.weights + row for row in corrections], axis=1)
        return np.asarray(products[np.arange(len(products)), chosen], np.float32)

    def explain(self, columns: Floats, domain: str) -> list[Contribution]:
        """What each feature of one candidate added to its score, strongest first."""
        correction = self.corrections.get(domain, self.corrections.get(OTHER, np.zeros_like(self.weights)))
        parts = (columns - self.centre) * (self.weights + correction)
        parts[self.features.index(_APPROVED_NAME)] += APPROVED * columns[self.features.index(_APPROVED_NAME)]
        order = np.argsort(-np.abs(parts), kind="stable")
        return [
            Contribution(self.features[place], float(columns[place]), float(parts[place]))
            for place in order
            if abs(parts[place]) > 1e-4
        ]

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON, readable: feature -> weights."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "own": self.own,
            "weights": _named(self.features, self.weights),
            "corrections": {domain: _named(self.features, row) for domain, row in self.corrections.items()},
            "centre": _named(self.features, self.centre),
            "calibration": self.calibration.to_json() if self.calibration else None,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], features: Sequence[str]) -> LinearRanker:
        """The ranker for the given features, in their order.

        Raises:
            ConfigurationError: it was trained on other features.
        """
        if missing := set(features) ^ set(values["weights"]):
            raise ConfigurationError(
                f"the ranker {values['name']!r} knows other features than this version computes (such as "
                f"{min(missing)!r}): train it again with omop-emb calibrate"
            )
        calibration = values.get("calibration")
        return cls(
            name=values["name"],
            fingerprint=values["fingerprint"],
            own=values["own"],
            calibration=Calibration.from_json(calibration) if calibration else None,
            features=tuple(features),
            weights=_row(values["weights"], features),
            corrections={domain: _row(row, features) for domain, row in values["corrections"].items()},
            centre=_row(values["centre"], features),
        )


def approved_first(scores: Floats, features: Floats, names: Sequence[str]) -> Floats:
    """Scores under which a concept that was approved for precisely this name comes before all others."""
    return np.asarray(scores + APPROVED * features[:, names.index(_APPROVED_NAME)], np.float32)


def _named(features: Sequence[str], row: Floats) -> dict[str, float]:
    return {name: round(float(value), 5) for name, value in zip(features, row, strict=True)}


def _row(values: Mapping[str, float], features: Sequence[str]) -> Floats:
    return np.array([values[name] for name in features], np.float32)


def default_ranker(features: Sequence[str]) -> LinearRanker:
    """The ranker that ships with omop-emb, trained for the packaged model."""
    text = (resources.files("omop_emb") / "data" / "mapping" / DEFAULT).read_text(encoding="utf-8")
    return LinearRanker.from_json(json.loads(text), features)
