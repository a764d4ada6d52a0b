"""Thrift reader: untrusted structures of the compact protocol, as in the metadata of Parquet files."""

from __future__ import annotations

from typing import TypeAlias, Union

Value: TypeAlias = Union[int, bytes, "list[Value]", "Struct", None]
Struct: TypeAlias = dict[int, Value]
"""The fields of a structure by their number. What nobody needs, such as doubles and maps, is None."""

_TRUE, _FALSE, _BYTE, _I16, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = (
    1,
    2,
    3,
    4,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
)
_DEEPEST = 16
_MOST_VALUES = 4_000_000  # about 300 MB of them
_MOST_BYTES_OF_NUMBER = 10


class ThriftReader:
    """Reads values one after another; ValueError where there is none, whatever the bytes are."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = _MOST_VALUES
        self.position = 0

    def struct(self, depth: int = 0) -> Struct:
        """The structure at the position, which moves to its end."""
        fields: Struct = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            kind = head & 15
            fields[number] = int(kind == _TRUE) if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Value:
        self._left -= 1
        if not self._left:
            raise ValueError("it has too many values")
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        if _I16 <= kind <= _I64:
            return self._zigzag()
        if kind == _BINARY:
            return self._take(self._varint())
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            return self._list(depth)
        if kind in (_TRUE, _FALSE, _BYTE):  # in a list or map a truth takes a byte
            return self._byte()
        if kind == _DOUBLE:
            self._take(8)
            return None
        if kind == _MAP:
            count = self._varint()
            kinds = self._byte() if count else 0
            for _ in range(count):
                self._value(kinds >> 4, depth + 1)
                self._value(kinds & 15, depth + 1)
            return None
        raise ValueError(f"there is no type {kind}")

    def _list(self, depth: int) -> list[Value]:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._varint()
        # Each value takes a byte at least, so that a lie about their number ends with the bytes.
        return [self._value(head & 15, depth + 1) for _ in range(count)]

    def _byte(self) -> int:
        try:
            byte = self._data[self.position]
        except IndexError:
            raise ValueError("it ends in the middle of a structure") from None
        self.position += 1
        return byte

    def _take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self._data):
            raise ValueError("it ends in the middle of a structure")
        value = self._data[self.position : end]
        self.position = end
        return value

    def _varint(self) -> int:
        number = 0
        for shift in range(0, 7 * _MOST_BYTES_OF_NUMBER, 7):
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise ValueError("a number is too long")

    def _zigzag(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)
