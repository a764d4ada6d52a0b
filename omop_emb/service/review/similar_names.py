"""Similar names: which terms of a review have words in common with a name, by an index of their words."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable

from omop_emb.service.review.term_keys import text_key

_LEAST_SHARE = 0.3  # of a name's words, the rare ones counting more


class SimilarNames:
    """The words of a review's terms.

    Args:
        terms: position and text key of each.
    """

    def __init__(self, terms: Iterable[tuple[int, str]]) -> None:
        self._words: dict[str, list[int]] = defaultdict(list)
        self._total = 0
        for position, key in terms:
            self._total += 1
            for word in set(key.split()):
                self._words[word].append(position)

    def find(self, name: str, limit: int) -> list[int]:
        """Positions of the terms that share most of a name's words, the rarer a word the more it counts."""
        weights = {word: self._weight(word) for word in set(text_key(name).split())}
        shared: Counter[int] = Counter()
        for word, weight in weights.items():
            for position in self._words.get(word, ()):
                shared[position] += weight  # type: ignore[assignment] # a Counter of floats
        least = _LEAST_SHARE * sum(weights.values())
        return [position for position, weight in shared.most_common(limit) if weight >= least]

    def _weight(self, word: str) -> float:
        return math.log(1 + self._total / len(self._words.get(word, "x")))
