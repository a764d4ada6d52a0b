"""Training routes: a site's ranker is trained on request, on what its reviews approved."""

from __future__ import annotations

from typing import Any, Self

import psycopg
from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from omop_emb.service.review.project_records import Project
from omop_emb.service.review.training_runner import TrainingState, TrainingStatus
from omop_emb.web.rest.parameters import State, require_json
from omop_emb.web.review.review_parameters import REVIEW_PROBLEMS, ProjectId, ask_review

router = APIRouter(prefix="/api/v1/reviews/{project_id}", tags=["review"], responses=REVIEW_PROBLEMS)

# What is shown of a cross-validation.
_FIGURES = ("recall@1", "recall@5", "MRR", "accepted at 0.95", "precision at 0.95")


class FiguresModel(BaseModel):
    """What cross-validation measured of a ranker, on terms that it had not learned from."""

    ranker: str
    figures: dict[str, float]


class TrainingAnswer(BaseModel):
    """A training of the site's ranker."""

    state: TrainingState
    message: str = Field(description="What it does, or why it failed.")
    ranker: str = Field(description="The ranker that came of it and is in use.")
    terms: int = Field(description="With a match, that it learned from.")
    figures: list[FiguresModel] = Field(description="The shipped ranker, and the site's own, side by side.")
    uses_own_trees: bool = Field(
        description="Whether the site's own trees order candidates, or only probabilities are its own."
    )
    notes: list[str]

    @classmethod
    def of(cls, status: TrainingStatus) -> Self:
        """The model of a training."""
        return cls(
            state=status.state,
            message=status.message,
            ranker=status.ranker,
            terms=status.terms,
            figures=[
                FiguresModel(
                    ranker=ranker, figures={name: figures[name] for name in _FIGURES if name in figures}
                )
                for ranker, figures in (status.figures or {}).items()
            ],
            uses_own_trees=status.uses_own_trees,
            notes=list(status.notes),
        )


@router.post("/training", summary="Train the site's ranker", dependencies=[Depends(require_json)])
async def start_training(state: State, project_id: ProjectId) -> TrainingAnswer:
    """Begin to train on all that the site has approved; nothing happens if that runs already.

    When it is done the site uses the ranker, and open terms are ranked again in the background.
    """
    project = await ask_review(state, project_id, _project)
    return TrainingAnswer.of(state.training.start(project))


@router.get("/training", summary="Show how far the training is")
async def get_training(state: State, project_id: ProjectId) -> TrainingAnswer:
    """The latest training of the site since the server started, and what it gained."""
    project = await ask_review(state, project_id, _project)
    return TrainingAnswer.of(state.training.status(project.site))


def _project(_: psycopg.Connection[Any], project: Project) -> Project:
    return project
