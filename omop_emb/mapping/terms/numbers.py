"""Numbers: what the digits of a text mean, whichever signs separate decimals and thousands."""

from __future__ import annotations

import re

from omop_emb.mapping.terms.unit_symbols import everyday_symbol

_FRACTIONS = {"\u00bd": ".5", "\u00bc": ".25", "\u00be": ".75", "\u2153": ".333", "\u2154": ".667"}
_NARROW_SPACES = "\u00a0\u2009\u202f"
_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"))
# A space that no one types by accident separates thousands, a common one only where they are round:
# "10 000 IE", but "factor 8 250 IU" has two numbers.
_GROUPED = re.compile(rf"(?<![\w.,])[1-9]\d{{0,2}}(?:(?:[{_NARROW_SPACES}'\u2019]\d{{3}})+|(?: 000)+)(?!\d)")
NUMBER = r"(?:\d+(?:[.,]\d+)*|(?<![\w.])\.\d+)"
"""A pattern for a number in a text that plain_numbers() returned."""

_NUMBER_WORD = re.compile(rf"([+-]?)({NUMBER})(.*)")


def plain_numbers(text: str) -> str:
    """The text with thousands joined ("10 000" is 10000), fractions in decimals, dashes as hyphens."""
    text = text.translate(_DASHES)
    text = _GROUPED.sub(lambda match: re.sub(r"\D", "", match.group()), text)
    for sign, decimals in _FRACTIONS.items():
        text = re.sub(rf"(?<=\d)\s?{sign}|{sign}", decimals, text)
    return text


def parse_number(text: str, *, counts_units: bool = False) -> float:
    """The value of a number: "0,125" is an eighth, "2,500" is 2500, "1.000" is 1, "1.000,5" is 1000.5.

    A sign that stands twice separates thousands, and of two signs the last separates decimals. A single comma
    before three digits separates thousands, as English texts write them, but not after a zero. A single dot
    separates decimals, in "1.000" too: dots of RxNorm, of English labels and of laboratories do, and whoever
    reads 1.000 mg as 1000 mg gives a thousand times too much. But of international units there are no
    thousandths: "1.000 IE" is 1000.

    Args:
        text: a match of NUMBER.
        counts_units: whether the number is one of units or international units.
    """
    signs = re.findall(r"[.,]", text)
    if not signs:
        return float(text)
    before, _, after = text.rpartition(signs[-1])
    may_group = len(after) == 3 and not before.startswith("0") and before != ""
    is_single = len(signs) == 1 and may_group and (signs[0] == "," or counts_units)
    if is_single or (len(signs) > 1 and len(set(signs)) == 1):
        return float(re.sub(r"[.,]", "", text))
    return float(f"{re.sub(r'[.,]', '', before) or 0}.{after}")


def number_in(word: str) -> float | str | None:
    """The value of a word that is a number, with or without its unit ("500mg"); None for other words.

    A word such as "2a" or "1:1000" stands for itself.
    """
    match = _NUMBER_WORD.fullmatch(word)
    if match is None:
        return None
    is_plain = not match[3] or (len(match[3]) > 1 and everyday_symbol(match[3]) is not None)
    value = parse_number(match[2])
    return (-value if match[1] == "-" else value) if is_plain else word
