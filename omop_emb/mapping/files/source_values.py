"""Source values: codes and names as they were meant before a spreadsheet or database exported them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice

from omop_emb.errors import InputError

# No value, as databases and pandas write it. NA is sodium too, and None an answer.
_MISSING = frozenset({"\\n", "null", "(null)", "[null]", "nan", "nat", "<na>", "<null>"})
_EXCEL_ERROR = re.compile(r"#(?:N/A|NULL!|DIV/0!|VALUE!|REF!|NAME\?|NUM!|SPILL!|CALC!)|#{2,}", re.IGNORECASE)
_AS_TEXT = re.compile(r'="(.*)"', re.DOTALL)  # how exports keep Excel from reading a number
_SHORTENED = re.compile(r"\d(?:[.,]\d+)?E\+\d{2,}")  # of Excel
_EXPONENT = re.compile(r"(\d)(?:\.(\d+))?e\+(\d{2})")  # of R: 1e+05 is 100000
_DECIMAL = re.compile(r"\d+\.0")
_SAMPLE = 1_000


def without_missing(text: str) -> str:
    """A text, "" for what programs write where there is none, without the signs that make Excel keep it."""
    text = _AS_TEXT.sub(r"\1", text) if text.startswith('="') else text
    stripped = text.strip()
    return "" if stripped.casefold() in _MISSING or _EXCEL_ERROR.fullmatch(stripped) else text


def code_text(text: str, *, is_decimal: bool = False) -> str:
    """A code; `is_decimal`: pandas wrote whole numbers with ".0", because some were missing.

    Raises:
        InputError: Excel has replaced it by a rounded number.
    """
    code = without_missing(text).strip()
    if code.startswith("'") and code[1:].strip(".").isdecimal():
        code = code[1:]
    if _SHORTENED.fullmatch(code):
        raise InputError("its code is not used: Excel has shortened it to a number with an exponent")
    if match := _EXPONENT.fullmatch(code):
        digits, places = match[1] + (match[2] or ""), int(match[3])
        return digits.ljust(places + 1, "0") if len(digits) <= places + 1 else code
    return code.removesuffix(".0") if is_decimal and _DECIMAL.fullmatch(code) else code


def has_decimal_codes(codes: Iterable[str]) -> bool:
    """Whether codes are whole numbers that pandas wrote as 317009.0: all are, with some missing or long."""
    sample = [code.strip() for code in islice(codes, _SAMPLE)]
    written = [code for code in sample if without_missing(code)]
    if not written or not all(map(_DECIMAL.fullmatch, written)):
        return False
    # ICD-9 has codes such as 250.0, of at most three digits; pandas writes ".0" only where a code is missing.
    return len(written) < len(sample) or any(len(code) > len("999.0") for code in written)
