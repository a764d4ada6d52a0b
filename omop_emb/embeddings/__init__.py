"""Embeddings: texts become unit vectors, each for the role that it plays.

`EmbeddingClient` adds prefixes, batches, a cache and checks to any provider; `known_models()` and
`price_list()` are what is known about models and their prices. Nothing here uses a database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.embeddings.client import EmbeddingClient as EmbeddingClient
    from omop_emb.embeddings.models import find_model as find_model, known_models as known_models
    from omop_emb.embeddings.prices import cost_of as cost_of, money as money, price_list as price_list
    from omop_emb.providers.parts import (
        EmbeddingInput as EmbeddingInput,
        Part as Part,
        split_page as split_page,
    )
    from omop_emb.records import EmbeddingRole as EmbeddingRole

__getattr__, __dir__ = lazy_names(__name__)
