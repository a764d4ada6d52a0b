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
        cached_queries: query vectors that no request was needed for.
    """

    requests: int = 0
    texts: int = 0
    reported_tokens: int = 0
    estimated_tokens: int = 0
    cached_queries: int = 0

    @property
    def tokens(self) -> int:
        """Reported and estimated tokens together."""
        return self.reported_tokens + self.estimated_tokens

    @property
    def is_estimate(self) -> bool:
        """Whether any of the tokens were estimated."""
        return self.estimated_tokens > 0

    def cost(self, price_per_million_tokens: float) -> float:
        """The tokens at a price per million, in the price's currency."""
        return self.tokens * price_per_million_tokens / 1_000_000


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
                cached_queries=now.cached_queries + cached_queries,
            )
