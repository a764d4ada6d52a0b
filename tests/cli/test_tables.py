"""Tables: nothing that people copy is split, whatever the terminal's width."""

from __future__ import annotations

import os
import pty
import subprocess
import sysconfig
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

table: Any = import_module("omop_emb.cli.table")
OMOP_EMB = Path(sysconfig.get_path("scripts")) / "omop-emb"

SEARCH = (
    "query rank concept_id concept_name domain_id vocabulary_id concept_code similarity matched_text"
).split()
SPACES = "name active model dimensions index_type rows concepts release state".split()
_NAME = "Acute myocardial infarction of the heart"
_LONG_SPACE = "Qwen3-Embedding-0.6B-int8-document-2026-hnsw"
_LONG_CODES = f"x\t1\t4000000000\t{'y' * 60}\tMeasurement\tSNOMED\t{'1' * 18}\t1.0000\t{'z' * 50}"
TABLES = {
    "search": (
        SEARCH,
        [
            f"chest pain\t{n}\t{35819520 + n}\t{_NAME}\tObservation\tRxNorm Extension\tOMOP48{n}\t-0.7197\t"
            "Infarct of heart muscle"
            for n in range(1, 11)
        ],
        ("vocabulary_id", "matched_text", "domain_id"),
    ),
    "long codes": (SEARCH, [_LONG_CODES], ()),
    "spaces": (
        SPACES,
        [
            f"{_LONG_SPACE}\tyes\tlocal:Qwen/Qwen3-Embedding-0.6B\t1024\thnsw\t12,345,678\t6,123,456\t"
            "v5.0 30-AUG-24\tready, 1,204 texts failed"
        ],
        ("index_type", "concepts", "dimensions", "model", "release"),
    ),
    "next steps": (
        ["check", "ok", "details", "next_step"],
        [f"index\tno\tHNSW indexes of 12 domains are missing\tomop-emb index build --name {_LONG_SPACE}"],
        (),
    ),
    "accents and wide letters": (
        ["query", "concept_id"],
        ["Fie\u0301vre aigue\u0308\t437663", "\u5fc3\u7b4b\u6897\u585e\u306e\u65e2\u5f80\t4329847"],
        (),
    ),
    "no rows": (SEARCH, [], ("matched_text",)),
    "no values": (["a", "b"], ["\t"], ()),
}


def _table(name: str) -> tuple[list[str], list[list[str]], tuple[str, ...]]:
    headers, rows, optional = TABLES[name]
    return headers, [row.split("\t") for row in rows], optional


@pytest.mark.parametrize("width", [120, 80, 60, 40])
@pytest.mark.parametrize("name", TABLES)
def test_a_table_fits_the_terminal_and_splits_no_number_id_or_name(name: str, width: int) -> None:
    headers, cells, optional = _table(name)
    lines, left_out = table.table_lines(headers, cells, width, optional=optional)
    assert set(left_out) <= set(optional)
    text = "\n".join(lines)
    for row in cells:
        for header, value in zip(headers, row, strict=True):
            if header not in left_out:
                assert all(word in text for word in value.split() if len(word) < 50), (header, value)
    longest = max((len(word) for row in cells for value in row for word in value.split()), default=0)
    if longest < width - max(map(len, headers)) - 2:
        from rich.cells import cell_len

        assert all(cell_len(line) <= width for line in lines)


def test_the_optional_columns_go_first_and_the_rest_stays_a_table() -> None:
    headers, cells, optional = _table("search")
    lines, left_out = table.table_lines(headers[1:], [row[1:] for row in cells], 80, optional=optional)
    assert left_out == ["vocabulary_id", "matched_text", "domain_id"][: len(left_out)]
    assert left_out
    assert lines[0].split()[:2] == ["rank", "concept_id"]


def test_without_a_terminal_a_row_is_one_line_however_long() -> None:
    headers, cells, optional = _table("search")
    lines, left_out = table.table_lines(headers, cells, None, optional=optional)
    assert (len(lines), left_out) == (1 + len(cells), [])


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\tb", "a\x1bb", "a\u2028b", "a\x9bb", "a\x00b"])
def test_no_character_of_a_value_moves_the_cursor(text: str) -> None:
    assert table.one_line(text) == "a b"


@pytest.mark.parametrize("width", [120, 80])
def test_models_are_listed_whole_on_a_terminal(width: int) -> None:
    main, other = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width), "TERM": "dumb"}
    with subprocess.Popen(
        [OMOP_EMB, "models", "list"], stdout=other, stderr=other, env=environment
    ) as process:
        os.close(other)
        output = b""
        while True:
            try:
                chunk = os.read(main, 65536)
            except OSError:  # the process has closed its end
                break
            if not chunk:
                break
            output += chunk
    os.close(main)
    assert process.returncode == 0
    text = output.decode().replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert "text-embedding-3-small" in text
    lines = (line for line in text.splitlines() if not line.startswith("not shown"))
    assert all(len(line) <= width for line in lines)
