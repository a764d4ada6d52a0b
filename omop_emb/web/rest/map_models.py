"""Map models: terms and settings in, decisions with candidates out."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from omop_emb.mapping.ranking.policy import Policy
from omop_emb.mapping.records import Decision, SourceTerm
from omop_emb.mapping.settings import Settings
from omop_emb.records import MAX_CONCEPT_ID
from omop_emb.web.rest.concept_models import Answer
from omop_emb.web.rest.parameters import make_filter
from omop_emb.web.rest.search_models import CandidateModel, MappedValueModel, ProvenanceModel

_Text = Annotated[str, StringConstraints(max_length=2_000)]
_Name = Annotated[str, StringConstraints(max_length=200)]
_ConceptId = Annotated[int, Field(ge=0, le=MAX_CONCEPT_ID)]
MOST_TERMS = 1_000


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")  # a misspelt name would be ignored silently


class TermModel(_Strict):
    """A term as a source system writes it; it has a name, or a code with its vocabulary."""

    name: _Text = Field(default="", description="The text to map.", examples=["Haemoglobin F Est"])
    code: _Name = Field(default="", description="The source's code.")
    domain: _Name | None = Field(
        default=None, description='OMOP domain that the concept must be in; several with "|".'
    )
    source_vocabulary: _Name | None = Field(
        default=None, description="OMOP vocabulary of the code; without it the code is not looked up."
    )
    further_names: list[_Text] = Field(
        default=[], max_length=10, description="Other texts for the same thing, such as a translation."
    )
    frequency: int | None = Field(
        default=None, ge=0, le=10**15, description="How often it occurs; decides what is reviewed first."
    )
    suggestions: list[_ConceptId] = Field(
        default=[], max_length=20, description="Concept ids that the source suggests."
    )

    def to_term(self) -> SourceTerm:
        """The term as the library takes it."""
        return SourceTerm(
            name=self.name,
            code=self.code,
            domain=self.domain,
            source_vocabulary=self.source_vocabulary,
            further_names=tuple(self.further_names),
            frequency=self.frequency,
            suggestions=tuple(self.suggestions),
        )


class MapSettingsModel(_Strict):
    """How terms are mapped, as the options of `omop-emb map`."""

    candidates: int = Field(default=10, ge=1, le=100, description="Candidates per term.")
    explain: int = Field(default=0, ge=0, le=100, description="For how many candidates to give reasons.")
    accept_precision: float | None = Field(
        default=None, ge=0.5, lt=1, description="Accept matches of which this share is right; null for none."
    )
    accept_untrained: bool = Field(default=False, description="Accept without approvals of your own.")
    accept_codes: bool = Field(
        default=False, description="Accept what a code maps to, unless the name contradicts it."
    )
    domain: list[_Name] = Field(default=[], max_length=50, description="Only these domains.")
    vocabulary: list[_Name] = Field(default=[], max_length=50, description="Only these vocabularies.")
    concept_class: list[_Name] = Field(default=[], max_length=50, description="Only these classes.")
    any: bool = Field(default=False, description="Include non-standard and invalid concepts.")
    prefer: list[_Name] = Field(
        default=[], max_length=50, description="Put such concepts first: drug=ingredient, brand=no …"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.accept_untrained and self.accept_precision is None:
            raise ValueError("accept_untrained does nothing without accept_precision, such as 0.98")
        return self

    def to_settings(self) -> Settings:
        """The settings as the library takes them."""
        return Settings(
            candidates=self.candidates,
            explain=self.explain,
            accept_codes=self.accept_codes,
            prefer=self.prefer,
            policy=Policy(accept_precision=self.accept_precision, accept_untrained=self.accept_untrained),
            concept_filter=make_filter(
                self.domain,
                self.vocabulary,
                self.concept_class,
                standard=not self.any,
                valid=not self.any,
            ),
        )


class MapRequest(_Strict):
    """Terms to map, and how."""

    terms: list[_Text | TermModel] = Field(
        min_length=1,
        max_length=MOST_TERMS,
        description="Terms; a text alone is a term with that name.",
        examples=[["chest pain", {"name": "Type 2 diabetes", "domain": "Condition"}]],
    )
    settings: MapSettingsModel = Field(default_factory=MapSettingsModel)


class MappedTermModel(Answer):
    """A term with the decision about it."""

    name: str
    code: str
    decision: Decision = Field(description="What to do with the first candidate.")
    reason: str = Field(description="Why, for people.")
    probability: float | None = Field(
        description="That the first candidate is right; null where none was calibrated.", ge=0, le=1
    )
    priority: float = Field(description="Frequency times uncertainty: review the largest first.")
    targets: list[int] = Field(description="Concept ids that it maps to under the decision.")
    mapped_values: list[MappedValueModel] = Field(description="Values, units … that belong beside them.")
    candidates: list[CandidateModel] = Field(description="Best first.")
    by_code: list[int] = Field(description="Concept ids that its code maps to.")
    disagrees: bool = Field(description="Whether code and name lead to different concepts.")
    unknown_code: bool = Field(description="Whether its code does not exist.")


class MapAnswer(BaseModel):
    """One result for each term, in the same order."""

    terms: list[MappedTermModel]
    provenance: ProvenanceModel
