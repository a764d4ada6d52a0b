r"""Usagi's CSV dialect: backslashes escape, and a value never spans lines, unlike in RFC 4180.

Usagi writes a backslash as two, a quote as \", a line break as \n, and quotes a value that contains a quote
or a comma; it reads line by line. Source: OHDSI/Usagi, org.ohdsi.utilities.files: WriteCSVFile.columns2line,
ReadCSVFile.line2columns, StringUtilities.safeSplit. Other tools, and some versions of Usagi, write the same
columns as RFC 4180.
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
    for position, character in enumerate(line):
        if character == '"' and not escaped:
            quoted = not quoted
        elif character == "," and not quoted and not escaped:
            values.append(_unescape(line[start:position]))
            start = position + 1
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
    """The dialect of a file's first lines (header first).

    The one in which more of the text has as many values as the header. A tie is Usagi's own, unless a line
    has what Usagi never writes: an unknown escape, or two quotes side by side.
    """
    width = len(split_line(lines[0].rstrip("\r\n"))) if lines else 0
    # A value of RFC 4180 may span lines, so characters are compared rather than lines.
    own = sum(len(line) for line in lines if len(split_line(line.rstrip("\r\n"))) == width)
    records = read_rows(lines, ",", only_rfc4180=True)
    other = sum(len(row.raw) for row in records if len(row.values) == width)
    if own != other:
        return UsagiDialect.USAGI if own > other else UsagiDialect.RFC4180
    foreign = any(_is_foreign_to_usagi(line.rstrip("\r\n")) for line in lines)
    return UsagiDialect.RFC4180 if foreign else UsagiDialect.USAGI


def _is_foreign_to_usagi(line: str) -> bool:
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
