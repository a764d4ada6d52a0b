"""MCP models: what an assistant's tools take and answer, with a meaning, unit and range for every field."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from omop_emb.mapping.records import Decision, SourceTerm
from omop_emb.web.rest.concept_models import (
    Answer,
    ConceptModel,
    RelativeModel,
    SimilarModel,
    SynonymModel,
)

MOST_CHARACTERS, MOST_NAME_CHARACTERS = 2_000, 200
MOST_TERMS, MOST_CONCEPTS = 100, 100


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds the character NUL, which no text has")
    return text


def _with_content(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank")
    return text


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_text(value: Any) -> Any:
    # Models give an id as a number as often as not.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Text = Annotated[str, Field(max_length=MOST_CHARACTERS), AfterValidator(_without_nul)]
Name = Annotated[str, Field(max_length=MOST_NAME_CHARACTERS), AfterValidator(_without_nul)]
Query = Annotated[
    Text,
    AfterValidator(_with_content),
    Field(description='A clinical term or abbreviation, such as "htn"; a concept id; or VOCABULARY:CODE.'),
]
Reference = Annotated[
    Name,
    BeforeValidator(_as_text),
    AfterValidator(_with_content),
    Field(description="A concept id, such as 316866, or VOCABULARY:CODE, such as SNOMED:38341003."),
]
Names = Annotated[Sequence[Name], BeforeValidator(_listed), Field(max_length=50)]
Domains = Annotated[Names, Field(description='Only these OMOP domains, such as "Condition"; empty for all.')]
Vocabularies = Annotated[Names, Field(description='Only these vocabularies, such as "LOINC"; empty for all.')]
Classes = Annotated[Names, Field(description='Only these concept classes, such as "Ingredient".')]
Limit = Annotated[int, Field(ge=1, le=MOST_CONCEPTS, description="How many concepts.")]


class SearchHit(BaseModel):
    """A concept that a text may mean."""

    id: str = Field(description="Its concept id, for fetch.")
    title: str = Field(description="Its name.")
    url: str = Field(description="Its page at Athena, or its address on this server.")
    concept: ConceptModel
    probability: float | None = Field(
        ge=0,
        le=1,
        description="Probability that this concept is what the text means; null if it is unknown, as for all "
        "but the first. Never derive one from the rank.",
    )
    found_through: str = Field(description="Why it was found, one line.")
    warnings: list[str] = Field(
        description='Differences from the text, such as "laterality: left, not right".'
    )
    maps_to: list[ConceptModel] = Field(description="Of a non-standard concept: the standard ones for it.")


class SearchResults(BaseModel):
    """Concepts for a text, the likeliest first."""

    results: list[SearchHit]
    expansions: list[str] = Field(description="The text with its abbreviations written out.")
    suggestions: list[str] = Field(description="Other texts to search for, where nothing fits well.")
    notes: list[str] = Field(description="What to tell the reader before the concepts.")
    vocabulary: str = Field(description='Release of the vocabulary, such as "v5.0 30-AUG-24"; may be "".')


class Document(BaseModel):
    """A concept as a text to read and cite."""

    id: str = Field(description="Its concept id.")
    title: str = Field(description="Its name.")
    text: str = Field(description="Names, status, mappings and hierarchy, one fact a line.")
    url: str = Field(description="Its page at Athena, or its address on this server.")
    metadata: dict[str, str] = Field(description="Code, domain, status and the like, by name.")


class TermInput(BaseModel):
    """A term as a source system writes it; it has a name, or a code with its vocabulary."""

    model_config = ConfigDict(extra="forbid")  # a misspelt name would be ignored silently

    name: Text = Field(default="", description="The text to map.")
    code: Name = Field(default="", description="The source's code, if it has one.")
    source_vocabulary: Name | None = Field(
        default=None, description='OMOP vocabulary of the code, such as "ICD10CM".'
    )
    domain: Name | None = Field(
        default=None, description='OMOP domain that the concept must be in, such as "Measurement".'
    )

    def to_term(self) -> SourceTerm:
        """The term as the library takes it."""
        return SourceTerm(
            name=self.name, code=self.code, source_vocabulary=self.source_vocabulary, domain=self.domain
        )


Terms = Annotated[
    Sequence[Text | TermInput],
    BeforeValidator(_listed),
    Field(
        min_length=1,
        max_length=MOST_TERMS,
        description=f"1 to {MOST_TERMS} terms; a text alone is a term with that name.",
    ),
]


class MapCandidate(BaseModel):
    """A standard concept that a term may mean."""

    rank: int = Field(ge=1, description="1 is the best.")
    concept: ConceptModel
    probability: float | None = Field(
        ge=0, le=1, description="Probability that this concept is right; null if it is unknown."
    )
    matched_text: str = Field(description="The name, synonym or code of the concept that matched.")
    warnings: list[str] = Field(description="Differences from the term that a reviewer must see.")
    reasons: list[str] = Field(description="For (+) and against (-) it, the strongest first.")


class TermSuggestion(BaseModel):
    """A term with a suggestion of what to map it to."""

    name: str
    code: str
    decision: Decision = Field(
        description='What the mapper would do: "review" leaves it to a person, "no match" found nothing that '
        'fits, "accept" is safe by the bound that was set. None of them is an approval.'
    )
    probability: float | None = Field(
        ge=0, le=1, description="Probability that the first candidate is right; null if it is unknown."
    )
    reason: str = Field(description="Why, for people.")
    targets: list[int] = Field(description="Concept ids that it would map to; several if its code does.")
    candidates: list[MapCandidate] = Field(description="Best first; empty if nothing was found.")


class MapSuggestions(BaseModel):
    """A suggestion for each term, in the order of the terms."""

    terms: list[TermSuggestion]
    note: str = Field(description="What the reader must know: only a person approves a mapping.")
    vocabulary: str = Field(description='Release of the vocabulary; "" where it is not known.')
    model: str = Field(description='Embedding model, as provider:model; "" if nothing was mapped.')
    ranker: str = Field(description='What ordered the candidates; "" if nothing was mapped.')


class ConceptDetails(BaseModel):
    """A concept with its names, mappings and nearest relatives; `counts` says how long cut lists are."""

    concept: ConceptModel
    url: str = Field(description="Its page at Athena, or its address on this server.")
    valid_start: date | None = Field(description="First day on which it is valid.")
    valid_end: date | None = Field(description="Last day on which it is valid; 2099-12-31 means no end.")
    facts: dict[str, str] = Field(description="Status, synonyms, mappings, release and the like in words.")
    synonyms: list[SynonymModel]
    parents: list[RelativeModel]
    children: list[RelativeModel]
    maps_to: list[RelativeModel] = Field(description="Standard concepts to use instead; itself if standard.")
    mapped_from: list[RelativeModel] = Field(description="Codes and retired concepts that map to it.")
    counts: dict[str, int] = Field(description="Name of a list -> how many there are in all.")


class RelativesList(BaseModel):
    """A page of a concept's relatives, the nearest first."""

    concept: ConceptModel
    kind: str = Field(description="How they are related to it.")
    relatives: list[RelativeModel]
    total: int = Field(ge=0, description="How many there are in all.")
    next_offset: int | None = Field(description="Offset of the next page; null for the last.")
    not_loaded: list[str] = Field(
        description="Tables that the vocabulary lacks, so that relatives are missing."
    )


class SimilarConcepts(BaseModel):
    """The concepts whose vectors are nearest to a concept's own, nearest first."""

    concept: ConceptModel
    similar: list[SimilarModel]


class VocabularyDocument(Answer):
    """The loaded vocabulary."""

    version: str | None = Field(description='Such as "v5.0 30-AUG-24"; null where it does not say.')
    source: str | None = Field(description="The download that was loaded; null for the tables of a CDM.")
    rows: dict[str, int | None] = Field(description="Rows of each table; null where they were not counted.")
    domains: list[str]
    vocabularies: list[str]
    concept_classes: list[str]
