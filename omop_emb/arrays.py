"""Array types: short names for the numpy arrays that travel between modules."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

Vectors: TypeAlias = NDArray[np.float32]
"""(n, dimensions) embeddings, one a row."""

HalfVectors: TypeAlias = NDArray[np.float16]
"""(n, dimensions) embeddings in half precision, as the database stores them."""
