"""Usagi's values: what pandas, R or Excel made of them, as Usagi writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation

from omop_emb.mapping.files.columns import header_key

REQUIRED = ("sourceCode", "sourceName", "sourceFrequency", "matchScore", "mappingStatus", "conceptId")
# Columns by which the file is recognised in another container, or after a program has changed it.
_RECOGNISED = ("sourceCode", "sourceName", "mappingStatus", "conceptId")
_OTHERS = (
    "sourceAutoAssignedConceptIds", "equivalence", "statusSetBy", "statusSetOn", "conceptName", "domainId",
    "mappingType", "comment", "createdBy", "createdOn", "assignedReviewer",
)  # fmt: skip
# What Usagi writes where there is no value: in whole numbers, and in words of its own.
_WHOLE_NUMBERS = {"sourceFrequency": "-1", "conceptId": "0", "statusSetOn": "0", "createdOn": "0"}
_WORDS = {"mappingStatus": "UNCHECKED", "equivalence": "UNREVIEWED", "mappingType": "MAPS_TO"}
MISSING = {**_WHOLE_NUMBERS, **_WORDS, "matchScore": "0"}
_LONGEST = 30  # digits of a number; Usagi's longest, a time in milliseconds, has 13
_NEVER_EMPTY = ("conceptId", "mappingStatus")
_EMPTY = frozenset({"na", "nan", "<na>", "nat", "null", "none", "(null)", "\\n", "#n/a"})


def is_usagi_header(headers: Sequence[str]) -> bool:
    """Whether a table has the columns of a file that Usagi saved."""
    return {header_key(name) for name in _RECOGNISED} <= {header_key(name) for name in headers}


def usagi_headers(headers: Sequence[str]) -> list[str]:
    """Headers spelt as Usagi spells them, and after them the columns of Usagi that are not there."""
    by_key = {header_key(name): name for name in (*REQUIRED, *_OTHERS)}
    spelt = [by_key.get(header_key(name), name) for name in headers]
    return [*spelt, *(name for name in by_key.values() if name not in spelt)]


def as_usagi_writes(cells: Mapping[str, str]) -> dict[str, str]:
    """A row's values as Usagi writes them: 317009 for 317009.0, UNCHECKED for NA; texts are unchanged."""
    usable = {name: value.replace("\0", "") for name, value in cells.items()}
    for name, missing in MISSING.items():
        value = usable.get(name, missing)
        stripped = value.strip()
        if stripped.casefold() in _EMPTY or (not stripped and name in _NEVER_EMPTY):
            usable[name] = missing
        elif name in _WORDS and stripped not in ("", missing):
            usable[name] = stripped.upper().replace(" ", "_")
        elif name in _WHOLE_NUMBERS and not (value.isascii() and value.isdecimal()):
            usable[name] = _whole(stripped)
        elif name == "matchScore":
            usable[name] = stripped.replace(",", ".")
    return {name: usable[name] for name in cells}


def _whole(text: str) -> str:
    """A whole number without ".0" or exponent; any other text is unchanged."""
    try:
        number = Decimal(text if len(text) <= _LONGEST else "")
    except InvalidOperation:
        return text
    is_whole = (
        number.is_finite() and abs(number.adjusted()) < _LONGEST and number == number.to_integral_value()
    )
    return str(int(number)) if is_whole else text
