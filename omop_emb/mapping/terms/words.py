"""Normal texts: case, accents, punctuation and British spelling removed, so that texts can be compared."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from omop_emb.mapping.terms.data_files import read_table

_NOT_WORD = re.compile(r"[^a-z0-9%+./\u0250-\uffff]+")
# A dot belongs to a number (0.5); any other dot, and every slash (mg/ml, s/p), separates words.
_LOOSE = re.compile(r"(?<!\d)[./]|[./](?!\d)|/")
_SPELLED_OUT = "alpha beta gamma delta u u ss ae o".split()
# Four Greek letters, the micro sign and the Greek mu that looks like it, sharp s, ae, o with stroke.
_GREEK = str.maketrans(
    dict(zip("\u03b1\u03b2\u03b3\u03b4\u00b5\u03bc\u00df\u00e6\u00f8", _SPELLED_OUT, strict=True))
)


def fold(text: str) -> str:
    """The text in lower case without accents, with Greek letters and the micro sign spelled out."""
    folded = text.lower().translate(_GREEK)
    if folded.isascii():
        return folded
    decomposed = unicodedata.normalize("NFKD", folded).translate(_GREEK)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


@cache
def _spelling() -> tuple[re.Pattern[str], dict[str, str]]:
    pairs = {row["british"]: row["american"] for row in read_table("spelling.tsv")}
    longest_first = sorted(pairs, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))), pairs


def american(text: str) -> str:
    """A folded text with British spellings replaced."""
    pattern, pairs = _spelling()
    return pattern.sub(lambda match: pairs[match.group()], text)


def normalise(text: str) -> str:
    """The words of a text, folded, in American spelling, separated by single spaces."""
    words = _LOOSE.sub(" ", _NOT_WORD.sub(" ", american(fold(text))))
    return " ".join(words.split())
