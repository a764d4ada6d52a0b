"""Judge: a second opinion on the terms in review, from a generative model.

`Judge` asks a model about terms and caches its verdicts; `JudgeJob` does so for a whole run, with an estimate
first. A verdict never changes a decision; how much it changes a probability is learned from approvals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.mapping.judge.judge import Judge as Judge
    from omop_emb.mapping.judge.judge_job import JudgeJob as JudgeJob

__getattr__, __dir__ = lazy_names(__name__)
