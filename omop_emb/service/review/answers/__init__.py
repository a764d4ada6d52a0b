"""Answers: what people filled in a file that a review was written as, read back as decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.service.review.answers.answer_records import (
        AnswerConflict as AnswerConflict,
        ReadBackReport as ReadBackReport,
    )
    from omop_emb.service.review.answers.answered_file import read_back as read_back

__getattr__, __dir__ = lazy_names(__name__)
