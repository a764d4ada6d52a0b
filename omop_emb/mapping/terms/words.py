"""The one way in which texts are brought to comparable words: case, accents, punctuation, spelling."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from omop_emb.mapping.terms.data_files import table

_NOT_WORD = re.compile(r"[^a-z0-9%+./\u0250-\uffff]+")
# A dot or slash belongs to a number (0.5) or stands between words (mg/ml, s/p): only the first is kept.
_LOOSE = re.compile(r"(?<!\d)[./]|[./](?!\d)|/")
# alpha, beta, gamma, delta; the micro sign and the Greek mu that looks like it; sharp s, ae, o with stroke
_GREEK = str.maketrans(
    {
        "\u03b1": "alpha",
        "\u03b2": "beta",
        "\u03b3": "gamma",
        "\u03b4": "delta",
        "\u00b5": "u",
        "\u03bc": "u",
        "\u00df": "ss",
        "\u00e6": "ae",
        "\u00f8": "o",
    }
)


def fold(text: str) -> str:
    """The text in lower case without accents; Greek letters and the micro sign are written out."""
    folded = text.lower().translate(_GREEK)
    if folded.isascii():
        return folded
    decomposed = unicodedata.normalize("NFKD", folded).translate(_GREEK)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


@cache
def _spelling() -> tuple[re.Pattern[str], dict[str, str]]:
    pairs = {row["british"]: row["american"] for row in table("spelling.tsv")}
    longest_first = sorted(pairs, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))), pairs


def american(text: str) -> str:
    """A folded text with British spellings replaced."""
    pattern, pairs = _spelling()
    return pattern.sub(lambda found: pairs[found.group()], text)


def normal(text: str) -> str:
    """Words of a text, folded, in American spelling, one space apart; the same for texts that read alike."""
    words = _LOOSE.sub(" ", _NOT_WORD.sub(" ", american(fold(text))))
    return " ".join(words.split())
