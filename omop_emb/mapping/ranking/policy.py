"""Accept, review or no match: what a probability allows, and the reason in a person's words."""

from __future__ import annotations

from dataclasses import dataclass

from omop_emb.errors import ConfigurationError
from omop_emb.mapping.ranking.linear import Ranker
from omop_emb.mapping.records import Decision


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What may be decided without a person.

    Attributes:
        accept_precision: accept where the precision is at least this, with 95 % confidence; None accepts
            nothing.
        accept_untrained: accept even though the ranker never saw approvals of this site.
        no_match_below: call a term without a match if its first candidate's probability is below; 0 never.
    """

    accept_precision: float | None = None
    accept_untrained: bool = False
    no_match_below: float = 0.0

    def check(self, ranker: Ranker) -> None:
        """Refuse to accept anything by a ranker that cannot know this site.

        Raises:
            ConfigurationError: with the reason, and the command that trains one.
        """
        if self.accept_precision is None:
            return
        if not 0.5 <= self.accept_precision < 1:
            raise ConfigurationError(
                f"a precision is at least 0.5 and below 1; found {self.accept_precision}"
            )
        if ranker.calibration is None:
            raise ConfigurationError(
                "nothing can be accepted without probabilities, and this space has none yet: run omop-emb "
                "calibrate APPROVED with mappings that you have approved"
            )
        if not ranker.own and not self.accept_untrained:
            raise ConfigurationError(
                "a threshold learned at other hospitals does not hold here (.95 became .79): run "
                "omop-emb calibrate APPROVED with mappings that you have approved, or force it with "
                "--accept-untrained"
            )

    def decide(self, probability: float | None, domain: str, ranker: Ranker) -> tuple[Decision, str]:
        """The decision for a term whose best candidate has a probability and is in a domain."""
        if probability is None:
            return Decision.REVIEW, "no probability: this space is not calibrated"
        if probability < self.no_match_below:
            return Decision.NO_MATCH, f"probability {probability:.2f} below {self.no_match_below:g}"
        if self.accept_precision is None or ranker.calibration is None:
            return Decision.REVIEW, "nothing is accepted without review"
        limit = ranker.calibration.threshold(self.accept_precision, domain)
        if limit is None:
            return Decision.REVIEW, f"too few approvals in {domain} to hold {self.accept_precision:g}"
        if probability >= limit:
            forced = "" if ranker.own else ", untrained"
            return Decision.ACCEPT, f"probability {probability:.2f}, {domain} holds from {limit:.2f}{forced}"
        return Decision.REVIEW, f"probability {probability:.2f}, {domain} holds from {limit:.2f}"
