"""Terms: what the text of a source term says, read without a vocabulary.

Words and their normal form, query variants, units, drug strengths, laboratory axes, contrasts and language.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.mapping.terms.variants import RULES as RULES

__getattr__, __dir__ = lazy_names(__name__)
