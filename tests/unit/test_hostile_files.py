"""Hostile files cost one line, seconds and little memory, whatever reads them."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from omop_emb import OmopEmbError
from omop_emb.records import parse_concept_id
from tests.hostile_files import (
    READERS,
    attack,
    parquet,
    read_answer,
    rezipped,
    space_table,
    vocabulary,
    workbook,
)

MOST_MEGABYTES = 1_000
CELL = b'<row><c t="inlineStr"><is><t>%s</t></is></c></row></sheetData>'
MIB = 1 << 20
VALID = {reader.name: reader.content for reader in READERS}


def sheet(rows: bytes) -> bytes:
    return rezipped(workbook(), sheet=lambda data: data.replace(b"</sheetData>", rows + b"</sheetData>"))


def cell(text: bytes) -> bytes:
    return rezipped(workbook(), sheet=lambda data: data.replace(b"</sheetData>", CELL % text))


def texts(count: int, length: int, **options: object) -> bytes:
    return parquet({"name": ["x" * length] * count}, **options)


def entities() -> bytes:
    levels = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 50 if n else "lol" * 99}">' for n in range(7))
    return rezipped(
        workbook(),
        sheet=lambda data: data.replace(
            b"<worksheet", f"<!DOCTYPE w [{levels}]><worksheet".encode(), 1
        ).replace(b"</sheetData>", CELL % b"&a6;"),
    )


# What the file is -> its reader's name in READERS, its bytes, and what the reader says. With "N terms", the
# file is read, and its hostile rows are reported.
BOMBS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "a workbook with row 99,999,999": (
        "workbook",
        lambda: sheet(b'<row r="99999999"><c r="A99999999"><v>1</v></c></row>'),
        "more cells than a sheet of Excel",
    ),
    "a row number of 5,000 digits": (
        "workbook",
        lambda: sheet(b'<row r="%s"/>' % (b"9" * 5000)),
        "ValueError",
    ),
    "a column beyond Excel's": (
        "workbook",
        lambda: sheet(b'<row><c r="ZZZ9"><v>1</v></c></row>'),
        "more cells",
    ),
    "a number of 5,000 digits": (
        "workbook",
        lambda: sheet(b"<row><c><v>%s</v></c></row>" % (b"9" * 5000)),
        "Value",
    ),
    "a string that is not there": (
        "workbook",
        lambda: sheet(b'<row><c t="s"><v>7</v></c></row>'),
        "IndexError",
    ),
    "a style that is not there": (
        "workbook",
        lambda: sheet(b'<row><c s="777"><v>7</v></c></row>'),
        "IndexError",
    ),
    "a cell of 300 MB": ("workbook", lambda: cell(b"x" * 300 * MIB), "over 100 times"),
    "a cell of 20 MB": ("workbook", lambda: cell(b"x" * 20 * MIB), "more than 4 MiB in a row or a text"),
    "a cell of rows": (
        "workbook",
        lambda: cell(b"<![CDATA[" + b"<row" * 3 * MIB + b"]]>"),
        "more than 4 MiB",
    ),
    "a row of many cells": (
        "workbook",
        lambda: sheet(b"<row>" + b"<c/>" * 2 * MIB + b"</row>"),
        "more than 4 MiB",
    ),
    "a million elements between rows": ("workbook", lambda: sheet(b"<a/>" * 2 * MIB), "more than 4 MiB"),
    "a zip bomb": ("workbook", lambda: sheet(b" " * 300 * MIB), "over 100 times"),
    "styles of 40 MB": (
        "workbook",
        lambda: rezipped(workbook(), xl_styles=os.urandom(40 * MIB)),
        "over 32 MiB|32 MiB",
    ),
    "shared strings of 40 MB": (
        "workbook with shared strings",
        lambda: rezipped(workbook(), strings=b"<si><t>ab</t></si>" * (40 * MIB // 18)),
        "over 100 times",
    ),
    "a shared string of 20 MB": (
        "workbook with shared strings",
        lambda: rezipped(workbook(), strings=b"<si><t>%s</t></si>" % (b"x" * 20 * MIB)),
        "more than 4 MiB",
    ),
    "entities that multiply": ("workbook", entities, "amplification"),
    "Parquet of 513 bytes with 1,000 texts of a megabyte": (
        "Parquet",
        lambda: texts(1_000, 1_000_000, compression="zstd"),
        "0 terms",
    ),
    "1,000 texts of a megabyte that say what they differ in": (
        "Parquet",
        lambda: texts(
            1_000, 1_000_000, use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY", compression="none"
        ),
        "0 terms",
    ),
    "a long text in Parquet": ("Parquet", lambda: parquet({"name": ["a", "x" * 200_000, "b"]}), "2 terms"),
    "texts in lists": (
        "Parquet",
        lambda: parquet({"name": ["a", "b"], "l": [["x" * 1_000_000] * 900, ["y"]]}, compression="zstd"),
        "1 terms",
    ),
    "a list of 30 million nothings": (
        "Parquet",
        lambda: parquet({"n": ["a"], "l": pa.array([[None] * 30_000_000], pa.list_(pa.int8()))}),
        "lists of 30,000,000 values",
    ),
    "Parquet with 50 million rows": (
        "Parquet",
        lambda: parquet({"name": pa.nulls(50_000_000, pa.string())}, compression="zstd"),
        "50,000,000 rows in",
    ),
    "a page of 300 MB in Parquet": (
        "Parquet",
        lambda: texts(300, MIB, compression="zstd", use_dictionary=False, data_page_size=1 << 30),
        "over 100 times",
    ),
    "values of 1 MB and of fixed width": (
        "Parquet",
        lambda: parquet({"name": ["a"], "b": pa.array([b"x" * MIB], pa.binary(MIB))}),
        "values of 1,048,576 bytes",
    ),
    "long texts in a space file": (
        "space file",
        lambda: space_table(["x" * 1_000_000] * 1_000, compression="zstd"),
        "far too long",
    ),
    "a name with a form feed and an escape": (
        "vocabulary",
        lambda: vocabulary().replace(b"CONCEPT.csv", b"CO\x0cE\x1b[T.csv"),
        "holds no CONCEPT.csv; found: CO E \\[T.csv",
    ),
    "a setting with line breaks": (
        "pooling",
        lambda: json.dumps({"pooling_mode_a\n\u2028b": True}).encode(),
        "pools by pooling_mode_a b;",
    ),
    "a line of 200 MB": ("CSV", lambda: b"name\nfever\n" + b"x" * 200 * MIB + b"\npain\n", "2 terms"),
    "a line of 200 MB without quote": (
        "CSV",
        lambda: b'name,b\nfever,"1\n' + b"x" * 200 * MIB,
        "no terms|0 terms",
    ),
    "a line of NUL": ("CSV", lambda: b"name\nfever\n" + b"\0" * 50 * MIB + b"\npain\n", "not in utf-16-le"),
    "a header of commas": ("CSV", lambda: b"name" + b"," * 900_000 + b"\nfever\n", "at most 16,384|1 terms"),
    "16,000 equal headers": (
        "CSV",
        lambda: b"name," + b"a," * 16_000 + b"\nfever" + b"," * 16_001 + b"\n",
        "terms",
    ),
    "a line of 200 MB in Usagi's file": (
        "Usagi",
        lambda: VALID["Usagi"]() + b"x" * 200 * MIB + b"\n",
        "1 terms",
    ),
    "a zip bomb of a vocabulary": (
        "vocabulary",
        lambda: vocabulary(CONCEPT=b"1\n" * 150 * MIB),
        "over 100 times",
    ),
    "prices of 2 MB": ("prices", lambda: b"#" * 2 * MIB, "larger than 1 MiB"),
    "nested prices": ("prices", lambda: b"a = " + b"[" * 100_000, "nested too deeply"),
    "a price of 5,000 digits": ("prices", lambda: b"a = " + b"9" * 5_000, "ValueError"),
    "a config.json of 20 MB": ("config.json", lambda: b"[" * 20 * MIB, "larger than 16 MiB"),
    "a nested config.json": ("config.json", lambda: b"[" * 10 * MIB, "nested too deeply"),
    "a nested report": ("report", lambda: b'{"terms":' * MIB, "nested too deeply"),
    "a nested journal": ("journal", lambda: VALID["journal"]() + b"[" * MIB + b"\n", "is damaged"),
}

# Runs in a process of its own, whose memory is measured and limited.
CHILD = """
import json, resource, sys
from pathlib import Path
from omop_emb import OmopEmbError
from tests.hostile_files import READERS, _read_terms
from omop_emb.mapping.files.term_file import open_terms
readers = {reader.name: reader.read for reader in READERS}
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
said = {}
for name, reader, path in json.load(sys.stdin):
    try:
        if readers[reader] is _read_terms:
            with open_terms(path) as terms:
                said[name] = f"{sum(1 for _ in terms)} terms"
        else:
            readers[reader](Path(path))
            said[name] = "read"
    except OmopEmbError as error:
        said[name] = str(error)
    except BaseException as error:
        said[name] = f"unexpected\\n{error!r}"
    Path(path).unlink()
