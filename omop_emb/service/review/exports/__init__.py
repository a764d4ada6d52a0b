"""Exports of a review: `export_file()` writes one, `EXPORTS` are all formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.service.review.exports.export_format import (
        Export as Export,
        ExportOption as ExportOption,
        ExportReport as ExportReport,
        LeftOut as LeftOut,
    )
    from omop_emb.service.review.exports.export_registry import (
        EXPORTS as EXPORTS,
        find_export as find_export,
        parse_options as parse_options,
    )
    from omop_emb.service.review.exports.map_export import fill_map_table as fill_map_table
    from omop_emb.service.review.exports.written_file import export_file as export_file

__getattr__, __dir__ = lazy_names(__name__)
