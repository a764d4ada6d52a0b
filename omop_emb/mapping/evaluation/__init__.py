"""Evaluation: how well terms are mapped whose concepts are known.

`measure()` computes recall, MRR, calibration and coverage, with intervals and a comparison with an earlier
report; `write_report()` writes them as a page and as JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.mapping.evaluation.evaluate import (
        EvaluationOptions as EvaluationOptions,
        measure as measure,
    )
    from omop_emb.mapping.evaluation.judge_gain import JudgeEvaluation as JudgeEvaluation
    from omop_emb.mapping.evaluation.report import (
        check_report_folder as check_report_folder,
        write_report as write_report,
    )

__getattr__, __dir__ = lazy_names(__name__)
