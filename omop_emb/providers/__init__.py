"""Embedding and chat providers: models that run here or behind an API, one module each.

`make_provider("ollama:nomic-embed-text")` gives a `Provider`, which embeds one batch of texts for one role.
Batching, retries and rate limits are shared by all providers; `make_chat_model()` is for generative models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.providers.base import (
        EmbeddingResponse as EmbeddingResponse,
        Limits as Limits,
        ModelInfo as ModelInfo,
        Provider as Provider,
    )
    from omop_emb.providers.chat import (
        ChatModel as ChatModel,
        ChatResponse as ChatResponse,
        make_chat_model as make_chat_model,
    )
    from omop_emb.providers.factory import (
        int8_model as int8_model,
        make_provider as make_provider,
        plugin_problems as plugin_problems,
    )
    from omop_emb.providers.part_limits import PartLimits as PartLimits
    from omop_emb.providers.parts import Content as Content
    from omop_emb.providers.rate_limiter import Rate as Rate

__getattr__, __dir__ = lazy_names(__name__)
