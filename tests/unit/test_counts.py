"""Counts in messages: one text, two texts; a message never says "1 texts"."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from omop_emb.records import counted

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("omop_emb/**/*.py"), *ROOT.glob("cli/**/*.py")])
_PLURAL = re.compile(
    r" (?:[a-z]+ )?(terms|texts|rows|requests|tokens|concepts|mappings|codes|jobs|names|queries)\b"
)
# Counts that are never one, or that another count follows.
_ALLOWED = {
    *("{count.total:,} rows", "{_EXCEL_ROWS - 1:,} rows", "{len(batch):,} terms", "{rows:,} rows"),
    *("{_MOST_ROWS:,} rows", "{MAX_QUERIES:,} queries", "{MAX_ROWS:,} terms", "{MAX_MEMBERS:,} terms"),
}


@pytest.mark.parametrize(
    ("count", "words", "said"),
    [
        (0, ("term",), "0 terms"),
        (1, ("term",), "1 term"),
        (2, ("term",), "2 terms"),
        (1234567, ("text",), "1,234,567 texts"),
        (1, ("query", "queries"), "1 query"),
        (2, ("query", "queries"), "2 queries"),
        (1, ("row was", "rows were"), "1 row was"),
        (0, ("row was", "rows were"), "0 rows were"),
        (21, ("batch job",), "21 batch jobs"),
    ],
)
def test_a_count_is_said_with_its_noun(count: int, words: tuple[str, ...], said: str) -> None:
    assert counted(count, *words) == said


def _counts_with_a_plural(path: Path) -> list[str]:
    """What f-strings of a file say as "{number:,} nouns", where the number may be one."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, text in zip(node.values, node.values[1:], strict=False):
            if not isinstance(value, ast.FormattedValue) or not isinstance(text, ast.Constant):
                continue
            spec = value.format_spec
            is_count = spec is not None and ast.unparse(spec).strip("f'\"") == ","
            is_length = isinstance(value.value, ast.Call) and ast.unparse(value.value.func) == "len"
            match = _PLURAL.match(str(text.value)) if is_count or is_length else None
            if match:
                found.append(f"{{{ast.unparse(value.value)}:,}}{match[0]}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_messages_say_counts_by_counted(path: Path) -> None:
    assert set(_counts_with_a_plural(path)) <= _ALLOWED
