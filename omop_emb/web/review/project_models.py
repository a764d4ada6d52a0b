"""Project models: reviews, their files before they begin, and their exports, as JSON."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from omop_emb.service.review.review_overviews import ProjectOverview
from omop_emb.web.rest.concept_models import Answer


class ReviewModel(BaseModel):
    """A file under review."""

    project_id: int = Field(description="Id of the review.")
    name: str
    file_name: str
    site: str = Field(description="Whose memory and ranker are used.")
    created_by: str
    created_at: datetime
    terms: int | None = Field(description="How many there are; null while they are being read.")
    terms_read: int
    terms_mapped: int
    is_ready: bool = Field(description="Whether all terms have been read and mapped.")
    problems: list[str] = Field(description="The first rows and values that were not used.")
    problem_count: int = Field(description="How many there are in all.")
    failure: str = Field(description='Why reading or mapping stopped; "" if it did not.')
    decided: int = Field(description="Terms that a person has settled.")
    flagged: int = Field(description="Terms that wait for somebody.")
    reviewers: list[str]
    last_decided_at: datetime | None

    @classmethod
    def of(cls, overview: ProjectOverview) -> ReviewModel:
        """The model of an overview."""
        project, progress = overview.project, overview.progress
        return cls(
            project_id=project.project_id,
            name=project.name,
            file_name=project.file_name,
            site=project.site,
            created_by=project.created_by,
            created_at=project.created_at,
            terms=progress.terms,
            terms_read=progress.read,
            terms_mapped=progress.mapped,
            is_ready=progress.is_ready,
            problems=list(project.reading.problems),
            problem_count=project.reading.problem_count,
            failure=project.reading.failure,
            decided=overview.decided,
            flagged=overview.flagged,
            reviewers=list(overview.reviewers),
            last_decided_at=overview.last_decided_at,
        )


class ReviewsAnswer(BaseModel):
    """All reviews, the latest first."""

    reviews: list[ReviewModel]


class PreviewAnswer(Answer):
    """How a file would be read."""

    lines: list[str] = Field(description="What was understood, for people.")
    headers: list[str]
    roles: dict[str, list[str]] = Field(description='"term", "code", "frequency" … -> headers.')
    rows: list[list[str]] = Field(description="The first rows.")
    decided_by: str = Field(description='The column of what a person decided; "" for none.')
    problem: str = Field(description='Why it cannot be read so; "" for nothing.')


class DeleteRequest(BaseModel):
    """A request to delete a review."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(description="Of the review, so that no other is deleted by mistake.", max_length=1_000)


class Done(BaseModel):
    """The answer where there is nothing to tell."""

    is_done: bool = True


class ExportOptionModel(Answer):
    """What a person may choose about an export."""

    name: str
    label: str
    default: str
    choices: list[str]
    is_flag: bool
    is_required: bool


class ExportModel(Answer):
    """A format in which a review can be written."""

    name: str
    label: str
    suffix: str
    media_type: str
    options: list[ExportOptionModel]


class ExportsAnswer(BaseModel):
    """All formats."""

    exports: list[ExportModel]


class LeftOutModel(Answer):
    """Terms that are not in an export, for one reason."""

    reason: str
    count: int
    examples: list[str]


class ExportReportModel(Answer):
    """What an export would have."""

    rows: int
    left_out: list[LeftOutModel]
    notes: list[str]
