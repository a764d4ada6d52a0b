"""Policy: accept, review or no match, decided from a probability, with the reason in words."""

from __future__ import annotations

from dataclasses import dataclass

from omop_emb.errors import ConfigurationError
from omop_emb.mapping.ranking.ranker import Ranker
from omop_emb.mapping.records import Decision


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

    def check(self, ranker: Ranker, *, calibrated: bool) -> None:
        """Check that the ranker's probabilities, if they are calibrated, can be used to accept.

        Raises:
            ConfigurationError: with the reason, and the command that trains a ranker.
        """
        if self.accept_precision is None:
            return
        if not 0.5 <= self.accept_precision < 1:
            raise ConfigurationError(
                f"a precision is at least 0.5 and below 1; found {self.accept_precision}"
            )
        if not calibrated:
            raise ConfigurationError(
                "nothing can be accepted without probabilities, and this space has none yet: run omop-emb "
                "calibrate APPROVED with mappings that you have approved"
            )
        if not ranker.is_site_trained and not self.accept_untrained:
            raise ConfigurationError(
                "thresholds learned at other hospitals do not hold here (.95 became .79): run omop-emb "
                "calibrate APPROVED with mappings that you have approved, or use --accept-untrained"
            )

    def decide(self, probability: float | None, domain: str, ranker: Ranker) -> tuple[Decision, str]:
        """The decision, and its reason, for a term whose best candidate is in a domain."""
        if probability is None:
            return Decision.REVIEW, "no probability: this space is not calibrated"
        if probability < self.no_match_below:
            return Decision.NO_MATCH, f"probability {probability:.2f} below {self.no_match_below:g}"
        if self.accept_precision is None or ranker.calibration is None:
            return Decision.REVIEW, "nothing is accepted without review"
        threshold = ranker.calibration.threshold(self.accept_precision, domain)
        if threshold is None:
            return Decision.REVIEW, f"too few approvals in {domain} to hold {self.accept_precision:g}"
        reason = f"probability {probability:.2f}, {domain} holds from {threshold:.2f}"
        if probability < threshold:
            return Decision.REVIEW, reason
        return Decision.ACCEPT, reason if ranker.is_site_trained else f"{reason}, untrained"
