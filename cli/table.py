"""Tables on a terminal: a number, id or name is never split; what does not fit is left out or stacked."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_GAP = 2  # spaces between columns
_NARROWEST = 20  # characters of the terminal
_COMFORTABLE = 16  # characters of a column that is broken between words
# A long word of letters alone may be split: a chemical's name, never an id, a number or a space's name.
_MAY_BE_SPLIT = re.compile(r"[^\W\d_]{25,}")
_SPLIT_WIDTH = 24
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

Cells = Sequence[Sequence[str]]


def one_line(text: str) -> str:
    """The text without line breaks and other characters that would move a terminal's cursor."""
    return _UNPRINTABLE.sub(" ", text)


def table_lines(
    headers: Sequence[str],
    cells: Cells,
    width: int | None,
    *,
    optional: Sequence[str] = (),
    emphasise: Callable[[str], str] = str,
) -> tuple[list[str], list[str]]:
    """The lines of a table, and the headers of columns that were left out.

    Args:
        headers: of all columns.
        cells: rows of texts without line breaks, a text per header.
        width: characters of the terminal; None is as wide as the contents.
        optional: headers that may be left out where there is no room, the least important one first.
        emphasise: how a line of headers is shown.
    """
    if width is None:
        return _lines(headers, cells, _natural(headers, cells), emphasise), []
    width = max(width, _NARROWEST)
    left_out = [header for header in optional if header in headers]
    fitting = _kept(headers, cells, width, left_out)
    if fitting is None:
        return stacked_lines(headers, cells, width), []
    for header in reversed(optional):
        fewer = [name for name in left_out if name != header]
        if (more := _kept(headers, cells, width, fewer)) is not None:
            fitting, left_out = more, fewer
    return _lines(*fitting, emphasise), left_out


def _kept(
    headers: Sequence[str], cells: Cells, width: int, left_out: Sequence[str]
) -> tuple[list[str], Cells, list[int]] | None:
    """The headers, cells and widths of a table without some columns; None if it does not fit."""
    kept = [n for n, name in enumerate(headers) if name not in left_out]
    own_headers, own_cells = [headers[n] for n in kept], [[row[n] for n in kept] for row in cells]
    widths = _fit(own_headers, own_cells, width)
    return None if widths is None else (own_headers, own_cells, widths)


def _natural(headers: Sequence[str], cells: Cells) -> list[int]:
    return [max(map(_width, column)) for column in zip(headers, *cells, strict=True)]


def _fit(headers: Sequence[str], cells: Cells, width: int) -> list[int] | None:
    """The widths of columns that together fit; None if words would have to be split."""
    natural = _natural(headers, cells)
    words = [max(map(_longest_word, column)) for column in zip(headers, *cells, strict=True)]
    values = [max(map(_width, column), default=0) for column in zip(*cells, strict=True)] or [0] * len(words)
    widths = [max(word, min(value, _COMFORTABLE)) for word, value in zip(words, values, strict=True)]
    spare = width - sum(widths) - _GAP * (len(headers) - 1)
    if spare < 0:
        return None
    # The column that lacks least first: as many as possible then need no second line.
    lacking = sorted(range(len(widths)), key=lambda n: natural[n] - widths[n])
    for place, n in enumerate(lacking):
        share = min(natural[n] - widths[n], spare // (len(lacking) - place))
        widths[n] += share
        spare -= share
    return widths


def _lines(
    headers: Sequence[str], cells: Cells, widths: Sequence[int], emphasise: Callable[[str], str]
) -> list[str]:
    lines = []
    for row_number, row in enumerate((headers, *cells)):
        wrapped = [_wrap(text, width) for text, width in zip(row, widths, strict=True)]
        for n in range(max(map(len, wrapped), default=0)):
            parts = [part[n] if n < len(part) else "" for part in wrapped]
            padded = (part + " " * (width - _width(part)) for part, width in zip(parts, widths, strict=True))
            line = (" " * _GAP).join(padded).rstrip()
            lines.append(emphasise(line) if row_number == 0 else line)
    return lines


def stacked_lines(headers: Sequence[str], cells: Cells, width: int | None) -> list[str]:
    """Each row as lines of a header and its value, with an empty line between rows."""
    left = max(map(_width, headers))
    if width is not None and left > width // 2:
        left = 0
    lines: list[str] = []
    for row in cells:
        if lines:
            lines.append("")
        for header, text in zip(headers, row, strict=True):
            if not text:
                continue
            start = header + " " * (left - _width(header) + _GAP) if left else f"{header}: "
            indent = " " * (left + _GAP if left else _GAP)
            room = _width(text) if width is None else max(width - len(indent), _longest_word(text))
            first, *rest = _wrap(text, room)
            lines += [start + first, *(indent + part for part in rest)]
    return lines


def _wrap(text: str, width: int) -> list[str]:
    """The text in lines of at most a width, broken between words."""
    if _width(text) <= width:
        return [text]
    lines = [""]
    for word in text.split():
        while True:
            joined = f"{lines[-1]} {word}" if lines[-1] else word
            if _width(joined) <= width:
                lines[-1] = joined
                break
            if lines[-1]:
                lines.append("")
                continue
            head = _head(word, width)
            lines[-1], word = head, word[len(head) :]
            if not word:
                break
            lines.append("")
    return lines


def _head(word: str, width: int) -> str:
    """The longest beginning of a word that fits; at least a character."""
    end = len(word)
    while end > 1 and _width(word[:end]) > width:
        end -= 1
    return word[:end]


def _longest_word(text: str) -> int:
    return max((_least_width(word) for word in text.split()), default=0)


def _least_width(word: str) -> int:
    return _SPLIT_WIDTH if _MAY_BE_SPLIT.fullmatch(word.strip("()[],;.-")) else _width(word)


def _width(text: str) -> int:
    """Columns of a terminal, of which Chinese characters take two and combining accents none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
