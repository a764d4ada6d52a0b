"""Model answers: the numbered entries in what a generative model wrote, whatever it wrote around them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_MOST_ANSWER = 100_000  # characters; the longest right one has about 8,000
_MOST_READ_IN_VAIN = 10_000_000  # characters, of text that looks like JSON and is none
_JSON_START = re.compile(r"[{\[]")

Entry = Mapping[str, Any]
"""What a model wrote about an item."""


def object_schema(properties: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema of an object that has exactly these properties."""
    names = list(properties)
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


def numbered_entries(
    text: str, count: int, *, is_usable: Callable[[Entry], bool] = lambda _entry: True
) -> dict[int, Entry]:
    """Entries by the number of their item, from 1 to `count`.

    Items that the answer omits, repeats or garbles are missing; all are if it holds no JSON. Prose
    around the JSON is ignored; of several answers the last one counts.

    Args:
        text: the model's answer.
        count: the number of items.
        is_usable: whether an entry counts at all.
    """
    entries: dict[int, Entry] = {}
    repeated: set[int] = set()
    for entry in _last_answers(text):
        if not isinstance(entry, dict) or not is_usable(entry):
            continue
        number = entry.get("term")
        if isinstance(number, str) and number.strip().isdecimal() and len(number) < 9:
            number = int(number)  # many models quote every value
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= count:
            continue
        repeated |= {number} & entries.keys()
        entries[number] = entry
    return {number: entry for number, entry in entries.items() if number not in repeated}


def _last_answers(text: str) -> list[Any]:
    """The entries of the last JSON value in a text that holds answers; [] if there is none."""
    text = text[:_MOST_ANSWER]
    decoder, entries, start, left = json.JSONDecoder(), [], 0, _MOST_READ_IN_VAIN
    while left > 0 and (match := _JSON_START.search(text, start)) is not None:
        try:
            value, start = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError) as error:
            start = match.end()
            # Brackets that are never closed would be read again from each of them on.
            left -= _wasted(error, start)
            continue
        answers = value.get("answers", [value]) if isinstance(value, dict) else value
        if isinstance(answers, list) and any(
            isinstance(entry, dict) and "term" in entry for entry in answers
        ):
            entries = answers
    return entries


def _wasted(error: ValueError | RecursionError, start: int) -> int:
    """What a vain attempt to read JSON cost, in characters: those read, and the error's count of lines."""
    if not isinstance(error, json.JSONDecodeError):
        return 20_000  # brackets nested too deeply, or a number without end
    return error.pos - start + 2 + error.pos // 20
