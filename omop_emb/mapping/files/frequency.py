"""Frequencies: counts as people and programs write them."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from omop_emb.errors import InputError

# Missing, as pandas, R, SAS, SQL Server, Oracle, PostgreSQL and people write it.
_MISSING = frozenset(
    {"", "-", "--", ".", "?", "na", "n/a", "n.a.", "nan", "nat", "null", "none", "<na>", "(null)", "[null]"}
    | {"\\n", "#n/a", "unknown", "inf", "-inf"}
)
_BOUND = re.compile(r"^(?:[<>\u2264\u2265~\u2248=]+|(?:ca|approx|about|n)\b[.=:]*)\s*", re.IGNORECASE)
_TIMES = re.compile(r"\s*(?:x|times|mal|keer|kertaa|fois|veces|volte|g\u00e5nger)$", re.IGNORECASE)
_SPACES = re.compile(r"[\s_'\u2019]+")
# Groups of three; in India the lower ones have two digits. Both signs: the last one is the decimal sign.
_GROUPED = re.compile(r"\d{1,3}(?:([,.])\d{2,3})(?:\1\d{2,3})*")
_LONGEST = 100  # characters of a count
_LARGEST = 2**31 - 1  # as in Usagi and in the database


def read_frequency(text: str) -> int | None:
    """A count: "1,204", "1.204,5" (1204), "<5" and ">100" (the number itself); None if it is missing.

    Raises:
        InputError: it is no count, such as "12%", "often" or -3; the message does not repeat it.
    """
    stripped = text.strip().strip("\u200b\ufeff\u00ad")
    if stripped.casefold() in _MISSING:
        return None
    number = _SPACES.sub("", _TIMES.sub("", _BOUND.sub("", stripped)))
    try:
        value = Decimal(_plain(number) if len(number) <= _LONGEST else "")
        if value.is_nan():
            raise InvalidOperation
    except InvalidOperation:
        what = "a share" if number.endswith(("%", "\u2030")) else "no number"
        raise InputError(f"its frequency is {what} and is not used") from None
    if value == -1:  # Usagi's way to say that it is unknown
        return None
    if value < 0:
        raise InputError("its frequency is negative and is not used")
    if 0 < value < 1:
        raise InputError("its frequency is a share and is not used")
    if not value <= _LARGEST:
        raise InputError("its frequency is too large for a count and is not used")
    return int(value)


def _plain(number: str) -> str:
    """A number with a decimal point and no thousands separators."""
    comma, dot = number.rfind(","), number.rfind(".")
    if comma >= 0 and dot >= 0:
        decimal_sign = "," if comma > dot else "."
        grouping = "." if decimal_sign == "," else ","
        whole, _, fraction = number.rpartition(decimal_sign)
        if not _is_grouped(whole) or grouping in fraction or decimal_sign in whole:
            raise InvalidOperation
        return f"{whole.replace(grouping, '')}.{fraction}"
    return re.sub("[,.]", "", number) if _is_grouped(number) else number.replace(",", ".")


def _is_grouped(number: str) -> bool:
    return _GROUPED.fullmatch(number) is not None and len(re.split("[,.]", number)[-1]) == 3
