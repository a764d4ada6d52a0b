"""ONNX module: the graph of a model's ONNX file as a torch module whose weights can be trained.

The file's own operators are computed, so that whatever a local model is, its tuned weights fit into the
same graph again and give the same vectors there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import numpy_helper

from omop_emb.embeddings.tuning.onnx_operators import OPERATORS, TYPES, Tensor
from omop_emb.errors import ConfigurationError
from omop_emb.safe_files.foreign_errors import foreign_errors


def read_graph(path: Path) -> Any:
    """The ONNX model of a file, weights included; ConfigurationError if it is none."""
    with foreign_errors(path, "cannot be loaded: is it a complete ONNX file?", ConfigurationError):
        return onnx.load(str(path))


class OnnxModule(torch.nn.Module):  # type: ignore[misc] # torch has no types here
    """A graph with trainable weights.

    Whatever depends on constants alone is computed once, so that weights which the file stores in 8 bits are
    trained as the floats that they stand for.

    Attributes:
        weight_names: the graph's name of each parameter, in their order.
    """

    def __init__(self, model: Any, output: str, label: str) -> None:
        super().__init__()
        self._output = output
        self._nodes: list[tuple[str, Sequence[str], Sequence[str], Mapping[str, Any]]] = []
        constants = {entry.name: _tensor(entry) for entry in model.graph.initializer}
        unknown = sorted({node.op_type for node in model.graph.node if node.op_type not in OPERATORS})
        if unknown:
            raise ConfigurationError(
                f"{label} cannot be tuned: its ONNX file has the operators {', '.join(unknown)}; export the "
                "model with torch.onnx.export or optimum, not optimised and not quantised"
            )
        for node in model.graph.node:
            attributes = {entry.name: _attribute(entry) for entry in node.attribute}
            one = (node.op_type, list(node.input), list(node.output), attributes)
            if all(name in constants for name in node.input if name):
                constants[node.output[0]] = _compute(*one, constants)
            else:
                self._nodes.append(one)
        self._nodes, self.weight_names = self._needed(output), list[str]()
        used = {name for _, inputs, _, _ in self._nodes for name in inputs}
        self._constants: list[str] = []
        for name, value in constants.items():
            if name not in used:
                continue
            if value.dtype is torch.float32 and value.numel() > 1 and bool(torch.isfinite(value).all()):
                self.register_parameter(f"w{len(self.weight_names)}", torch.nn.Parameter(value.clone()))
                self.weight_names.append(name)
            else:
                self.register_buffer(f"c{len(self._constants)}", value, persistent=False)
                self._constants.append(name)
        if not self.weight_names:
            raise ConfigurationError(
                f"{label} cannot be tuned: its ONNX file has no 32-bit floating-point weights"
            )

    def _needed(self, output: str) -> list[Any]:
        """The nodes that the output depends on, in their order."""
        wanted, kept = {output}, []
        for node in reversed(self._nodes):
            if wanted & set(node[2]):
                wanted |= set(node[1])
                kept.append(node)
        return kept[::-1]

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The output for the graph's inputs."""
        values: dict[str, Any] = dict(inputs)
        values.update(zip(self.weight_names, self.parameters(), strict=True))
        values.update(zip(self._constants, self.buffers(), strict=True))
        for node in self._nodes:
            values[node[2][0]] = _compute(*node, values)
        result: Tensor = values[self._output]
        return result

    def weights(self) -> dict[str, Tensor]:
        """The graph's name of each trained weight -> its present value, on the processor."""
        return {
            name: value.detach().cpu()
            for name, value in zip(self.weight_names, self.parameters(), strict=True)
        }


def _compute(
    operator: str,
    inputs: Sequence[str],
    _outputs: Sequence[str],
    attributes: Mapping[str, Any],
    values: Mapping[str, Any],
) -> Tensor:
    arguments = [values[name] if name else None for name in inputs]
    devices = {value.device for value in arguments if value is not None and value.device.type != "cpu"}
    if devices and operator not in ("Reshape", "Expand", "Slice", "Squeeze", "Unsqueeze"):
        # What is computed from shapes is on the processor, and meets here what is on the accelerator.
        device = devices.pop()
        arguments = [None if value is None else value.to(device) for value in arguments]
    return OPERATORS[operator](arguments, attributes)


def _tensor(entry: Any) -> Tensor:
    if entry.data_type not in TYPES:
        raise ConfigurationError(f"the ONNX file has a constant of an unknown type, {entry.data_type}")
    return torch.from_numpy(numpy_helper.to_array(entry).copy())


def _attribute(entry: Any) -> Any:
    value = onnx.helper.get_attribute_value(entry)
    return _tensor(value) if isinstance(value, onnx.TensorProto) else value
