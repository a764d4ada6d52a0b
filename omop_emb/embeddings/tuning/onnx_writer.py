"""ONNX writer: tuned weights put into the graph that they came from, as floats or stored in 8 bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

_SMALLEST_STORED_IN_8_BITS = 10_000
"""Elements; smaller matrices save nothing."""
_LEVELS = 127

Floats = npt.NDArray[np.float32]


def with_weights(model: Any, weights: Mapping[str, Floats], *, int8: bool = False) -> Any:
    """A copy of a model with other weights.

    Args:
        model: what the weights were read from.
        weights: by the graph's names of values, as OnnxModule.weights() has them.
        int8: store matrices as 8-bit integers with a scale for each row of a table that is looked up in, and
            for each column of others; they are turned into floats when they are used.
    """
    result = type(model)()
    result.CopyFrom(model)
    graph = result.graph
    nodes = [node for node in graph.node if not set(node.output) & weights.keys()]
    tables = {node.input[0] for node in nodes if node.op_type == "Gather"}
    constants = {entry.name: entry for entry in graph.initializer if entry.name not in weights}
    stored = list[Any]()
    for name, values in weights.items():
        if int8 and values.ndim == 2 and values.size >= _SMALLEST_STORED_IN_8_BITS:
            quantised, scale = _quantise(values, axis=1 if name in tables else 0)
            constants[f"{name}_q"] = numpy_helper.from_array(quantised, f"{name}_q")
            constants[f"{name}_scale"] = numpy_helper.from_array(scale, f"{name}_scale")
            stored.append(helper.make_node("Cast", [f"{name}_q"], [f"{name}_f"], to=onnx.TensorProto.FLOAT))
            stored.append(helper.make_node("Mul", [f"{name}_f", f"{name}_scale"], [name]))
        else:
            constants[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
    nodes = _used(stored + nodes, {entry.name for entry in graph.output})
    used = {name for node in nodes for name in node.input}
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(entry for name, entry in constants.items() if name in used)
    return result


def _quantise(values: Floats, axis: int) -> tuple[npt.NDArray[np.int8], Floats]:
    """Integers from -127 to 127, and the scales along an axis that turn them into the values again."""
    scale = np.abs(values).max(axis=axis, keepdims=True) / _LEVELS
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    return np.rint(values / scale).astype(np.int8), scale


def _used(nodes: list[Any], outputs: set[str]) -> list[Any]:
    """The nodes that the outputs depend on, in their order."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]
