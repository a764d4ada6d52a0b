"""Evaluation record: what was measured on gold terms, and with what."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from omop_emb.mapping.evaluation.comparison import Difference
from omop_emb.mapping.evaluation.judge_gain import JudgeEvaluation
from omop_emb.mapping.evaluation.metrics import MetricValue
from omop_emb.mapping.evaluation.outcomes import TermOutcome
from omop_emb.mapping.records import Provenance

if TYPE_CHECKING:
    import pandas as pd


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

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with one row per measured term, as omop_emb.plots takes it.

        Columns: `name`, `code`, `domain`, `source`, `findable` and `trivial` (bool), `rank` (Int64: of the
        first chosen concept, NA if it was not found), `probability` (float64, NaN without calibration),
        `correct` (bool: whether the first candidate is a chosen concept), `concept_id` (Int64) and
        `concept_name` (of the first candidate).
        """
        import pandas as pd

        rows = [
            {
                "name": one.gold.term.name,
                "code": one.gold.term.code,
                "domain": one.domain,
                "source": one.gold.source,
                "findable": one.findable,
                "trivial": one.trivial,
                "rank": one.ranks["ranker"] or None,
                "probability": one.probability,
                "correct": one.correct,
                "concept_id": one.first[0] if one.first else None,
                "concept_name": one.first[1] if one.first else None,
            }
            for one in self.outcomes
        ]
        dtypes = {"rank": "Int64", "probability": "float64", "concept_id": "Int64"}
        return pd.DataFrame(rows).astype(dtypes) if rows else pd.DataFrame()
