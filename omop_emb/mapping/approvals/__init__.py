"""Approvals: mappings that a person approved, remembered per site.

They are imported, listed, withdrawn, reused for equal terms, and followed to replacements when a release
retires their targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.mapping.approvals.import_export import (
        forget_approvals as forget_approvals,
        list_approvals as list_approvals,
        remember_file as remember_file,
    )
    from omop_emb.mapping.approvals.reuse import read_approved as read_approved

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "import_export": ("forget_approvals", "list_approvals", "remember_file"),
        "reuse": ("read_approved",),
    },
)
