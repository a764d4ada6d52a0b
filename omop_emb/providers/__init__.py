"""Providers: where vectors come from, one module each, with what they share around them.

`make_provider()` takes "provider:model"; a `Provider` embeds one batch for one role. Batching, retries, rate
limits and usage are the same for all. `make_chat_model()` is for generative models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.providers.base import Provider as Provider
    from omop_emb.providers.chat import make_chat_model as make_chat_model
    from omop_emb.providers.limiter import Rate as Rate
    from omop_emb.providers.make import (
        PROVIDERS as PROVIDERS,
        int8_model as int8_model,
        make_provider as make_provider,
        split_model as split_model,
    )

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "base": ("Provider",),
        "chat": ("make_chat_model",),
        "limiter": ("Rate",),
        "make": ("PROVIDERS", "int8_model", "make_provider", "split_model"),
    },
)
