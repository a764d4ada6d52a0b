"""Bulk models: what the JSON of bulk approvals says, with a meaning for every field."""

from __future__ import annotations

from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from omop_emb.records import MAX_CONCEPT_ID
from omop_emb.service.review.bulk_records import MAX_ROWS, BulkPreview, BulkResult, BulkTerms
from omop_emb.web.review.review_models import MAX_POSITION


class BulkRowModel(BaseModel):
    """A term whose first candidate would be approved."""

    position: int
    version: int
    source_code: str
    source_name: str
    concept_id: int
    concept_name: str
    domain: str
    probability: float = Field(description="That the concept is right.")


class BulkPreviewAnswer(BaseModel):
    """What a bulk approval would approve."""

    refusal: str = Field(description="Why nothing can be approved, empty if something can.")
    ranker: str = Field(description="Whose probabilities count.")
    precision: float
    rows: list[BulkRowModel] = Field(description="With the highest probabilities first.")
    expected_errors: float = Field(description="How many are to be expected wrong, by their probabilities.")
    most_errors: float = Field(description="How many may be wrong if the precision just holds.")
    left_out: dict[str, int] = Field(description="Terms above the bound that are left out, by reason.")
    has_more: bool = Field(description=f"Whether there are more than {MAX_ROWS:,}.")

    @classmethod
    def of(cls, preview: BulkPreview) -> Self:
        """The model of a preview."""
        return cls(
            refusal=preview.refusal,
            ranker=preview.ranker,
            precision=preview.terms.precision,
            rows=[
                BulkRowModel(**{name: getattr(row, name) for name in BulkRowModel.model_fields})
                for row in preview.rows
            ],
            expected_errors=preview.expected_errors,
            most_errors=preview.most_errors,
            left_out=dict(preview.left_out),
            has_more=preview.has_more,
        )


class ShownRowModel(BaseModel):
    """A row of the preview, as it was shown."""

    model_config = ConfigDict(extra="forbid")
    position: int = Field(ge=1, le=MAX_POSITION)
    version: int = Field(ge=0, lt=MAX_POSITION)
    concept_id: int = Field(ge=1, le=MAX_CONCEPT_ID)


class BulkRequest(BaseModel):
    """Approve what a preview showed, no more."""

    model_config = ConfigDict(extra="forbid")
    request_id: UUID = Field(description="Made where the person decides; sent again, it stores nothing more.")
    precision: float = Field(ge=0.5, lt=1, description="That must hold with 95 % confidence.")
    accept_untrained: bool = Field(
        default=False,
        description="Use thresholds that were learned at other hospitals, where they may not hold.",
    )
    rows: list[ShownRowModel] = Field(min_length=1, max_length=MAX_ROWS)

    @property
    def terms(self) -> BulkTerms:
        """What is demanded."""
        return BulkTerms(precision=self.precision, accept_untrained=self.accept_untrained)


class LeftOutModel(BaseModel):
    """A term of the preview that was not approved."""

    position: int
    reason: str


class BulkAnswer(BaseModel):
    """What a bulk approval did; one undoing takes all of it back."""

    approved: list[int] = Field(description="Positions.")
    left_out: list[LeftOutModel]

    @classmethod
    def of(cls, result: BulkResult) -> Self:
        """The model of a result."""
        return cls(
            approved=[one.position for one in result.stored],
            left_out=[
                LeftOutModel(position=position, reason=reason) for position, reason in result.left_out.items()
            ],
        )
