"""Policy: accept, review or no match, decided from a probability, with the reason in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Mask
from omop_emb.errors import ConfigurationError
from omop_emb.mapping.features.feature_names import NAMES
from omop_emb.mapping.ranking.ranker import APPROVED_COLUMN, Ranker
from omop_emb.mapping.records import Decision

_SIGNS_DIFFER = NAMES.index("signs differ")


def is_acceptable(features: npt.NDArray[np.floating]) -> Mask:
    """(p,) whether each candidate may be accepted at all, from (p, features).

    One whose signs differ from the term's (positive for negative, < for >, 10^3 for 10^-3) needs a person,
    unless a person has approved it for precisely this text.
    """
    is_approved = features[:, APPROVED_COLUMN] > 0
    return np.asarray(is_approved | (features[:, _SIGNS_DIFFER] == 0), bool)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What may be decided without a person.

    Attributes:
        accept_precision: accept where the precision is at least this, with 95 % confidence; None accepts
            nothing.
        accept_untrained: accept even if the ranker was not trained on approvals of this site.
        no_match_below: decide "no match" if the first candidate's probability is lower; 0 never does.
    """

    accept_precision: float | None = None
    accept_untrained: bool = False
    no_match_below: float = 0.0

    def check(
        self, ranker: Ranker, *, calibrated: bool, otherwise: str = "use --accept-untrained, which map has"
    ) -> None:
        """Check that the ranker's probabilities, if they are calibrated, can be used to accept.

        `otherwise` says what to do without approvals of this site.

        Raises:
            ConfigurationError: with the reason, and the command that trains a ranker.
        """
        if self.accept_precision is None:
            return
        if not 0.5 <= self.accept_precision < 1:
            raise ConfigurationError(
                f"a precision must be at least 0.5 and below 1; found {self.accept_precision}"
            )
        if not calibrated:
            raise ConfigurationError(
                "nothing can be accepted without probabilities, and this space has none yet: run omop-emb "
                "calibrate APPROVED with mappings that you have approved"
            )
        if not ranker.is_site_trained and not self.accept_untrained:
            raise ConfigurationError(
                "thresholds learned at other hospitals do not hold here (.95 became .79): run omop-emb "
                f"calibrate APPROVED with mappings that you have approved, or {otherwise}"
            )

    def decide(
        self, probability: float | None, domain: str, ranker: Ranker, *, objection: str = ""
    ) -> tuple[Decision, str]:
        """The decision, and its reason, for a term whose best candidate is in a domain.

        An objection, such as a sign that only one of them has, forbids acceptance whatever the probability.
        """
        if probability is None:
            return Decision.REVIEW, "no probability: this space is not calibrated"
        if probability < self.no_match_below:
            return Decision.NO_MATCH, f"probability {probability:.2f} below {self.no_match_below:g}"
        if self.accept_precision is None or ranker.calibration is None:
            return Decision.REVIEW, "nothing is accepted without review"
        if objection:
            return Decision.REVIEW, f"probability {probability:.2f}, but {objection}"
        threshold = ranker.calibration.threshold(self.accept_precision, domain)
        if threshold is None:
            return Decision.REVIEW, f"too few approvals in {domain} to guarantee {self.accept_precision:g}"
        reason = f"probability {probability:.2f}, the threshold in {domain} is {threshold:.2f}"
        if probability < threshold:
            return Decision.REVIEW, reason
        return Decision.ACCEPT, reason if ranker.is_site_trained else f"{reason}, untrained"
