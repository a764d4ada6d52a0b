"""Ranking: candidates are ordered, given a probability, and decided on.

A linear ranker or a site's own trees score the features, a calibration turns scores into probabilities, and a
policy accepts, leaves for review or finds no match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.mapping.ranking.policy import Policy as Policy
    from omop_emb.mapping.ranking.stored_rankers import (
        describe_rankers as describe_rankers,
        drop_ranker as drop_ranker,
        find_ranker as find_ranker,
        is_shipped_name as is_shipped_name,
        switch_to_ranker as switch_to_ranker,
        switch_to_shipped as switch_to_shipped,
    )

__getattr__, __dir__ = lazy_names(__name__)
