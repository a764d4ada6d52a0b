"""Excel cells: a cell's value as the text that was typed, or a warning that Excel has changed it.

Excel keeps every number as a float of 15 digits and shows it by its number format, so 00123 is the number
123 with the format 00000. Source: ECMA-376, part 1, 18.8.31 (numFmts), and 22.4.2.2 for _x000D_.
"""

from __future__ import annotations

import datetime
import re
from functools import cache
from typing import Any

from omop_emb.mapping.files.plain_text import plain_text

_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_LITERAL = re.compile(r'"([^"]*)"|\\(.)|\[[^\]]*\]|_.|\*.')
_MOST_DIGITS = 10**15  # what is larger has lost digits
_DATE = "Excel has turned it into a date"
_LOST_DIGITS = "it has more than 15 digits, and Excel keeps only 15"
_SCIENTIFIC = "Excel has turned it into a number with an exponent"


def cell_text(cell: Any) -> tuple[str, str]:
    """The text of a cell of openpyxl, and why it may not be what was typed; "" if it is."""
    value = cell.value
    if isinstance(value, str):
        if cell.data_type == "e":
            return "", f"it is the error {value}"
        return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), value) if "_x" in value else value, ""
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta):
        return plain_text(value), _DATE
    if isinstance(value, bool) or not isinstance(value, int | float):
        return plain_text(value), ""
    return number_text(value, cell.number_format or "General")


def number_text(value: float, number_format: str) -> tuple[str, str]:
    """A number as its format shows it, without grouping or rounding, and why it may not be what was typed."""
    plain = f"{value:.15g}" if isinstance(value, float) and not value.is_integer() else str(int(value))
    if "e" in plain:
        plain = plain_text(value)
    if abs(value) >= _MOST_DIGITS:
        return plain, _LOST_DIGITS
    # Excel itself knows no longer format.
    prefix, digits, suffix = _parts(number_format.split(";")[0] if len(number_format) < 256 else "General")
    if digits is None:
        return plain, ""
    if "E" in digits:
        return plain, _SCIENTIFIC
    if suffix.startswith("%"):
        return f"{value * 100:.15g}%", ""
    return f"{prefix}{_shown(value, plain, digits)}{suffix}", ""


def _shown(value: float, plain: str, digits: str) -> str:
    """The digits of a number by placeholders such as 00000, 0.00 or 000-00."""
    whole, _, fraction = digits.partition(".")
    places = fraction.count("0")
    if fraction and float(f"{value:.{places}f}") == value:
        plain = f"{value:.{places}f}"
    if not float(value).is_integer() and not fraction:
        return plain  # rounded on the screen only
    sign, number = ("-", plain[1:]) if plain.startswith("-") else ("", plain)
    before, point, after = number.partition(".")
    before = before.zfill(whole.count("0"))
    if re.search(r"[0#?][^0#?,]+[0#?]", whole):
        before = _with_signs(before, whole)
    return f"{sign}{before}{point}{after}"


def _with_signs(number: str, placeholders: str) -> str:
    """A number with the signs between its digits, such as the dashes of 000-00-0000."""
    rest, shown = list(number), []
    for sign in reversed(placeholders):
        if sign not in "0#?":
            shown.append(sign)
        elif rest:
            shown.append(rest.pop())
    return "".join(rest) + "".join(reversed(shown))


@cache
def _parts(section: str) -> tuple[str, str | None, str]:
    """What a number format has before, for and after the digits; None if it shows no plain digits."""
    literals: list[str] = []

    def keep(match: re.Match[str]) -> str:
        literals.append(match[1] or match[2] or "")
        return chr(0xE000 + len(literals) - 1)  # a private character holds its place

    marked = _LITERAL.sub(keep, section)
    match = re.fullmatch(r"([^0#?.]*)([0#?][0#?,.\-/ \ue000-\uf8ff]*(?:E[+\-]0+)?)(.*)", marked)
    if (
        match is None
        or "General" in section
        or "@" in section
        or not re.search("0", marked)
        or "/" in match[2]
    ):
        return "", None, ""

    def written(text: str) -> str:
        return "".join(
            literals[ord(sign) - 0xE000] if "\ue000" <= sign <= "\uf8ff" else sign for sign in text
        )

    digits = re.sub(r"[ \ue000-\uf8ff-]+$", "", match[2])
    rest = match[2][len(digits) :] + match[3]
    currency = any(sign in written(match[1] + rest) for sign in "$\u20ac\u00a3\u00a5")
    before, after = ("", "") if currency else (written(match[1]), written(rest))
    return before.lstrip(), written(digits).replace(",", ""), after.rstrip()
