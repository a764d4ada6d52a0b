"""Usage: the requests, texts and tokens that a client has sent to its provider."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Counts since a client was created."""

    requests: int = 0  # answered and failed requests, each attempt counted
    texts: int = 0  # texts that were answered, each time counted
    reported_tokens: int = 0  # tokens of the responses that say how many were read
    estimated_tokens: int = 0  # tokens of the other responses, by omop-emb's estimate
    batch_tokens: int = 0  # the part of these tokens that went through a batch API
    image_tokens: int = 0  # the part of these tokens that images and PDF pages are, by omop-emb's estimate
    audio_tokens: int = 0  # the part that recordings are, likewise
    cached_queries: int = 0  # query vectors that needed no request

    def __add__(self, other: Usage) -> Usage:
        names = (entry.name for entry in fields(self))
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def tokens(self) -> int:
        """Reported and estimated tokens together."""
        return self.reported_tokens + self.estimated_tokens

    def cost(
        self,
        price_per_million: float,
        batch_price_per_million: float | None = None,
        *,
        image_price_per_million: float | None = None,
        audio_price_per_million: float | None = None,
    ) -> float:
        """The cost of the tokens, in the currency of the prices; those without a price are at the first."""
        if batch_price_per_million is None:
            batch_price_per_million = price_per_million
        total = (self.tokens - self.batch_tokens) * price_per_million
        total += self.batch_tokens * batch_price_per_million
        for tokens, price in (
            (self.image_tokens, image_price_per_million),
            (self.audio_tokens, audio_price_per_million),
        ):
            if price is not None:
                total += tokens * (price - price_per_million)
        return max(0.0, total) / 1_000_000


class UsageCounter:
    """The total of usage from many threads."""

    def __init__(self) -> None:
        self.total = Usage()
        self._lock = threading.Lock()

    def add(self, usage: Usage) -> None:
        """Add to the total."""
        with self._lock:
            self.total += usage
