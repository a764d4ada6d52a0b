"""Ranking: candidates are ordered, given a probability, and decided on.

A linear ranker or trees over the features, isotonic calibration, and the policy that accepts, leaves for
review or finds no match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.mapping.ranking.policy import Policy as Policy

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "policy": ("Policy",),
    },
)
