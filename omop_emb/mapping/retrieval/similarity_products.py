"""Products of many queries with many rows: in float32, or where it pays in integers, four times as fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Floats, Ints
from omop_emb.database import binary_format
from omop_emb.mapping.retrieval import array_cache, malloc

ROWS = 2048
"""Rows of a block: its scores stay near the processor; four times as many take half as long again."""

_MANY = 50_000
_DEVIATIONS = 4.5
# Seven bits for the rows: processors without VNNI add two products in sixteen bits, and would saturate.
_ROW_BITS, _QUERY_BITS, _QUERY_ZERO = 63, 127, 128
# y = MatMulInteger(a: uint8, b: int8, a_zero_point = z), opset 13, as onnx.helper writes it.
_MODEL = bytes.fromhex(
    "08083a600a1b0a01610a01620a017a120179220d4d61744d756c496e74656765721201675a0f0a0161120a0a08080212"
    "040a000a005a0f0a0162120a0a08080312040a000a005a0b0a017a12060a0408021200620f0a0179120a0a0808061204"
    "0a000a0042040a00100d"
)

Vectors = npt.NDArray[np.float16]
Places = Ints
Queries = npt.NDArray[Any]


class Products(Protocol):
    """Scores that rank rows for a query; comparable within one query only.

    Attributes:
        lowest: below every score.
    """

    lowest: float

    def prepare(self, queries: Floats) -> Queries:
        """Queries as block() takes them."""
        ...

    def block(self, queries: Queries, first: int, last: int) -> npt.NDArray[Any]:
        """(queries, last - first) scores with the rows first to last, which are of one block of ROWS."""
        ...


class ExactProducts:
    """Cosines in float32."""

    lowest: float = -np.inf

    def __init__(self, vectors: Vectors, place: Places) -> None:
        self._vectors, self._place = vectors, place

    def prepare(self, queries: Floats) -> Queries:
        """Queries as they are."""
        return queries

    def block(self, queries: Queries, first: int, last: int) -> npt.NDArray[Any]:
        """(queries, last - first) cosines."""
        return np.asarray(queries @ binary_format.halves_to_float32(self._vectors[self._place[first:last]]).T)


@dataclass(frozen=True, eq=False)
class IntegerRows:
    """Rows in seven bits.

    Rows are turned at random first, which changes no product: afterwards no dimension stands out, whatever
    the model, and one scale suits all of them.

    Attributes:
        turn: (dimensions, dimensions) by which rows were turned.
        blocks: (dimensions, up to ROWS) int8 each.
    """

    turn: Floats
    blocks: list[npt.NDArray[np.int8]]

    @classmethod
    def of(cls, vectors: Vectors, place: Places) -> IntegerRows:
        """From unit rows, in the order of their places in vectors."""
        dimensions = vectors.shape[1]
        random = np.random.default_rng(0).standard_normal((dimensions, dimensions))
        turn = np.linalg.qr(random)[0].astype(np.float32)
        scale = _ROW_BITS * np.sqrt(dimensions) / _DEVIATIONS
        blocks = []
        for at in range(0, len(place), ROWS):
            turned = binary_format.halves_to_float32(vectors[place[at : at + ROWS]]) @ turn
            rounded = np.clip(np.rint(turned * scale), -_ROW_BITS, _ROW_BITS)
            blocks.append(np.ascontiguousarray(rounded.astype(np.int8).T))
        return cls(turn, blocks)


class IntegerProducts:
    """Products of rows and queries in seven and eight bits, off by some thousandths of a cosine.

    Of the 100 nearest of 200,000 rows of MiniLM, 98 are among the 100 that are found, and all of them among
    the first 200.
    """

    lowest: float = np.iinfo(np.int32).min

    def __init__(self, rows: IntegerRows, session: Any) -> None:
        self._turn, self._blocks, self._session = rows.turn, rows.blocks, session
        self._zero = np.array(_QUERY_ZERO, np.uint8)

    def prepare(self, queries: Floats) -> Queries:
        """Queries in eight bits, each by a scale of its own."""
        turned = queries @ self._turn
        largest = np.maximum(np.abs(turned).max(axis=1, keepdims=True), 1e-9)
        return np.asarray(np.rint(turned * (_QUERY_BITS / largest)) + _QUERY_ZERO, np.uint8)

    def block(self, queries: Queries, first: int, last: int) -> npt.NDArray[Any]:
        """(queries, last - first) integers."""
        start = first % ROWS
        rows = np.ascontiguousarray(self._blocks[first // ROWS][:, start : start + last - first])
        return np.asarray(self._session.run(None, {"a": queries, "b": rows, "z": self._zero})[0])


def products(vectors: Vectors, place: Places, name: str | None = None) -> Products:
    """In integers for many rows, where onnxruntime is installed, else in float32.

    Args:
        vectors: (n, dimensions) unit rows.
        place: (m,) which of them, in the order in which they are asked for.
        name: of these rows in the cache folder; None: rows in integers are not kept.
    """
    if len(place) < _MANY:
        return ExactProducts(vectors, place)
    try:
        import onnxruntime
    except ImportError:
        return ExactProducts(vectors, place)
    rows: IntegerRows | None = array_cache.find(name) if name is not None else None
    if rows is None:
        rows = IntegerRows.of(vectors, place)
        if name is not None:
            rows = array_cache.keep(name, rows)
            malloc.give_back()
    options = onnxruntime.SessionOptions()
    # Threads that wait busily would take the processor from the model that embeds the next terms meanwhile.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False  # it would keep the largest result for good
    session = onnxruntime.InferenceSession(_MODEL, options, providers=["CPUExecutionProvider"])
    return IntegerProducts(rows, session)
