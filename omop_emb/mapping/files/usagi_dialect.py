r"""Lines of Usagi's CSV, which is not RFC 4180: backslashes escape, and a value never spans lines.

Usagi writes a backslash as two, a quote as \", a line break as \n, and puts quotes around a value that
has a quote or a comma in it; it reads line by line. (OHDSI/Usagi, org.ohdsi.utilities.files:
WriteCSVFile.columns2line, ReadCSVFile.line2columns, StringUtilities.safeSplit.) Other tools, and Usagi
for a while, write the same columns as RFC 4180.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from enum import Enum

from omop_emb.mapping.files.delimited import read_rows

_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_UNESCAPED = {"\\": "\\", '"': '"', "n": "\n"}


class UsagiDialect(Enum):
    """How a file in Usagi's columns quotes its values."""

    USAGI = "Usagi's own"
    RFC4180 = "RFC 4180"


def split_line(line: str) -> list[str]:
    r"""The values of a line in Usagi's dialect, without its line end; a written \n becomes a line break."""
    if '"' not in line and "\\" not in line:
        return line.split(",")
    values, start = [], 0
    quoted = escaped = False
    for place, character in enumerate(line):
        if character == '"' and not escaped:
            quoted = not quoted
        elif character == "," and not quoted and not escaped:
            values.append(_unescape(line[start:place]))
            start = place + 1
        escaped = character == "\\" and not escaped
    values.append(_unescape(line[start:]))
    return values


def join_line(values: Iterable[str]) -> str:
    """A line in Usagi's dialect, without line end; carriage returns are left out."""
    return ",".join(map(_escape, values))


def join_rfc4180(values: Sequence[str]) -> str:
    """A record of RFC 4180, without line end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


def line_end(line: str) -> str:
    r"""What a line of text ends with: \n, \r\n, \r or nothing."""
    return line[len(line.rstrip("\r\n")) :]


def detect_dialect(lines: Sequence[str]) -> UsagiDialect:
    """Which dialect the first lines of a file are in, the header first.

    The one in which more of them have as many values as the header; Usagi's own where both do equally
    well and nothing speaks against it: Usagi writes no single backslash, and no two quotes side by side.
    """
    width = len(split_line(lines[0].rstrip("\r\n"))) if lines else 0
    # A value of RFC 4180 may span lines: characters are counted, so that lines and records compare.
    own = sum(len(line) for line in lines if len(split_line(line.rstrip("\r\n"))) == width)
    rows = list(read_rows(lines, ",", lambda problem: None))
    other = sum(len(row.raw) for row in rows if len(row.values) == width)
    if own != other:
        return UsagiDialect.USAGI if own > other else UsagiDialect.RFC4180
    strange = any(_not_written_by_usagi(line.rstrip("\r\n")) for line in lines)
    return UsagiDialect.RFC4180 if strange else UsagiDialect.USAGI


def _not_written_by_usagi(line: str) -> bool:
    if '""' in line:
        return True
    return any(match[1] not in _UNESCAPED for match in _ESCAPE.finditer(line)) or (
        line.endswith("\\") and (len(line) - len(line.rstrip("\\"))) % 2 == 1
    )


def _escape(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "").replace("\n", "\\n")
    return f'"{escaped}"' if '"' in value or "," in value else escaped


def _unescape(value: str) -> str:
    if len(value) > 1 and value.startswith('"') and value.endswith('"'):
        value = value[1:-1]
    if "\\" not in value:
        return value
    return _ESCAPE.sub(lambda match: _UNESCAPED.get(match[1], match[0]), value)
