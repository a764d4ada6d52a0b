"""Evaluation: recall, MRR, calibration and coverage against approved mappings.

`measure()` computes them, `write_report()` shows them as a page, comparisons tell runs apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.mapping.evaluation.evaluate import Measured as Measured, measure as measure
    from omop_emb.mapping.evaluation.report import write_report as write_report

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "evaluate": ("Measured", "measure"),
        "report": ("write_report",),
    },
)
