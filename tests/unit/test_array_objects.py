"""Array objects: what is written comes back exactly, and what is read is data alone."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from omop_emb.mapping.retrieval.string_array import StringArray
from omop_emb.safe_files.array_objects import read_object, write_object


def _again(value: object) -> Any:
    arrays = io.BytesIO()
    structure = write_object(value, arrays)
    return read_object(structure, memoryview(arrays.getvalue()), {"StringArray": StringArray})


def test_values_come_back_exactly() -> None:
    value: Any = {"a": [1, 0.1, None, True, "ü\ud800"], ("b", 2): ((), [[]]), 1.5: {}}
    assert _again(value) == value


@pytest.mark.parametrize("kind", ["?", "<i4", "<f2", "<f4", "S3", "<u8"])
def test_arrays_come_back_exactly(kind: str) -> None:
    for array in (
        np.arange(6).reshape(2, 3).astype(kind),
        np.zeros((0, 4), kind),
        np.arange(6).astype(kind)[::2],
    ):
        again = _again([array])[0]
        assert again.dtype == array.dtype
        np.testing.assert_array_equal(again, array)


def test_sparse_rows_and_objects_come_back_exactly() -> None:
    rows = sparse.random(5, 7, 0.4, format="csr", dtype=np.float32, rng=np.random.default_rng(0))
    again = _again({"rows": rows, "texts": StringArray.of(["a", "", "ü"])})
    assert (again["rows"] != rows).nnz == 0
    assert list(again["texts"]) == ["a", "", "ü"]


@dataclass
class Other:
    value: int


@pytest.mark.parametrize("value", [Other(1), object(), {1, 2}, np.array(["text"]), np.array([object()])])
def test_what_is_not_data_is_not_written(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be written"):
        write_object(value, io.BytesIO())


@pytest.mark.parametrize(
    "node",
    [
        ["object", "Path", {}],
        ["call", "os.system"],
        ["array", "<f4", [1000], 64],
        ["array", "<f4", [-1], 64],
        ["array", "O", [1], 64],
        ["array", "<f4", [1 << 62, 1 << 62], 64],
        [
            "sparse",
            ["array", "<f4", [1], 64],
            ["array", "<i4", [1], 64],
            ["array", "<i4", [2], 64],
            [1, 1],
            True,
        ],
    ],
)
def test_what_is_not_data_is_not_read(node: object) -> None:
    arrays = memoryview(bytes(64) + b"\x7f" * 128)
    with pytest.raises((ValueError, TypeError, KeyError, IndexError)):
        read_object(json.dumps(node).encode(), arrays, {"StringArray": StringArray})


@pytest.mark.parametrize(("index", "end"), [(5, 1), (-1, 1), (0, 1 << 20)])
def test_sparse_rows_that_lead_outside_their_arrays_are_not_read(index: int, end: int) -> None:
    parts = [np.zeros(16, np.float32), np.array([index] * 16, np.int32), np.array([0, end] * 8, np.int32)]
    arrays = memoryview(bytes(64) + b"".join(part.tobytes() for part in parts))
    nodes = [
        ["array", kind, [size], 64 * (number + 1)]
        for number, (kind, size) in enumerate([("<f4", 1), ("<i4", 1), ("<i4", 2)])
    ]
    node = ["sparse", *nodes, [1, 1], True]
    with pytest.raises(ValueError, match=r"ind|column|bounds"):
        read_object(json.dumps(node).encode(), arrays, {})
