"""Read options: what a user says about a file instead of leaving it to detection."""

from __future__ import annotations

from dataclasses import dataclass, field

from omop_emb.mapping.files.columns import Columns


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a file is read. An option that can do nothing with a file is refused.

    Attributes:
        columns: headers by role.
        encoding: a Python codec, for text; None detects it.
        separator: one character, or "none" for a text with one term per line; None detects it.
        sheet: of an Excel workbook; None takes the first visible one that has terms.
        header_row: line or row of the header, from 1; 0 for a file without one; None detects it.
        source_vocabulary: OMOP vocabulary of all codes; a column for it has precedence.
    """

    columns: Columns = field(default_factory=Columns)
    encoding: str | None = None
    separator: str | None = None
    sheet: str | None = None
    header_row: int | None = None
    source_vocabulary: str | None = None
