"""Formula text: cells that a spreadsheet would calculate get an apostrophe, which is read back as none.

Someone who writes "=HYPERLINK(…)" into a source system could otherwise run it on the reviewer's machine. The
rule can be undone for every text: one that has apostrophes before such a sign already gets another.
"""

from __future__ import annotations

import re

APOSTROPHE = "apostrophe_before"
"""The column of a written file that lists the cells of its row with an apostrophe before their text."""

# Also as written in East Asian fonts, and after blanks, which some programs drop.
_FORMULA = re.compile(r"'*(?:\s*[=+\-@＝＋－＠]|[\t\r\n])")  # noqa: RUF001 - the wide signs are meant


def is_formula(text: str) -> bool:
    """Whether a spreadsheet could take a text for a formula, perhaps after the apostrophes before it."""
    return _FORMULA.match(text) is not None


def as_text(text: str) -> str:
    """The text with an apostrophe before it if it could be taken for a formula."""
    return f"'{text}" if is_formula(text) else text


def as_meant(written: str) -> str:
    """The text for which as_text() wrote this."""
    return written[1:] if written.startswith("'") and is_formula(written) else written
