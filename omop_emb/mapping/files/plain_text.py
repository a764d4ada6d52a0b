"""Plain text of values: what a person would read, for numbers, dates and missing values of Python."""

from __future__ import annotations

import datetime
import decimal
from typing import Any


def plain_text(value: Any) -> str:
    """A value as text: None and NaN are "", 12.0 is "12", a date is ISO 8601, text is unchanged."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        # Excel stores every number as a float, and so does pandas in a whole-number column with gaps.
        return "" if value != value else str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, decimal.Decimal):
        if not value.is_finite():
            return ""
        return str(int(value)) if value == value.to_integral_value() else str(value)
    if isinstance(value, datetime.datetime):
        at_midnight = value.time() == datetime.time()
        return value.date().isoformat() if at_midnight else value.isoformat(sep=" ")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)
