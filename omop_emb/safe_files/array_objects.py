"""Array objects: objects made of arrays as one JSON text and one file of arrays, without pickle.

Reading builds plain values, arrays, sparse matrices and objects of the classes that the reader names, and
runs no constructor of theirs, so that a file can contain data alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from scipy import sparse

_ALIGNMENT = 64
_KINDS = "biufS"  # of an array's values: truth values, numbers, bytes
_Node = Any  # a JSON value: itself, or a list that begins with one of the tags below
_LIST, _TUPLE, _DICT, _OBJECT, _ARRAY, _SPARSE = "list", "tuple", "dict", "object", "array", "sparse"


def write_object(value: object, arrays: BinaryIO) -> bytes:
    """The structure of an object as JSON; its arrays are written to a file that is empty at first.

    Raises:
        TypeError: it holds something else than values, arrays, sparse rows and objects of them.
    """
    arrays.write(bytes(_ALIGNMENT))  # an empty file cannot be mapped
    return json.dumps(_encode(value, arrays), separators=(",", ":")).encode()


def _encode(value: Any, arrays: BinaryIO) -> _Node:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return _write_array(value, arrays)
    if isinstance(value, list | tuple):
        return [_LIST if isinstance(value, list) else _TUPLE, [_encode(one, arrays) for one in value]]
    if isinstance(value, dict):
        return [
            _DICT,
            [_encode(one, arrays) for one in value],
            [_encode(one, arrays) for one in value.values()],
        ]
    if isinstance(value, sparse.csr_matrix):
        parts = [_write_array(part, arrays) for part in (value.data, value.indices, value.indptr)]
        return [_SPARSE, *parts, list(value.shape), bool(value.has_sorted_indices)]
    if type(value).__module__.startswith("omop_emb."):
        content = {name: _encode(getattr(value, name), arrays) for name in _names(value)}
        return [_OBJECT, type(value).__name__, content]
    raise TypeError(f"a {type(value).__name__} cannot be written")


def _names(value: Any) -> Iterable[str]:
    """The attributes that make an object: a dataclass's fields, without what it has computed from them."""
    return [entry.name for entry in fields(value)] if is_dataclass(value) else list(vars(value))


def _write_array(array: npt.NDArray[Any], arrays: BinaryIO) -> _Node:
    if array.dtype.kind not in _KINDS:
        raise TypeError(f"an array of {array.dtype} cannot be written")
    start = arrays.tell() + -arrays.tell() % _ALIGNMENT
    arrays.seek(start)
    arrays.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return [_ARRAY, array.dtype.str, list(array.shape), start]


def read_object(structure: bytes, arrays: memoryview, classes: Mapping[str, type]) -> Any:
    """The object that write_object() wrote; its arrays are views of `arrays`.

    classes: name -> class, of those that it may hold.

    Raises:
        ValueError, TypeError, KeyError, IndexError, RecursionError: it is no such structure.
    """
    return _decode(json.loads(structure), arrays, classes)


def _decode(node: _Node, arrays: memoryview, classes: Mapping[str, type]) -> Any:
    if not isinstance(node, list):
        return node
    tag, *rest = node
    if tag in (_LIST, _TUPLE):
        items = [_decode(one, arrays, classes) if type(one) is list else one for one in rest[0]]
        return items if tag == _LIST else tuple(items)
    if tag == _DICT:
        keys, values = ([_decode(one, arrays, classes) for one in part] for part in rest)
        return dict(zip(keys, values, strict=True))
    if tag == _ARRAY:
        return _read_array(arrays, *rest)
    if tag == _SPARSE:
        return _read_sparse([_decode(part, arrays, classes) for part in rest[:3]], *rest[3:])
    if tag != _OBJECT:
        raise ValueError("an unknown kind of value")
    name, content = rest
    cls = classes[name]
    if is_dataclass(cls) and {entry.name for entry in fields(cls)} != set(content):
        raise ValueError(f"other fields than those of {name}")
    result: object = object.__new__(cls)
    for attribute, one in content.items():
        object.__setattr__(result, attribute, _decode(one, arrays, classes))
    return result


def _read_array(arrays: memoryview, kind: str, shape: list[int], start: int) -> npt.NDArray[Any]:
    dtype = np.dtype(kind)
    if dtype.kind not in _KINDS or start % _ALIGNMENT or any(size < 0 for size in shape):
        raise ValueError("no array")
    count = int(np.prod(shape, dtype=object))
    if start + count * dtype.itemsize > len(arrays):
        raise ValueError("an array ends behind its file")
    return np.frombuffer(arrays, dtype, count, start).reshape(shape)


def _read_sparse(parts: list[npt.NDArray[Any]], shape: list[int], is_sorted: bool) -> sparse.csr_matrix:
    matrix = sparse.csr_matrix(tuple(parts), shape=tuple(shape), copy=False)
    # Else a wrong index would read memory behind the arrays.
    matrix.check_format(full_check=True)
    matrix.has_sorted_indices = is_sorted
    return matrix
