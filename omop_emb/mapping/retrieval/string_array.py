"""Many texts in two arrays, which can lie in a file: a tenth of the memory of as many strings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Ints


class Texts:
    """Texts that are made into strings when they are asked for.

    Args:
        letters: all texts in UTF-8, one after the other.
        first: (n + 1,) where each begins.
    """

    def __init__(self, letters: npt.NDArray[np.uint8], first: Ints) -> None:
        self.letters, self.first = letters, first

    @classmethod
    def of(cls, texts: Iterable[str]) -> Texts:
        """The given texts, in their order."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        first = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(one) for one in encoded], out=first[1:])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), first)

    def __len__(self) -> int:
        return len(self.first) - 1

    def __getitem__(self, place: int) -> str:
        letters = self.letters[self.first[place] : self.first[place + 1]]
        return letters.tobytes().decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        whole = self.letters.data
        for start, stop in pairwise(self.first.tolist()):
            yield str(whole[start:stop], "utf-8", "surrogatepass")
