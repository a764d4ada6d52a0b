"""Training: a site's own ranker, learned from its approvals, and an embedding model of one's own.

`train()` describes candidates of approved terms, finds by cross-validation whether the site's own trees
rank better than the shipped ranker, calibrates the better one and stores it. `tune()` trains a local model
on pairs of the vocabulary, of approvals and of files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.mapping.training.forgetting import forget_approvals as forget_approvals
    from omop_emb.mapping.training.site_training import Training as Training, train as train
    from omop_emb.mapping.training.tuning import tune as tune
    from omop_emb.mapping.training.tuning_records import (
        TunedModel as TunedModel,
        Tuning as Tuning,
        TuningPlan as TuningPlan,
    )

__getattr__, __dir__ = lazy_names(__name__)
