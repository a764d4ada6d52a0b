"""Approvals: mappings that a person approved.

They are read from files, remembered per site, reused for the same terms, and followed to their replacements
when a new vocabulary retires their targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.mapping.approvals.approval_store import (
        list_approvals as list_approvals,
        remember_file as remember_file,
    )
    from omop_emb.mapping.approvals.approved_file import read_approved as read_approved
    from omop_emb.mapping.approvals.reviewed_table import ApprovedColumns as ApprovedColumns
    from omop_emb.mapping.approvals.sites import (
        check_site as check_site,
        list_sites as list_sites,
        unknown_site_note as unknown_site_note,
    )

__getattr__, __dir__ = lazy_names(__name__)
