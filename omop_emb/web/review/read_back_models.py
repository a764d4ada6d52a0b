"""Read-back models: what became of a filled file, as JSON."""

from __future__ import annotations

from pydantic import BaseModel, Field

from omop_emb.service.review.answers.answer_records import AnswerConflict, ReadBackReport
from omop_emb.service.review.decision_records import Equivalence, ReviewState
from omop_emb.web.review.review_models import DecisionModel, TargetModel, target_models


class SaidModel(BaseModel):
    """What a row of the file says."""

    state: ReviewState
    targets: list[TargetModel]
    equivalence: Equivalence
    comment: str


class ConflictModel(BaseModel):
    """A row that was not stored, as somebody has decided its term since the file was written."""

    line: int = Field(description="Of the row in the file.")
    position: int
    source_code: str
    source_name: str
    said: SaidModel = Field(description="By the file.")
    current: DecisionModel | None = Field(description="The decision that stands.")

    @classmethod
    def of(cls, conflict: AnswerConflict) -> ConflictModel:
        """The model of a conflict."""
        said, current = conflict.said, conflict.current
        return cls(
            line=conflict.line,
            position=conflict.position,
            source_code=conflict.source_code,
            source_name=conflict.source_name,
            said=SaidModel(
                state=said.state,
                targets=target_models(said.targets),
                equivalence=said.equivalence,
                comment=said.comment,
            ),
            current=None if current is None else DecisionModel.of(current),
        )


class ReadBackAnswer(BaseModel):
    """What became of the rows of a file."""

    rows: int = Field(description="Read, without a header; of Usagi's file source codes.")
    decided: int = Field(description="Rows that became decisions.")
    unchanged: int = Field(description="Rows that say what they said before, or what was decided since.")
    repeated: int = Field(description="Rows that were read back before.")
    conflicts: list[ConflictModel] = Field(description="The first of them.")
    conflict_count: int
    problems: list[str] = Field(description="The first rows that could not be used, and why.")
    problem_count: int
    notes: list[str]

    @classmethod
    def of(cls, report: ReadBackReport) -> ReadBackAnswer:
        """The model of a report."""
        return cls(
            rows=report.rows,
            decided=report.decided,
            unchanged=report.unchanged,
            repeated=report.repeated,
            conflicts=[ConflictModel.of(one) for one in report.conflicts],
            conflict_count=report.conflict_count,
            problems=[str(one) for one in report.problems],
            problem_count=report.problem_count,
            notes=list(report.notes),
        )
