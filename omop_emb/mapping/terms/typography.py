"""Typography: the several characters with which one sign can be typed, written in one way."""

from __future__ import annotations

import re
import unicodedata

_ONE_SIGN = {
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d",  # hyphens, dashes, minus
    "'": "\u2018\u2019\u02bc\u00b4\u2032",
    '"': "\u201c\u201d\u2033",
    "<": "\u02c2\uff1c",
    ">": "\u02c3\uff1e",
    "<=": "\u2264\u2266\u2a7d\u226f",  # not greater is less or equal
    ">=": "\u2265\u2267\u2a7e\u226e",
    "!=": "\u2260",
    "+/-": "\u00b1",
    "*": "\u2217\uff0a",
    "/": "\u2044\u2215\uff0f",
    "^": "\u02c6\uff3e",
    ":": "\u2236",
    "\u00b7": "\u22c5\u2219",  # multiplication dots
    "\u03bc": "\u00b5",  # micro
}
_PLAIN = str.maketrans({character: sign for sign, typed in _ONE_SIGN.items() for character in typed})
_DIGITS = "\u00b9\u00b2\u00b3\u2070\u2074-\u2079"
_EXPONENT = re.compile(rf"(?:(?<=\d)[\u207a\u207b]?|\u207b)[{_DIGITS}]+")
_FRACTION = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215e])")
# Raised, lowered and circled characters and fractions say more than what they decompose into.
_SAME = ("<compat>", "<wide>", "<narrow>", "<square>", "<noBreak>", "<small>", "<font>")


def decomposed(text: str) -> str:
    """The text in plain characters, accents after their letters, with each sign written in one way.

    An exponent after a number, and a negative one, is written with "^" (10^3, m^-2), a fraction with "/".
    """
    raised = _EXPONENT.sub(
        lambda found: "^" + unicodedata.normalize("NFKD", found[0]), text.translate(_PLAIN)
    )
    return unicodedata.normalize("NFKD", _FRACTION.sub(" ", raised)).translate(_PLAIN)


def same_characters(text: str) -> str:
    """The text with characters that cannot be told apart written in one way, and without invisible ones."""
    if text.isascii():
        return text
    composed = unicodedata.normalize("NFC", text.translate(_PLAIN))
    return "".join(_same_character(character) for character in composed)


def _same_character(character: str) -> str:
    if character.isascii():
        return character
    if unicodedata.category(character) == "Cf":  # a soft hyphen, a byte order mark, a space of no width
        return ""
    if unicodedata.decomposition(character).startswith(_SAME):
        return unicodedata.normalize("NFKC", character).translate(_PLAIN)
    return character
