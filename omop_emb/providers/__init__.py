"""Embedding and chat providers: models that run here or behind an API, one module each.

`make_provider("ollama:nomic-embed-text")` gives a `Provider`, which embeds one batch of texts for one role.
Batching, retries and rate limits are shared by all providers; `make_chat_model()` is for generative models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.providers.base import Provider as Provider
    from omop_emb.providers.chat import make_chat_model as make_chat_model
    from omop_emb.providers.factory import int8_model as int8_model, make_provider as make_provider
    from omop_emb.providers.rate_limiter import Rate as Rate

__getattr__, __dir__ = lazy_names(__name__)
