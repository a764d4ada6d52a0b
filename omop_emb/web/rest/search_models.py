"""Search models: what REST answers to a text, and with what the answer was made."""

from __future__ import annotations

from pydantic import BaseModel, Field

from omop_emb.mapping.records import Retriever
from omop_emb.web.rest.concept_models import Answer, ConceptModel


class ProvenanceModel(Answer):
    """What an answer was made with: enough to repeat it."""

    space_id: int | None = Field(description="The embedding space.")
    model: str = Field(description="Its model, as provider:model.", examples=["local:all-MiniLM-L6-v2"])
    fingerprint: str = Field(description="Digest of everything that shapes its vectors.")
    vocabulary: str = Field(description='Release of the vocabulary; "" if it names none.')
    ranker: str = Field(description="What ordered the candidates.", examples=["shipped-3"])
    calibrated: bool = Field(description="Whether there are probabilities.")
    version: str = Field(description="Of omop-emb.")
    space_vocabulary: str | None = Field(
        description="Release that the space was built from, where it is another; otherwise null."
    )
    further_spaces: str = Field(
        description='Model and fingerprint of each space that was searched besides; "" for none.'
    )


class VariantModel(Answer):
    """A text, or a rewriting of it, that was looked up."""

    text: str
    rule: str = Field(description='The rule that wrote it; "original" for the text itself.')


class PathStepModel(Answer):
    """A relationship that leads from the matched concept towards this one."""

    concept_id: int
    concept_name: str
    relationship_id: str


class MappedValueModel(Answer):
    """A value, unit, operator … that belongs beside a mapping."""

    relationship_id: str = Field(examples=["Maps to value"])
    concept_id: int
    concept_name: str


class ContributionModel(Answer):
    """A reason for (positive) or against (negative) a candidate."""

    reason: str
    contribution: float


class CandidateModel(Answer):
    """A concept that a term may mean."""

    rank: int = Field(description="From 1, the best.", ge=1)
    concept_id: int
    concept_name: str
    domain_id: str
    vocabulary_id: str
    concept_class_id: str
    standard_concept: str | None
    concept_code: str
    score: float = Field(description="The ranker's order; comparable within one term only.")
    probability: float | None = Field(
        description="That this concept is right; null where none was calibrated.", ge=0, le=1
    )
    variant: VariantModel = Field(description="The variant of the term that found it.")
    matched_text: str = Field(description="The concept's text that matched best.")
    matched_kind: str = Field(
        description='"name", "synonym", "code", "alias", "short name", "UNII name" or "HPO synonym".'
    )
    retrievers: dict[Retriever, float] = Field(description="Score from each retriever that found it.")
    path: list[PathStepModel] = Field(description="From the matched concept to this one; empty if the same.")
    mapped_values: list[MappedValueModel]
    flags: list[str] = Field(description='Differences that a reviewer must see, such as "laterality".')
    contributions: list[ContributionModel] = Field(description="Reasons, if `explain` requested them.")


class FoundModel(Answer):
    """A concept that a text may mean."""

    rank: int = Field(description="From 1, the best, counted over all pages.", ge=1)
    concept: ConceptModel
    score: float = Field(description="The order, larger is better; comparable within one answer only.")
    probability: float | None = Field(
        description="That this concept is right; null where none was calibrated.", ge=0, le=1
    )
    found_through: str = Field(description="Why it was found, for people.")
    flags: list[str] = Field(description="Differences between text and concept that a reader must see.")
    contributions: list[ContributionModel] = Field(description="Reasons, if `explain` requested them.")
    maps_to: list[ConceptModel] = Field(
        description="Of a concept that is not standard: the standard ones that it leads to."
    )


class SearchAnswer(BaseModel):
    """A page of the concepts that a text may mean, best first."""

    query: str = Field(description="The text.")
    concepts: list[FoundModel]
    expansions: list[str] = Field(description="The text with its abbreviations written out.")
    suggestions: list[str] = Field(description='Other texts, where nothing fits well: "did you mean".')
    notes: list[str] = Field(description="What a reader should know before the concepts.")
    offset: int = Field(description="How many come before this page.", ge=0)
    next: str | None = Field(description="Path and query of the next page; null for the last one.")
    provenance: ProvenanceModel


class CompletionModel(Answer):
    """A name or synonym that begins as someone types."""

    text: str
    concept: ConceptModel


class CompletionAnswer(BaseModel):
    """Texts that begin with a prefix, or have a word that does; each concept once."""

    prefix: str
    completions: list[CompletionModel]
