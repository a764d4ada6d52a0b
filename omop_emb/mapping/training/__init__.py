"""Training: rankers are learned from approved mappings and measured by cross-validation.

`train()` makes a site's own ranker; the shipped one is trained by benchmarks with the same code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.mapping.training.site_training import Training as Training, train as train

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "site_training": ("Training", "train"),
    },
)
