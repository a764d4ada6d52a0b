"""Linear ranker: the one that ships with omop-emb, a weight per feature and corrections per domain."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from omop_emb.arrays import Floats, Ints
from omop_emb.errors import ConfigurationError
from omop_emb.mapping.features import further_features
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.ranking.calibration import Calibration
from omop_emb.mapping.ranking.ranker import TrainedSpace, add_approved_bonus

OTHER_DOMAINS = "other"
"""Key of the correction for all domains without one of their own."""

FURTHER_WEIGHT = 1.5
"""What a standard deviation of the cosine in a further space adds to a score that was learned without."""


@dataclass(frozen=True, eq=False)
class LinearRanker:
    """A weight per feature, corrected for some domains; see Ranker."""

    name: str
    fingerprint: str
    is_site_trained: bool
    calibration: Calibration | None
    weights: Floats  # (features,) for every domain
    corrections: Mapping[str, Floats]  # (features,) by domain, added to the weights
    further_spaces: Sequence[TrainedSpace] = ()

    def columns(self, features: Floats, offsets: Ints, domains: Sequence[str]) -> Floats:
        """The features themselves."""
        return features

    def score(self, columns: Floats, domains: Sequence[str]) -> Floats:
        """(p,) scores, larger is better."""
        return add_approved_bonus(self.weigh(columns, domains), columns)

    def weigh(self, features: Floats, domains: Sequence[str]) -> Floats:
        """(p,) scores without the bonus for approved names; each further space counts the same."""
        further = FURTHER_WEIGHT * further_features.standardised_cosines(features).sum(axis=1)
        features = features[:, : len(NAMES)]
        codes = {domain: code for code, domain in enumerate(self.corrections)}
        none = len(codes)
        code = np.array([codes.get(domain, codes.get(OTHER_DOMAINS, none)) for domain in domains], np.int64)
        corrections = [*self.corrections.values(), np.zeros_like(self.weights)]
        # All corrections for every row: cheaper than copying each domain's rows.
        products = features @ np.stack([self.weights + row for row in corrections], axis=1)
        return np.asarray(products[np.arange(len(products)), code] + further, np.float32)

    def contributions(self, columns: Floats, domain: str) -> dict[str, float]:
        """What each feature of one candidate added to its score, without bonuses."""
        none = np.zeros_like(self.weights)
        correction = self.corrections.get(domain, self.corrections.get(OTHER_DOMAINS, none))
        parts = columns[: len(NAMES)] * (self.weights + correction)
        further = FURTHER_WEIGHT * further_features.standardised_cosines(columns[None, :])[0]
        return dict(zip(NAMES, parts.tolist(), strict=True)) | {
            f"space {number}": part for number, part in enumerate(further.tolist(), start=1)
        }

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values, weights by the name of their feature."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "own": self.is_site_trained,
            "weights": _by_name(self.weights),
            "corrections": {domain: _by_name(row) for domain, row in self.corrections.items()},
            "calibration": self.calibration.to_json() if self.calibration else None,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LinearRanker:
        """The ranker that to_json() wrote."""
        if different := set(NAMES) ^ set(values["weights"]):
            raise ConfigurationError(
                f"the ranker {values['name']!r} was trained on other features than this version computes "
                f"(such as {min(different)!r}): run omop-emb calibrate again"
            )
        calibration = values.get("calibration")
        return cls(
            name=values["name"],
            fingerprint=values["fingerprint"],
            is_site_trained=values["own"],
            calibration=Calibration.from_json(calibration) if calibration else None,
            weights=_row(values["weights"]),
            corrections={domain: _row(row) for domain, row in values["corrections"].items()},
        )


def _by_name(row: Floats) -> dict[str, float]:
    return {name: round(float(value), 5) for name, value in zip(NAMES, row, strict=True)}


def _row(values: Mapping[str, float]) -> Floats:
    return np.array([values[name] for name in NAMES], np.float32)


def default_ranker() -> LinearRanker:
    """The ranker that ships with omop-emb, trained for the packaged model."""
    path = resources.files("omop_emb") / "data" / "mapping" / "default_ranker.json"
    return LinearRanker.from_json(json.loads(path.read_text(encoding="utf-8")))
