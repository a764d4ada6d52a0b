"""ONNX operators: those of text encoders, computed by torch so that gradients pass through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as functional

Tensor: TypeAlias = torch.Tensor
Attributes: TypeAlias = Mapping[str, Any]

# ONNX's numbers for types of elements.
TYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
}


def _numbers(value: Tensor | Sequence[int] | int | None) -> list[int]:
    """An attribute, or an input that is known when it is needed, as integers."""
    if value is None:
        return []
    if isinstance(value, torch.Tensor):
        value = value.reshape(-1).tolist()
    return [int(number) for number in value] if isinstance(value, Sequence) else [int(value)]


def _axes(inputs: Sequence[Tensor | None], attributes: Attributes, at: int = 1) -> list[int]:
    """The axes: an input in newer operator sets, an attribute in older ones."""
    return _numbers(inputs[at] if len(inputs) > at else attributes.get("axes"))


def _div(inputs: Sequence[Any], _attributes: Attributes) -> Tensor:
    first, second = inputs
    if first.is_floating_point():
        return torch.div(first, second)
    return torch.div(first, second, rounding_mode="trunc")


def _reshape(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    data, shape = inputs
    sizes = _numbers(shape)
    if not attributes.get("allowzero"):
        sizes = [data.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    result: Tensor = data.reshape(sizes)
    return result


def _slice(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    data: Tensor = inputs[0]
    starts = _numbers(inputs[1] if len(inputs) > 1 else attributes["starts"])
    ends = _numbers(inputs[2] if len(inputs) > 2 else attributes["ends"])
    axes = _axes(inputs, attributes, 3) or list(range(len(starts)))
    steps = _numbers(inputs[4] if len(inputs) > 4 else None) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        places = range(data.shape[axis])[start:end:step]
        if step > 0:
            data = data.narrow(axis, places.start if places else 0, max(places.stop - places.start, 0))
            data = (
                data if step == 1 else data[(slice(None),) * (axis % data.dim()) + (slice(None, None, step),)]
            )
        else:
            data = data.index_select(axis, torch.tensor(list(places), dtype=torch.int64, device=data.device))
    return data


def _gather(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    data, indices = inputs
    axis = attributes.get("axis", 0)
    indices = indices.to(data.device).long()
    indices = torch.where(indices < 0, indices + data.shape[axis], indices)
    if axis == 0 and data.dim() == 2:
        return functional.embedding(indices, data)
    flat = data.index_select(axis, indices.reshape(-1))
    axis %= data.dim()
    return flat.reshape(*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])


def _gather_nd(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    data, indices = inputs
    if attributes.get("batch_dims"):
        raise NotImplementedError
    result: Tensor = data[tuple(indices.to(data.device).long().unbind(-1))]
    return result


def _expand(inputs: Sequence[Any], _attributes: Attributes) -> Tensor:
    data, shape = inputs
    return data * torch.ones((), dtype=data.dtype, device=data.device).expand(_numbers(shape))


def _expand_any(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    data, shape = inputs
    if data.dtype is not torch.bool:
        return _expand(inputs, attributes)
    return data & torch.ones((), dtype=torch.bool, device=data.device).expand(_numbers(shape))


def _layer_normalization(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    data, weight = inputs[:2]
    bias = inputs[2] if len(inputs) > 2 else None
    shape = data.shape[attributes.get("axis", -1) :]
    return functional.layer_norm(data, shape, weight, bias, attributes.get("epsilon", 1e-5))


def _shape(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    return torch.tensor(
        inputs[0].shape[attributes.get("start", 0) : attributes.get("end")], dtype=torch.int64
    )


def _squeeze(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    data: Tensor = inputs[0]
    axes = _axes(inputs, attributes)
    return data.squeeze(tuple(axes)) if axes else data.squeeze()


def _unsqueeze(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    data: Tensor = inputs[0]
    axes = _axes(inputs, attributes)
    for axis in sorted(axis % (data.dim() + len(axes)) for axis in axes):
        data = data.unsqueeze(axis)
    return data


def _constant_of_shape(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    value = attributes.get("value", torch.zeros(1))
    result: Tensor = value.reshape(()).expand(_numbers(inputs[0])).clone()
    return result


def _reduced(reduce: Callable[..., Tensor]) -> Callable[[Sequence[Any], Attributes], Tensor]:
    def reduced(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
        axes = _axes(inputs, attributes) or list(range(inputs[0].dim()))
        return reduce(inputs[0], dim=axes, keepdim=bool(attributes.get("keepdims", 1)))

    return reduced


def _gemm(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    first, second = inputs[:2]
    first = first.T if attributes.get("transA") else first
    second = second.T if attributes.get("transB") else second
    product = attributes.get("alpha", 1.0) * (first @ second)
    return product + attributes.get("beta", 1.0) * inputs[2] if len(inputs) > 2 else product


def _dequantize(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    data, scale = inputs[:2]
    zero = inputs[2] if len(inputs) > 2 else torch.zeros_like(scale)
    shape = [1] * data.dim()
    if scale.dim():
        shape[attributes.get("axis", 1)] = -1
    else:
        shape = []
    return (data.float() - zero.float().reshape(shape)) * scale.reshape(shape)


def _clip(inputs: Sequence[Any], attributes: Attributes) -> Tensor:
    low = inputs[1] if len(inputs) > 1 else attributes.get("min")
    high = inputs[2] if len(inputs) > 2 else attributes.get("max")
    return torch.clamp(inputs[0], low, high)


def _folded(operation: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Sequence[Any], Attributes], Tensor]:
    def folded(inputs: Sequence[Any], _attributes: Attributes) -> Tensor:
        result: Tensor = inputs[0]
        for other in inputs[1:]:
            result = operation(result, other)
        return result

    return folded


def _plain(operation: Callable[..., Tensor]) -> Callable[[Sequence[Any], Attributes], Tensor]:
    return lambda inputs, _attributes: operation(*inputs)


OPERATORS: dict[str, Callable[[Sequence[Any], Attributes], Tensor]] = {
    "Abs": _plain(torch.abs),
    "Add": _plain(torch.add),
    "And": _plain(torch.logical_and),
    "Cast": lambda inputs, attributes: inputs[0].to(TYPES[attributes["to"]]),
    "Clip": _clip,
    "Concat": lambda inputs, attributes: torch.cat(list(inputs), attributes["axis"]),
    "Constant": lambda _inputs, attributes: torch.as_tensor(next(iter(attributes.values()))),
    "ConstantOfShape": _constant_of_shape,
    "Cos": _plain(torch.cos),
    "CumSum": lambda inputs, _attributes: torch.cumsum(inputs[0], int(inputs[1])),
    "DequantizeLinear": _dequantize,
    "Div": _div,
    "Equal": _plain(torch.eq),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Expand": _expand_any,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Gelu": lambda inputs, attributes: functional.gelu(
        inputs[0], approximate=attributes.get("approximate", b"none").decode()
    ),
    "Gemm": _gemm,
    "Greater": _plain(torch.gt),
    "GreaterOrEqual": _plain(torch.ge),
    "Identity": _plain(lambda value: value),
    "IsNaN": _plain(torch.isnan),
    "LayerNormalization": _layer_normalization,
    "Less": _plain(torch.lt),
    "LessOrEqual": _plain(torch.le),
    "MatMul": _plain(torch.matmul),
    "Max": _folded(torch.maximum),
    "Min": _folded(torch.minimum),
    "Mul": _plain(torch.mul),
    "Neg": _plain(torch.neg),
    "Not": _plain(torch.logical_not),
    "Or": _plain(torch.logical_or),
    "Pow": _plain(torch.pow),
    "Range": lambda inputs, _attributes: torch.arange(*(value.item() for value in inputs)),
    "Reciprocal": _plain(torch.reciprocal),
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean),
    "ReduceSum": _reduced(torch.sum),
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Shape": _shape,
    "Sigmoid": _plain(torch.sigmoid),
    "Sin": _plain(torch.sin),
    "Slice": _slice,
    "Softmax": lambda inputs, attributes: torch.softmax(inputs[0], attributes.get("axis", -1)),
    "Sqrt": _plain(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _plain(torch.sub),
    "Tanh": _plain(torch.tanh),
    "Transpose": lambda inputs, attributes: inputs[0].permute(
        attributes.get("perm", list(range(inputs[0].dim()))[::-1])
    ),
    "Unsqueeze": _unsqueeze,
    "Where": _plain(torch.where),
}
"""Operator -> its function of (inputs, attributes); an absent optional input is None."""
