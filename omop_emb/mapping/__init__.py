"""Mapping: source terms to standard concepts, each with a probability and a decision.

`map_terms()` maps texts, `run()` a file, `measure()` evaluates on approved mappings, `train()` learns a
site's ranker. The steps are terms, retrieval, features, ranking, files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.mapping.approvals.approved_file import read_approved as read_approved
    from omop_emb.mapping.evaluation.evaluate import measure as measure
    from omop_emb.mapping.evaluation.report import write_report as write_report
    from omop_emb.mapping.file_job.job import FileJob as FileJob, JobReport as JobReport, run as run
    from omop_emb.mapping.files.term_file import open_terms as open_terms
    from omop_emb.mapping.judge.judge import Judge as Judge
    from omop_emb.mapping.mapper import Mapper as Mapper, map_terms as map_terms, open_mapper as open_mapper
    from omop_emb.mapping.records import SourceTerm as SourceTerm
    from omop_emb.mapping.settings import Settings as Settings
    from omop_emb.mapping.term_frames import to_frame as to_frame
    from omop_emb.mapping.training.site_training import train as train

__getattr__, __dir__ = lazy_names(__name__)
