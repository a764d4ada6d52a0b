"""Answers that are the same but for the last digits of their numbers.

A text embedded beside others may get a vector that differs in its last bits: some processors sum in an order
that depends on the shape of the batch.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import pytest


def assert_close(one: Any, other: Any, path: str = "answer") -> None:
    """Everything equal, and numbers within a thousandth."""
    if isinstance(one, float) and isinstance(other, float):
        assert one == pytest.approx(other, abs=1e-3, rel=1e-3), path
        return
    assert type(one) is type(other), path
    if is_dataclass(one):
        for field in fields(one):
            name = field.name
            assert_close(getattr(one, name), getattr(other, name), f"{path}.{name}")
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_close(one[key], other[key], f"{path}[{key!r}]")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), path
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_close(left, right, f"{path}[{number}]")
    else:
        assert one == other, path
