"""Judge: a generative model's second opinion on a term's candidates.

The prompt, the verdict, a cache of answers, and what the agreement is worth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.mapping.judge.judge import Judge as Judge
    from omop_emb.mapping.judge.judge_job import JudgeJob as JudgeJob

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "judge": ("Judge",),
        "judge_job": ("JudgeJob",),
    },
)
