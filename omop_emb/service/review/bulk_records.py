"""Bulk records: what a bulk approval demands, shows and does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from omop_emb.errors import InputError
from omop_emb.mapping.ranking.policy import Policy
from omop_emb.service.review.decision_records import StoredDecision

MAX_ROWS = 5_000
"""The most terms of one bulk approval: those with the highest probabilities."""


@dataclass(frozen=True, kw_only=True)
class BulkTerms:
    """What a person demands of a bulk approval.

    Attributes:
        precision: that must hold with 95 % confidence, at least 0.5 and below 1.
        accept_untrained: whether thresholds may be used that were learned elsewhere.
    """

    precision: float
    accept_untrained: bool = False

    def __post_init__(self) -> None:
        if not 0.5 <= self.precision < 1:
            raise InputError(f"a precision must be at least 0.5 and below 1; found {self.precision:g}")

    @property
    def policy(self) -> Policy:
        """The same as a policy of mapping."""
        return Policy(accept_precision=self.precision, accept_untrained=self.accept_untrained)


@dataclass(frozen=True, kw_only=True)
class BulkRow:
    """A term whose first candidate would be approved."""

    position: int
    version: int
    revision: int
    source_code: str
    source_name: str
    concept_id: int
    concept_name: str
    domain: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class BulkPreview:
    """What a bulk approval would approve.

    Attributes:
        refusal: why nothing can be approved; "" if something can.
        ranker: whose probabilities count; "" if there is no space.
        rows: with the highest probabilities first.
        left_out: how many terms above the bound are left out, by reason.
        has_more: whether there are more than MAX_ROWS.
    """

    terms: BulkTerms
    refusal: str
    ranker: str = ""
    rows: Sequence[BulkRow] = ()
    left_out: Mapping[str, int]
    has_more: bool = False

    @property
    def expected_errors(self) -> float:
        """How many rows are to be expected wrong, by their probabilities."""
        return sum(1 - row.probability for row in self.rows)

    @property
    def most_errors(self) -> float:
        """How many may be wrong if the precision is just what was demanded."""
        return (1 - self.terms.precision) * len(self.rows)


@dataclass(frozen=True, kw_only=True)
class BulkResult:
    """What a bulk approval did.

    Attributes:
        stored: the decisions, by position.
        left_out: positions of the preview that were not approved, with the reason.
    """

    stored: Sequence[StoredDecision]
    left_out: Mapping[int, str]
