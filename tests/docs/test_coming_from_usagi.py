"""The page for users of Usagi says what the code does: keys, equivalences, mapping types and states."""

from __future__ import annotations

import re
from pathlib import Path

from omop_emb.service.review.decision_records import MAPPING_TYPES, Equivalence
from omop_emb.service.review.exports.equivalence_codes import relation_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/coming-from-usagi.md").read_text()
KEYS = (ROOT / "omop_emb/web/static/review/keys.js").read_text()
STATES = ("APPROVED", "UNCHECKED", "AUTO_MAPPED", "AUTO_MAPPED_TO_1", "INVALID_TARGET", "FLAGGED", "IGNORED")


def rows(title: str) -> list[list[str]]:
    """The cells of the table in a section, without its header."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_each_key_on_the_page_is_one_of_the_reviews() -> None:
    actions = re.findall(r'^  \w+: \["[^"]+", \[(.+)\]\],$', KEYS, re.MULTILINE)
    known = {key for listed in actions for key in re.findall(r'"([^"]+)"', listed)} | set("123456789")
    named = {key for row in rows("Menus and keys") for key in re.findall(r"`(\S+?)`", row[-1])}
    assert {"Enter", "f", "u", "0"} <= named <= known


def test_each_equivalence_is_told_as_exports_write_it() -> None:
    table = {row[0]: row[1:] for row in rows("Equivalences")}
    assert set(table) == {one.value for one in Equivalence}
    for one in set(Equivalence) - {Equivalence.UNMATCHED}:
        relation = relation_of(one)
        told = [f"`{code}`" for code in (relation.skos, relation.r4, relation.r5)]
        assert table[one.value] == [one.words, *told]


def test_each_mapping_type_and_state_is_told() -> None:
    assert {row[0].partition(" ")[0]: row[1] for row in rows("Mapping types")} == MAPPING_TYPES
    told = " ".join(row[0] for row in rows("States"))
    assert all(re.search(rf"\b{state}\b", told) for state in STATES)
