"""What a Parquet file says of its pages is checked before a reader reserves memory for them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TypeAlias

import pytest

from omop_emb.errors import InputError
from omop_emb.mapping.files.term_file import open_terms
from omop_emb.safe_files.parquet_layout import ParquetLayout
from tests.hostile_files import parquet

Part: TypeAlias = int | bytes | list["Part"] | dict[int, "Part"]
HUGE = 2**31 - 1
TEXTS, DATA, DICTIONARY = 6, 0, 2
PAGE: dict[int, Part] = {1: DATA, 2: 40, 3: 10, 5: {1: 7, 2: 0}}
WORDS: dict[int, Part] = {1: DICTIONARY, 2: 40, 3: 10, 7: {1: 5, 2: 0}}


def number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def packed(part: Part) -> tuple[int, bytes]:
    """The kind of a value in Thrift's compact protocol, and its bytes."""
    if isinstance(part, bytes):
        return 8, number(len(part)) + part
    if isinstance(part, int):
        return 6, number(2 * part if part >= 0 else -2 * part - 1)
    if isinstance(part, list):
        kind = packed(part[0])[0] if part else 12
        return 9, bytes([0xF0 | kind]) + number(len(part)) + b"".join(packed(item)[1] for item in part)
    fields, before = b"", 0
    for name, value in part.items():
        kind, data = packed(value)
        fields += bytes([(name - before) << 4 | kind]) + data
        before = name
    return 12, fields + b"\0"


def file(*pages: Part, after: bytes = b"", **changes: int) -> io.BytesIO:
    """A file of one chunk with these headers of pages, each followed by ten bytes."""
    body = b"PAR1" + b"".join(packed(page)[1] + bytes(10) for page in pages) + after
    chunk = {"values": 7, "unpacked": 40, "packed": len(body) - 4, "start": 4, **changes}
    data: Part = {1: TEXTS, 2: [0], 5: chunk["values"], 6: chunk["unpacked"], 7: chunk["packed"]}
    data |= {9: chunk["start"]}  # type: ignore[operator]  # it is the dict of the line above
    chunks: list[Part] = [{3: data}] * changes.get("chunks", 1)
    end = packed({1: 2, 3: 7, 4: [{1: chunks, 3: 7}]})[1]
    return io.BytesIO(body + end + len(end).to_bytes(4, "little") + b"PAR1")


def check(content: io.BytesIO) -> int:
    return ParquetLayout(content, "f.parquet").check_pages(0)


def test_pages_that_are_what_they_say_pass() -> None:
    assert check(file(WORDS, PAGE)) == 0


def test_pages_of_texts_that_say_what_they_differ_in_tell_how_long_those_can_be() -> None:
    assert check(file(PAGE | {5: {1: 7, 2: 7}})) == 40


LIES = {
    "a page of 2 GB": (file(PAGE | {2: HUGE}), "grows to 1 GiB"),
    "pages of 12 MB each": (
        file(*[PAGE | {2: 12 << 20, 5: {1: 1, 2: 0}}] * 7),
        "grows to 12 MiB",
    ),
    "a negative size": (file(PAGE | {2: -1}), "no header"),
    "a page beyond the end": (file(PAGE | {3: HUGE}), "larger than the file"),
    "a dictionary of 2 billion texts": (file(WORDS | {7: {1: HUGE, 2: 0}}, PAGE), "2,147,483,647 values"),
    "more texts than bytes": (file(WORDS | {7: {1: 11, 2: 0}}, PAGE), "40 bytes says that it has 11 values"),
    "a page of 2 billion values": (file(PAGE | {5: {1: HUGE, 2: 0}}), "2,147,483,647 values"),
    "no page": (file(after=b"\xff" * 50), "no header"),
    "a page without a description": (file({1: DATA, 2: 40, 3: 10}), "no header"),
    "a chunk beyond the end": (file(PAGE, packed=HUGE), "parts are larger"),
    "a chunk that begins beyond the end": (file(PAGE, start=2**62), "parts are larger"),
    "a thousand chunks of the same bytes": (file(PAGE, chunks=1_000), "parts are larger"),
    "pages without values": (file(*[PAGE | {2: 0, 5: {1: 0, 2: 0}}] * 2_000), "too many empty pages"),
    "no rows": (io.BytesIO(b"PAR1" + b"\0" + (1).to_bytes(4, "little") + b"PAR1"), "last part"),
    "a length beyond the file": (io.BytesIO(b"PAR1" + b"\xff" * 4 + b"PAR1"), "last part"),
    "nested lists": (io.BytesIO(b"\x19" * 999 + (999).to_bytes(4, "little") + b"PAR1"), "last part"),
    "nested maps": (io.BytesIO(b"\x1b\x01\xbb" * 999 + (2997).to_bytes(4, "little") + b"PAR1"), "last part"),
    "a list of 2 billion": (
        io.BytesIO(b"\x19\xf6" + number(HUGE) + b"\0" * 9 + (16).to_bytes(4, "little") + b"PAR1"),
        "last part",
    ),
    "six million structures": (
        io.BytesIO(
            b"\x49\xfc" + number(6_000_000) + bytes(6_000_006) + (6_000_012).to_bytes(4, "little") + b"PAR1"
        ),
        "last part",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_refused_in_one_line(name: str) -> None:
    content, expected = LIES[name]
    with pytest.raises(InputError, match=expected) as caught:
        check(content)
    assert len(str(caught.value).splitlines()) == 1


def test_a_damaged_description_of_a_column_does_not_end_the_process(tmp_path: Path) -> None:
    content = parquet({"name": ["fever", None]})
    # The column becomes one that has a value in each row, which its statistics contradict.
    optional = b"\x25\x02\x18\x04name"
    assert content.count(optional) == 1
    path = tmp_path / "terms.parquet"
    path.write_bytes(content.replace(optional, b"\x25\x00\x18\x04name"))
    with pytest.raises(InputError, match="is damaged"), open_terms(path) as terms:
        list(terms)


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "PLAIN"])
def test_texts_are_read_however_they_are_encoded(encoding: str, tmp_path: Path) -> None:
    names = [f"fever {number % 70}" for number in range(3_000)]
    path = tmp_path / "terms.parquet"
    path.write_bytes(
        parquet(
            {"name": names, "code": list(map(str, range(3_000)))},
            use_dictionary=["code"],
            column_encoding={"name": encoding},
            data_page_version="2.0",
        )
    )
    with open_terms(path) as terms:
        assert [(term.name, term.code) for term in terms] == [
            (name, str(code)) for code, name in enumerate(names)
        ]
