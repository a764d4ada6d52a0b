"""Ranking: candidates are ordered, given a probability, and decided on.

A linear ranker or a site's own trees score the features, a calibration turns scores into probabilities, and a
policy accepts, leaves for review or finds no match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.mapping.ranking.policy import Policy as Policy

__getattr__, __dir__ = lazy_names(__name__)
