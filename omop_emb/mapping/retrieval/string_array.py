"""String arrays: many texts in two arrays that can be memory-mapped, in a tenth of the memory of strings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Ints


class StringArray:
    """Texts that become strings when they are read.

    Args:
        utf8: all texts in UTF-8, one after the other.
        offsets: (n + 1,) where each begins.
    """

    def __init__(self, utf8: npt.NDArray[np.uint8], offsets: Ints) -> None:
        self.utf8, self.offsets = utf8, offsets

    @classmethod
    def of(cls, texts: Iterable[str]) -> StringArray:
        """The given texts, in their order."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(text) for text in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> str:
        utf8 = self.utf8[self.offsets[index] : self.offsets[index + 1]]
        return utf8.tobytes().decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        for start, stop in pairwise(self.offsets.tolist()):
            yield str(self.utf8.data[start:stop], "utf-8", "surrogatepass")
