"""Unit keys: one key for 10*12/l, 10^12/L and "trillion per liter"."""

from __future__ import annotations

import re
from functools import cache

from omop_emb.mapping.terms.data_files import read_toml
from omop_emb.mapping.terms.words import american, fold

# 10*12, 10^9, x10E9, X 10-9, x10exp9, 10(6), x10 12, *10 3, x 109
_POWER = re.compile(
    r"(?:[x*\u00d7]\s*)?(?<!\d)10\s*(?:\*\*|\*|\^|e|exp|-(?=\d+/)|/(?=\d\s))\s*\+?0*(\d{1,2})(?!\d)"
    r"|(?:[x*\u00d7]\s*)10\s*\(?0*(3|6|9|12)\b\)?|(?<!\d)10\s*\((\d{1,2})\)|(?<![a-z\d])x?e\+?0*(\d{1,2})\b"
)
_THOUSANDS = re.compile(r"(?<![\d.])x?\s*1(0{3}|0{6}|0{9})(?!\d)")
_GLUED = re.compile(r"\b([munpfk]?(?:mol|g|eq|iu)|mosm|cells)(l|dl|ml|ul|mmol|kg|min|hr)\b")
_BODY_SURFACE = re.compile(
    r"/?\s*1[.,]73?\s*[_*]?\s*(?:square meters?|sq\.?\s*m(?:eters?)?|m\s*[\^*'(]*2\)?|\*?2)?(?:ml/)?"
)
_DOTTED = re.compile(r"\bi\.\s*u\.?")
_EXPONENT = re.compile(r"(?<=[a-z])\s*[\^*]\s*(-?\d)")
_NOTE = re.compile(r"\{[^}]*\}|\(\s*\+?\s*\d+\s*°?\s*c\s*\)|\d+\s*°\s*c\b|/?\s*ph\s*\d\.?\d?$")
_SPACE = re.compile(r"\s+")


@cache
def _words() -> tuple[re.Pattern[str], dict[str, str]]:
    words: dict[str, str] = read_toml("units.toml")["words"]
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile(
        r"(?<![a-z0-9])(" + "|".join(map(re.escape, longest_first)) + r")s?(?![a-z0-9^])"
    ), words


@cache
def unit_key(text: str) -> str:
    """The canonical key of a unit's code or name, not a UCUM code; "" if nothing is left of the text."""
    data = read_toml("units.toml")
    key = american(fold(text)).strip().rstrip(".").split("^value")[0]
    key = _DOTTED.sub("iu", key).replace("173.10*-2.m2", "1.73 m2")
    for code, piece in data["brackets"].items():
        key = key.replace(code, piece)
    without_notes = _NOTE.sub("", key).strip()
    key = without_notes or key.strip("{}[]")
    key = _BODY_SURFACE.sub("/bsa", key)
    key = _POWER.sub(lambda match: f" 10^{next(filter(None, match.groups()))} ", key)
    key = _THOUSANDS.sub(lambda match: f" 10^{len(match.group(1))} ", key)
    pattern, words = _words()
    key = pattern.sub(lambda match: words[match.group(1)], key)
    key = _EXPONENT.sub(r"\1", key)
    key = _GLUED.sub(r"\1/\2", key)
    key = key.replace("#", "").replace("[", "").replace("]", "").replace("'", "")
    key = re.sub(r"\b(?:and|of)\b", " ", key)
    key = _SPACE.sub(" ", key).strip()
    key = re.sub(r"\s*/\s*", "/", key)
    key = re.sub(r"[ *()]+", ".", key).strip(".")
    # Sorted numerator and denominator: nmol/min/ml is nmol/ml/min.
    numerator, *divisors = key.split("/")
    numerator = ".".join(sorted(filter(None, numerator.split("."))))
    key = "/".join([numerator, *sorted(piece for part in divisors for piece in part.split(".") if piece)])
    for old, new in data["equal"].items():
        if "/" in old:
            key = new if key == old else key
        else:
            key = "/".join(new if part == old else part for part in key.split("/"))
    # Once more: a replacement may have made a key that an earlier entry replaces.
    for old, new in data["equal"].items():
        key = new if key == old else key
    return key
