"""Review parameters: what the routes of a review share, and how they ask about a project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar

import psycopg
from fastapi import HTTPException, Path, Query
from sqlalchemy.orm import Session

from omop_emb.database.engine import driver_connection
from omop_emb.errors import InputError
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.project_store import find_project
from omop_emb.web.problems import Problem
from omop_emb.web.rest.parameters import PROBLEMS
from omop_emb.web.review.review_models import MAX_POSITION
from omop_emb.web.state import ServerState

_Result = TypeVar("_Result")
_Parameters = ParamSpec("_Parameters")

ProjectId = Annotated[int, Path(ge=1, le=MAX_POSITION, description="Id of the review.")]
Position = Annotated[int, Path(ge=1, le=MAX_POSITION, description="Of the term in the file, from 1.")]
Positions = Annotated[
    str, Query(pattern=r"^\d{1,9}(,\d{1,9})*$", max_length=4_000, description="Positions, with commas.")
]

REVIEW_PROBLEMS: dict[int | str, dict[str, object]] = {
    **PROBLEMS,
    404: {"model": Problem, "description": "There is no such review, or it has no such term."},
}


def parse_positions(text: str) -> list[int]:
    """The numbers of a text with commas between them, each once."""
    return list(dict.fromkeys(map(int, text.split(","))))


async def ask_review(
    state: ServerState,
    project_id: int,
    function: Callable[Concatenate[psycopg.Connection[Any], Project, _Parameters], _Result],
    *args: _Parameters.args,
    **kwargs: _Parameters.kwargs,
) -> _Result:
    """The result of a function of a connection and a project, in a transaction of its own.

    Raises:
        HTTPException: 404, there is no such review.
    """

    def call(session: Session) -> _Result:
        connection = driver_connection(session)
        try:
            project = find_project(connection, project_id)
        except InputError:
            raise HTTPException(404, f"there is no review {project_id}") from None
        return function(connection, project, *args, **kwargs)

    answer = await state.query(call)
    if state.settings.live_memory:
        state.live_memory.wake(project_id)
    return answer
