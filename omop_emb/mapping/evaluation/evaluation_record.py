"""Evaluation record: what was measured on gold terms, and with what."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from omop_emb.mapping.evaluation.comparison import Difference
from omop_emb.mapping.evaluation.judge_gain import JudgeEvaluation
from omop_emb.mapping.evaluation.metrics import MetricValue
from omop_emb.mapping.evaluation.outcomes import TermOutcome
from omop_emb.mapping.records import Provenance


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The content of a report."""

    title: str  # what was measured, such as the name of the gold file
    outcomes: Sequence[TermOutcome]
    metrics: Sequence[MetricValue]
    provenance: Provenance
    left_out: int = 0  # number of terms whose concepts lead to no standard concept
    notes: Sequence[str] = ()  # what the reader should know
    against: str = ""  # name of the earlier evaluation that this one is compared with; "" for none
    differences: Sequence[Difference] = ()
    judge: JudgeEvaluation | None = None  # what a judge gains, if one was asked

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values, including the terms and their names."""
        return {
            "title": self.title,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "provenance": asdict(self.provenance),
            "left_out": self.left_out,
            "notes": list(self.notes),
            "metrics": [metric.to_row() for metric in self.metrics],
            "against": self.against,
            "differences": [asdict(difference) for difference in self.differences],
            "judge": None if self.judge is None else asdict(self.judge),
            "terms": [outcome.to_json() for outcome in self.outcomes],
        }
