"""File jobs: `run()` maps a file of terms and writes all requested outputs, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.mapping.file_job.job import FileJob as FileJob, JobReport as JobReport, run as run
    from omop_emb.mapping.file_job.job_progress import JobPhase as JobPhase, JobProgress as JobProgress
    from omop_emb.mapping.file_job.outputs import Outputs as Outputs

__getattr__, __dir__ = lazy_names(__name__)
