"""Search words: no case, accents, punctuation or British spelling; signs stay as words of their own."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from omop_emb.mapping.terms.data_files import read_table
from omop_emb.mapping.terms.typography import decomposed

# Letters and digits of a folded text; punctuation beyond Latin is left out.
LETTERS = "a-z0-9\u0250-\u1fff\u2070-\u2fff\u3005-\uffff"
_ARROW = re.compile(r"-+>|=>(?! ?\d)")
_COMPARATOR = re.compile(r"([<>]) ?/? ?=|= ?([<>])(?= ?\d)")  # <=, </=, =<
_LEADING_POINT = re.compile(rf"(?<![{LETTERS}.,:])\.(?=\d)")  # .5
_POSITIVE, _NEGATIVE = re.compile(r"\+ ?ve\b"), re.compile(r"-ve\b")
_WORD_OR_SIGN = re.compile(
    rf"""
    \+/-
    | [<>]=? | !=? (?<==) | =+
    # A number with its sign, a word; point, comma and colon belong to a number
    | (?: (?<![{LETTERS})\]+-]) [-+] (?=\d) )? [{LETTERS}]+ (?: (?<=\d) [.,:] (?=\d) [{LETTERS}]+ )*
    | \++
    # Between numbers, in an exponent, at the end of a word, in brackets; any other hyphen joins words
    | (?<=\d)-(?=\d) | (?<=\de)-(?=\d)
    | (?<=[{LETTERS})\]])-+(?![{LETTERS}>-]) | (?<=[{LETTERS})\]]\ )-+(?=\ ?(?:$|[)\],;/|+]))
    | (?<=[(\[])-+(?=[)\]])
    # Between factors; any other star is a mark
    | (?<=[{LETTERS})\]])\*{{1,2}}(?=[-+(\[]?[a-z0-9]) | (?<=\d\ )\*(?=\ ?[-+]?\d)
    | [/^%]
    """,
    re.VERBOSE,
)
_SPELLED_OUT = "alpha beta gamma delta u u ss ae o".split()
# Four Greek letters, the micro sign and the Greek mu that looks like it, sharp s, ae, o with stroke.
_GREEK = str.maketrans(
    dict(zip("\u03b1\u03b2\u03b3\u03b4\u00b5\u03bc\u00df\u00e6\u00f8", _SPELLED_OUT, strict=True))
)


def fold(text: str) -> str:
    """The text in lower case without accents, with Greek letters and the micro sign spelled out.

    A sign that can be typed in several ways is written in one (a minus sign is "-"), an exponent with "^".
    """
    folded = text.lower().translate(_GREEK)
    if folded.isascii():
        return folded
    letters = decomposed(folded).translate(_GREEK)
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


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
    """The search words of a text: folded, in American spelling, separated by single spaces.

    Signs, comparators, slashes and powers are words, and a number keeps its sign, point and comma: "Rh-" is
    "rh -", "T-cell" is "t cell". Texts are the same only if text_key() says so.
    """
    folded = " ".join(american(fold(text)).split())
    # Each pattern runs only on a text with its letter: a vocabulary has millions of texts.
    if ">" in folded:
        folded = _ARROW.sub(" ", folded)
    if "=" in folded:
        folded = _COMPARATOR.sub(lambda found: f"{found[1] or found[2]}=", folded)
    if "ve" in folded:
        folded = _NEGATIVE.sub(" negative", _POSITIVE.sub(" positive", folded))
    if "." in folded:
        folded = _LEADING_POINT.sub("0.", folded)
    return " ".join(_WORD_OR_SIGN.findall(folded))
