"""Vocabulary routes: what is loaded and which embedding spaces exist."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from omop_emb.errors import VocabularyError
from omop_emb.indexing.status import SpaceStatus
from omop_emb.service import space_overviews, vocabulary_overview
from omop_emb.web.rest.concept_models import Answer
from omop_emb.web.rest.parameters import PROBLEMS, State

router = APIRouter(prefix="/api/v1", tags=["vocabulary"], responses=PROBLEMS)


class VocabularyAnswer(Answer):
    """The loaded vocabulary."""

    version: str | None = Field(description="Its release, such as v5.0 30-AUG-24.")
    source: str | None = Field(description="What was loaded; null for the tables of a CDM.")
    loaded_at: datetime | None = Field(description="When; null for the tables of a CDM.")
    rows: dict[str, int | None] = Field(description="Rows of each table; null where they are not counted.")
    domains: list[str] = Field(description="The values that the filter `domain` takes.")
    vocabularies: list[str] = Field(description="The values that the filter `vocabulary` takes.")
    concept_classes: list[str] = Field(description="The values that the filter `concept_class` takes.")


class SpaceModel(BaseModel):
    """An embedding space."""

    name: str
    is_active: bool = Field(description="Whether search and mapping use it.")
    model: str = Field(description="As provider:model.")
    dimensions: int = Field(ge=1)
    index_type: str = Field(description='"flat" is exact, "hnsw" approximate and fast.')
    texts: int = Field(description="Embedded texts.", ge=0)
    concepts: int = Field(description="Concepts that have any.", ge=0)
    release: str | None = Field(description="Vocabulary release that it was built from.")
    state: str = Field(description='"ready", or what is missing and what to run.')


class SpacesAnswer(BaseModel):
    """All embedding spaces, oldest first."""

    spaces: list[SpaceModel]


@router.get("/vocabulary", summary="Show the loaded vocabulary")
async def get_vocabulary(state: State) -> VocabularyAnswer:
    """Release, rows, and the values that filters take."""
    found = await state.query(vocabulary_overview)
    if found is None:
        raise VocabularyError("no vocabulary is loaded: run omop-emb vocabulary load PATH")
    return VocabularyAnswer.model_validate(found)


@router.get("/spaces", summary="List the embedding spaces")
async def list_spaces(state: State) -> SpacesAnswer:
    """Each space's model and size, and which one is active."""
    found = await state.query(space_overviews)
    return SpacesAnswer(spaces=[_space_model(one) for one in found])


def _space_model(status: SpaceStatus) -> SpaceModel:
    space = status.space
    return SpaceModel(
        name=space.name,
        is_active=space.is_active,
        model=f"{space.fingerprint.provider}:{space.fingerprint.model}",
        dimensions=space.fingerprint.dimensions,
        index_type=space.index_type.value,
        texts=status.rows,
        concepts=status.concepts,
        release=space.vocabulary_release,
        state=status.state,
    )
