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
        utf8, ends = bytearray(), [0]
        for text in texts:
            utf8 += text.encode("utf-8", "surrogatepass")
            ends.append(len(utf8))
        return cls(np.frombuffer(utf8, np.uint8), np.array(ends, np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> str:
        utf8 = self.utf8[self.offsets[index] : self.offsets[index + 1]]
        return utf8.tobytes().decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        for start, stop in pairwise(self.offsets.tolist()):
            yield str(self.utf8.data[start:stop], "utf-8", "surrogatepass")
