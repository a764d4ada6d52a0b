"""Terms: what a source term says before any concept is looked at.

Words and their normal form, abbreviations, units, strengths, laboratory axes, language, and what makes two
terms contrast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.mapping.terms.normalise import RULES as RULES

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "normalise": ("RULES",),
    },
)
