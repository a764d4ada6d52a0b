"""What a client has asked of its provider so far: requests, texts, tokens."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Counts since a client was made.

    Attributes:
        requests: answered and failed requests, each attempt counted.
        texts: texts that were answered, each sending counted.
        reported_tokens: tokens of the answers that say how many were read.
        estimated_tokens: tokens of the answers that do not, by omop-emb's estimate.
        batch_tokens: those of the tokens that went through a batch API.
        cached_queries: query vectors that no request was needed for.
    """

    requests: int = 0
    texts: int = 0
    reported_tokens: int = 0
    estimated_tokens: int = 0
    batch_tokens: int = 0
    cached_queries: int = 0

    @property
    def tokens(self) -> int:
        """Reported and estimated tokens together."""
        return self.reported_tokens + self.estimated_tokens

    def cost(
        self, price_per_million_tokens: float, batch_price_per_million_tokens: float | None = None
    ) -> float:
        """The tokens at their prices per million, in the prices' currency; None is the same for batches."""
        cheaper = (
            price_per_million_tokens
            if batch_price_per_million_tokens is None
            else batch_price_per_million_tokens
        )
        at_once = (self.tokens - self.batch_tokens) * price_per_million_tokens
        return (at_once + self.batch_tokens * cheaper) / 1_000_000


class Meter:
    """Counts usage from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._usage = Usage()

    @property
    def usage(self) -> Usage:
        """The counts by now."""
        return self._usage

    def count(
        self,
        *,
        requests: int = 0,
        texts: int = 0,
        reported_tokens: int = 0,
        estimated_tokens: int = 0,
        batch_tokens: int = 0,
        cached_queries: int = 0,
    ) -> None:
        """Add to the counts."""
        with self._lock:
            now = self._usage
            self._usage = replace(
                now,
                requests=now.requests + requests,
                texts=now.texts + texts,
                reported_tokens=now.reported_tokens + reported_tokens,
                estimated_tokens=now.estimated_tokens + estimated_tokens,
                batch_tokens=now.batch_tokens + batch_tokens,
                cached_queries=now.cached_queries + cached_queries,
            )
