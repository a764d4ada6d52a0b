"""Doubly encoded text: UTF-8 that was read as another encoding and saved again, put right.

A run of letters beyond ASCII is changed only if all of its bytes, in an encoding that programs mistake
UTF-8 for, are UTF-8, and if the result is of a kind that right text does not give by chance.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

_RUN = re.compile(r"[^\x00-\x7f]+")
_MISTAKEN = ("cp1252", "latin-1", "cp1250", "cp1254", "mac_roman", "cp850", "cp437", "cp1251")
_TIMES = 3  # a text can be encoded wrongly more than once
# What two bytes may give: Latin, Greek and Cyrillic letters; phonetic letters come from "\u00c9\u00ae".
_LETTERS = re.compile(r"[\u00a0-\u017f\u0218-\u021b\u0370-\u052f]")
_NO_LETTERS = frozenset({"Cc", "Cn", "Co"})  # controls, and what is not assigned


def repair(text: str) -> str:
    """The text with what was encoded twice put right; any other text is unchanged."""
    for _ in range(_TIMES):
        if text.isascii():
            break
        repaired = _RUN.sub(_repaired_run, text)
        if repaired == text:
            break
        text = repaired
    return text


def _repaired_run(match: re.Match[str]) -> str:
    run = match.group()
    if len(run) < 2:
        return run
    before = match.string[max(0, match.start() - 2) : match.start()]
    for encoding in _MISTAKEN:
        table = _byte_of(encoding)
        try:
            decoded = bytes(table[letter] for letter in run).decode("utf-8")
        except (KeyError, UnicodeDecodeError):
            continue
        if _is_plausible(decoded, before):
            return decoded
    return run


def _is_plausible(decoded: str, before: str) -> bool:
    for letter in decoded:
        if ord(letter) < 0x800 and not _LETTERS.match(letter):
            return False
        if unicodedata.category(letter) in _NO_LETTERS:
            return False
    # A small letter right after capitals: "CAF\u00c8\u2122" is a name with its trademark sign.
    return not (len(before) == 2 and before.isupper() and before.isalpha() and decoded[0].islower())


@cache
def _byte_of(encoding: str) -> dict[str, int]:
    """The byte of each letter; a byte that a code page lacks comes through as a control character."""
    return {bytes([byte]).decode(encoding, "ignore") or chr(byte): byte for byte in range(0x80, 0x100)}
