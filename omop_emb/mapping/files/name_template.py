"""Name template: a term made of several columns, such as "{LABEL} in {FLUID}"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import Formatter

from omop_emb.errors import InputError

_OPENING = re.compile(r"[(\[{<\"']*$")
_CLOSING = re.compile(r"[)\]}>\"',;.%]*")


@dataclass(frozen=True)
class NameTemplate:
    """A template, taken apart.

    Attributes:
        headers: the columns, in the order of the template.
        texts: what stands before, between and after them; one more than columns.
    """

    headers: tuple[str, ...]
    texts: tuple[str, ...]

    def fill(self, cells: Mapping[str, str]) -> str:
        """The term of a row; the text around an empty column goes with it, "" if all are empty.

        "{A} in {B} ({C})" gives "a in b", "a (c)" or "b (c)" where one is empty.
        """
        filled = ""
        for number, header in enumerate(self.headers):
            value = cells[header].strip()
            if not value:
                continue
            before, after = self.texts[number], self.texts[number + 1]
            # Brackets and the like belong to the column that they follow.
            between = before[len(_closing(before)) :] if number else before
            filled += between if filled or not number else _opening(between)
            filled += value + (_closing(after) if number + 1 < len(self.headers) else after)
        return " ".join(filled.split())


def _opening(text: str) -> str:
    match = _OPENING.search(text)
    return match[0] if match else ""


def _closing(text: str) -> str:
    match = _CLOSING.match(text)
    return match[0] if match else ""


def parse_template(template: str, existing: Callable[[str], str]) -> NameTemplate:
    """A template in which {COLUMN} stands for a column's value and {{ and }} for braces.

    Args:
        template: such as "{LABEL} in {FLUID}"; nothing but names of columns is understood in braces.
        existing: a header as the file has it; raises InputError where there is none.

    Raises:
        InputError: the braces do not match, no column is named, or one does not exist.
    """
    headers: list[str] = []
    texts = [""]
    try:
        for text, field, specification, conversion in Formatter().parse(template):
            texts[-1] += text
            if field is not None:
                # A header may have these signs in it; for a format they are never used.
                name = field + (f"!{conversion}" if conversion else "")
                headers.append(existing(f"{name}:{specification}" if specification else name))
                texts.append("")
    except ValueError as error:
        raise InputError(
            f"the name template {template!r} is not understood ({error}): write columns as {{COLUMN}}, and "
            "braces as {{ and }}"
        ) from error
    if not headers:
        raise InputError(f"the name template {template!r} names no column: write them as {{COLUMN}}")
    return NameTemplate(tuple(headers), tuple(texts))
