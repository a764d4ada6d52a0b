"""Concept models: what REST answers about concepts, with a meaning for every field."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """A model that is filled from a dataclass with the same names."""

    model_config = ConfigDict(from_attributes=True)


class ConceptModel(Answer):
    """A row of OMOP's CONCEPT table."""

    concept_id: int = Field(description="OMOP concept id.", examples=[316866])
    concept_name: str = Field(description="Its name.", examples=["Hypertensive disorder"])
    domain_id: str | None = Field(description="Its domain.", examples=["Condition"])
    vocabulary_id: str | None = Field(description="Its vocabulary.", examples=["SNOMED"])
    concept_class_id: str | None = Field(description="Its class.", examples=["Disorder"])
    standard_concept: str | None = Field(
        description='"S" for a standard concept, "C" for a classification, null for neither.'
    )
    concept_code: str | None = Field(description="Its code in the vocabulary.", examples=["38341003"])
    invalid_reason: str | None = Field(
        default=None, description='"D" if deleted, "U" if replaced; null for a valid concept.'
    )


class RelativeModel(Answer):
    """A concept, and how it is related to the one in question."""

    relationship: str = Field(
        description='OMOP\'s relationship, such as "Is a"; "ancestor", "descendant" or "sibling".'
    )
    concept: ConceptModel = Field(description="The other concept; with an empty name if it is not loaded.")
    distance: int | None = Field(
        description="Levels of an ancestor or descendant, 1 for a parent or child; otherwise null."
    )


class RelativesAnswer(BaseModel):
    """A page of a concept's relatives, the nearest first."""

    concept_id: int = Field(description="The concept that was asked about.")
    kind: str = Field(description="How they are related to it.", examples=["children"])
    relatives: list[RelativeModel] = Field(description="In order of distance, relationship and concept id.")
    offset: int = Field(description="How many come before this page.", ge=0)
    next: str | None = Field(description="Path and query of the next page; null for the last one.")


class SynonymModel(Answer):
    """Another name of a concept."""

    text: str = Field(description="The name.")
    language_concept_id: int | None = Field(description="OMOP concept id of its language.")


class ConceptAnswer(Answer):
    """A concept with its names and nearest relatives; long lists are cut, `counts` says how long they are."""

    concept: ConceptModel
    valid_start: date | None = Field(description="First day on which it is valid.")
    valid_end: date | None = Field(description="Last day on which it is valid.")
    synonyms: list[SynonymModel] = Field(description="Its other names, English ones first.")
    parents: list[RelativeModel]
    children: list[RelativeModel]
    maps_to: list[RelativeModel] = Field(description="The standard concepts that it maps to.")
    mapped_from: list[RelativeModel] = Field(description="The concepts that map to it.")
    ancestors: list[RelativeModel] = Field(description="The nearest first.")
    counts: dict[str, int] = Field(description="Name of a list -> how many there are in all.")
    athena_url: str = Field(description="Its page at Athena, where its vocabulary is public.")


class SimilarModel(Answer):
    """A concept whose vector is near."""

    concept_id: int
    concept_name: str
    domain_id: str | None
    vocabulary_id: str | None
    concept_class_id: str | None
    standard_concept: str | None
    concept_code: str | None
    matched_text: str = Field(description="The text whose vector is nearest.")
    similarity: float = Field(description="Cosine similarity, 1 for the same direction.", ge=-1.001, le=1.001)


class SimilarAnswer(BaseModel):
    """The concepts whose vectors are nearest to a concept's own, nearest first."""

    concept_id: int = Field(description="The concept that was asked about.")
    similar: list[SimilarModel]