print(json.dumps([said, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10]))
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], int]:
    """What was said of each bomb, and the megabytes that all of them took at most."""
    folder, jobs = tmp_path_factory.mktemp("bombs"), []
    for number, (name, (reader, content, _)) in enumerate(BOMBS.items()):
        path = folder / f"bomb-{number}"
        path.write_bytes(content())
        jobs.append((name, reader, str(path)))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        timeout=300,
    )
    said, megabytes = json.loads(done.stdout)
    return said, megabytes


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_one_line_or_costs_its_row(
    name: str, outcome: tuple[dict[str, str], int]
) -> None:
    said = outcome[0][name]
    assert re.search(BOMBS[name][2], said), said
    assert len(said.splitlines()) == 1


def test_bombs_take_little_memory(outcome: tuple[dict[str, str], int]) -> None:
    assert outcome[1] < MOST_MEGABYTES


VECTOR = b'{"data": [{"index": 0, "embedding": [%s]}]}'
ANSWERS = {
    "100 MB in 100 KB": (
        gzip.compress(b" " * 100 * MIB, 1),
        {"content-encoding": "gzip"},
        "more than 64 MiB",
    ),
    "the same as deflate": (
        zlib.compress(b" " * 100 * MIB, 1),
        {"content-encoding": "deflate"},
        "more than 64 MiB",
    ),
    "100 MB without packing": (b" " * 100 * MIB, {}, "more than 64 MiB"),
    "packed twice": (
        gzip.compress(gzip.compress(b"{}")),
        {"content-encoding": "gzip, gzip"},
        "other than embeddings",
    ),
    "packed by another method": (b"{}", {"content-encoding": "br"}, "other than embeddings"),
    "damaged packing": (gzip.compress(b"{}")[:-12], {"content-encoding": "gzip"}, "other than embeddings"),
    "not packed": (b"{}", {"content-encoding": "gzip"}, "other than embeddings"),
    "a million levels": (b"[" * MIB, {}, "other than embeddings"),
    "a number of 5,000 digits": (VECTOR % (b"9" * 5_000), {}, "other than embeddings"),
    "a number of 500 digits": (VECTOR % (b"9" * 500), {}, "not vectors"),
    "a number beyond floats": (VECTOR % b"1e999", {}, ""),
    "half a character": (b'{"data": "\\ud800"}', {}, "other than embeddings"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_hostile_answer_is_one_error_of_the_provider(name: str) -> None:
    body, headers, expected = ANSWERS[name]
    if not expected:
        read_answer(body, headers)
        return
    with pytest.raises(OmopEmbError, match=expected) as caught:
        read_answer(body, headers)
    assert len(str(caught.value).splitlines()) == 1


def test_a_packed_answer_is_read() -> None:
    read_answer(gzip.compress(VECTOR % b"1, 2"), {"content-encoding": "gzip"})


def test_whatever_is_done_to_a_file_it_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    assert attack(READERS, 25 * len(READERS), 1, tmp_path) == []


@pytest.mark.long
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_each_reader_stands_an_attack(reader: object, tmp_path: Path) -> None:
    count = -(-100_000 // len(READERS))  # 100,000 in all
    assert attack([reader], count, 2, tmp_path) == []  # type: ignore[list-item]  # pytest passes a Reader


@pytest.mark.parametrize(
    ("text", "concept_id"),
    [
        ("437663", 437663),
        (" 437663\n", 437663),
        ("437663.0", 437663),
        ("437663.000", 437663),
        ("00437663", 437663),
        ("-5", -5),
        ("0", 0),
        ("2147483647", 2147483647),
        ("2147483648", None),
        ("-2147483648", None),
        ("9999999999", None),
        ("9" * 5_000, None),
        ("0" * 5_000 + "1", None),
        ("437663." + "0" * 5_000, None),
        ("437663.5", None),
        ("437,663", None),
        ("437 663", None),
        ("437_663", None),
        ("+437663", None),
        ("--5", None),
        ("4e5", None),
        ("0x10", None),
        ("\u0664\u0663\u0667", None),
        ("\u0967\u0968", None),
        ("\uff14\uff13", None),
        ("\u00b2", None),
        ("\u2463", None),
        ("437663\0", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        (".", None),
        ("1.", None),
    ],
)
def test_one_parser_says_which_texts_are_concept_ids(text: str, concept_id: int | None) -> None:
    assert parse_concept_id(text) == concept_id
