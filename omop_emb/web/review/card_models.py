"""Card models: the JSON of a review's card, which has all that a person needs to decide one term."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field

from omop_emb.service.review.decision_records import Equivalence
from omop_emb.service.review.review_card import ReviewCandidate, ReviewCard
from omop_emb.service.review.text_differences import Span
from omop_emb.web.rest.concept_models import ConceptModel
from omop_emb.web.rest.search_models import ContributionModel
from omop_emb.web.review.review_models import DecisionModel, RowModel, TargetModel, target_models

SpanModel = tuple[str, str, str]
"""A piece of a text, what it is compared with the other text (see SpanKind), and what differs."""


class ReviewCandidateModel(BaseModel):
    """A candidate as a reviewer sees it."""

    rank: int
    concept_id: int
    concept_name: str
    domain_id: str
    vocabulary_id: str
    concept_class_id: str
    concept_code: str
    is_standard: bool
    invalid_reason: str | None = Field(description='"missing" if the loaded vocabulary lacks it.')
    score: float
    probability: float | None
    found_through: str
    flags: list[str] = Field(description="Differences that a reviewer must see.")
    contributions: list[ContributionModel] = Field(description="What speaks for (positive) and against it.")
    synonyms: list[str]
    remembered: list[str] = Field(description="Names that the site approved for it before.")
    term_spans: list[SpanModel] = Field(description="The term, piece by piece, compared with the name.")
    name_spans: list[SpanModel] = Field(description="The name, piece by piece, compared with the term.")
    targets: list[TargetModel] = Field(description="What approving it stores.")
    equivalence: Equivalence = Field(description="What approving it says, as far as the texts tell.")

    @classmethod
    def of(cls, found: ReviewCandidate) -> Self:
        """The model of a candidate."""
        one = found.candidate
        return cls(
            rank=one.rank,
            concept_id=one.concept_id,
            concept_name=one.concept_name,
            domain_id=one.domain_id,
            vocabulary_id=one.vocabulary_id,
            concept_class_id=one.concept_class_id,
            concept_code=one.concept_code,
            is_standard=found.is_standard,
            invalid_reason=found.invalid_reason,
            score=one.score,
            probability=one.probability,
            found_through=found.found_through,
            flags=list(one.flags),
            contributions=[ContributionModel.model_validate(reason) for reason in one.contributions],
            synonyms=list(found.synonyms),
            remembered=list(found.remembered),
            term_spans=_spans(found.comparison.term),
            name_spans=_spans(found.comparison.name),
            targets=target_models(found.targets),
            equivalence=found.equivalence,
        )


class CardAnswer(BaseModel):
    """A term, what is suggested for it, and what is known of terms like it."""

    row: RowModel
    context: dict[str, str] = Field(description="Columns that help to understand the term.")
    extra: dict[str, str] = Field(description="Further columns of the file.")
    further_names: list[str]
    translation: str = Field(description='A generative model\'s, searched by too; "" for none.')
    source_vocabulary: str | None
    allowed_domain: str | None = Field(description="That its concept must be in; several with |.")
    reason: str = Field(description='Why mapping decided as it did; "" if the term was not mapped.')
    ranker: str
    candidates: list[ReviewCandidateModel] = Field(description="Best first.")
    suggested_targets: list[TargetModel] = Field(description="What approving the suggestion as it is stores.")
    same_text: list[RowModel] = Field(description="Other terms with the same text.")
    same_text_total: int
    same_target: list[RowModel] = Field(description="Other terms approved for one of its candidates.")
    group_size: int = Field(description="How many terms may be decided together, with this one.")
    concepts: dict[int, ConceptModel] = Field(description="All concepts that the card names, by id.")
    decisions: list[DecisionModel] = Field(description="On the term, the first first.")

    @classmethod
    def of(cls, card: ReviewCard) -> Self:
        """The model of a card."""
        term, mapped = card.term, card.suggestion.mapped if card.suggestion is not None else None
        return cls(
            row=RowModel.of(card.current),
            context=dict(term.context),
            extra={name: value for name, value in term.extra.items() if value},
            further_names=list(term.further_names),
            translation=term.translation,
            source_vocabulary=term.source_vocabulary,
            allowed_domain=term.domain,
            reason=mapped.reason if mapped is not None else "",
            ranker=mapped.provenance.ranker if mapped is not None else "",
            candidates=[ReviewCandidateModel.of(one) for one in card.candidates],
            suggested_targets=target_models(card.suggested_targets),
            same_text=[RowModel.of(one) for one in card.same_text],
            same_text_total=card.same_text_total,
            same_target=[RowModel.of(one) for one in card.same_target],
            group_size=card.group_size,
            concepts={key: ConceptModel.model_validate(one) for key, one in card.concepts.items()},
            decisions=[DecisionModel.of(one) for one in card.decisions],
        )


def _spans(spans: tuple[Span, ...]) -> list[SpanModel]:
    return [(one.text, one.kind.value, one.about) for one in spans]
