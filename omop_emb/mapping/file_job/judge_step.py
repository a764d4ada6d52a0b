"""Judge step of a file job: asks about terms in review, and weighs the answers by the judge's record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.mapping.judge.judge_calibration import JudgeCalibration
from omop_emb.mapping.judge.judge_job import JudgeJob, JudgeKnowledge, check_orders, judge_terms
from omop_emb.mapping.judge.prompt import ApprovedExample, ConceptContext, concept_contexts
from omop_emb.mapping.mapper import Mapper
from omop_emb.mapping.records import MappedTerm, Provenance, SourceTerm

if TYPE_CHECKING:
    from sqlalchemy import Engine


def prepare_judge(
    engine: Engine, mapper: Mapper, job: JudgeJob | None
) -> Callable[..., Iterator[MappedTerm]] | None:
    """judge_terms() with all that it has to know, before anything is mapped; None without a job.

    Raises:
        ConfigurationError: the judge is to order candidates, and what its choices are worth is not known.
    """
    if job is None:
        return None
    calibrations = judge_calibrations(mapper)
    check_orders(job, calibrations)
    return partial(
        judge_terms, job, knowledge=judge_knowledge(engine, mapper, job), calibrations=calibrations
    )


def judge_calibrations(mapper: Mapper) -> Mapping[str, JudgeCalibration]:
    """What the answers of each judge are worth here, by provider:model."""
    calibration = mapper.engine.ranker.calibration if mapper.provenance.calibrated else None
    return calibration.judges if calibration is not None else {}


def made_with(mapper: Mapper, job: JudgeJob | None) -> Provenance:
    """What a run is made with."""
    return replace(mapper.provenance, judge=job.model.source if job is not None and job.orders else "")


def judge_knowledge(engine: Engine, mapper: Mapper, job: JudgeJob) -> JudgeKnowledge:
    """Contexts from the database, and examples from the site's approvals."""

    def read_contexts(concept_ids: Iterable[int]) -> Mapping[int, ConceptContext]:
        with session_scope(engine) as session:
            return concept_contexts(driver_connection(session), concept_ids)

    def find_examples(terms: Sequence[SourceTerm]) -> list[list[ApprovedExample]]:
        queries = [mapper.engine.build_query(term, mapper.settings) for term in terms if term.has_name]
        examples = iter(mapper.engine.approved_examples(queries, job.examples))
        return [next(examples) if term.has_name else [] for term in terms]

    return JudgeKnowledge(read_contexts=read_contexts, find_examples=find_examples)
