"""Tuning: a local model trained on pairs of texts and names, by torch.

`omop_emb.mapping.training.tune()` finds the pairs and calls what is here. Nothing here uses a database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.embeddings.tuning.pair_recall import PairRecall as PairRecall
    from omop_emb.embeddings.tuning.training_pairs import TrainingPair as TrainingPair
    from omop_emb.embeddings.tuning.tuning_progress import Progress as Progress

__getattr__, __dir__ = lazy_names(__name__)
