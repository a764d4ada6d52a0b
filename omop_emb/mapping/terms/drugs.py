"""Drug texts: ingredient, strengths and dose forms, in source terms and RxNorm names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from omop_emb.mapping.terms.data_files import read_table
from omop_emb.mapping.terms.numbers import NUMBER, parse_number, plain_numbers
from omop_emb.mapping.terms.words import fold

# Milligrams
_MASS = {
    **dict.fromkeys(("kg",), 1e6),
    **dict.fromkeys(("g", "gm", "gms", "gram", "grams", "gramm", "gramo", "gramos", "grammes"), 1e3),
    **dict.fromkeys(("mg", "mgs", "mgm", "milligram", "milligrams", "miligramos", "milligramm"), 1.0),
    **dict.fromkeys(
        (
            "mcg",
            "mcgs",
            "ug",
            "microgram",
            "micrograms",
            "microgr",
            "microg",
            "mikrog",
            "microgramos",
            "mikrogramm",
        ),
        1e-3,
    ),
    **dict.fromkeys(("ng", "nanogram", "nanograms"), 1e-6),
}
_SUBSTANCE = ("meq", "mmol", "mm", "mci", "actuat", "hr", "mval")
# Units of their own. MU is a million units: no dose is given in milliunits.
_COUNT = {
    **dict.fromkeys(
        ("unt", "unit", "units", "iu", "u", "ie", "ui", "unidades", "einheiten", "eenheden", "e"), 1.0
    ),
    **dict.fromkeys(("ku", "kiu", "thousand units", "thousand iu"), 1e3),
    **dict.fromkeys(
        ("mu", "miu", "mega units", "megaunits", "million units", "million iu", "million unit"), 1e6
    ),
    **dict.fromkeys(("mio ie", "mio. ie", "mio ui", "mill ie", "milj ie", "mill. ie"), 1e6),
    **dict.fromkeys(_SUBSTANCE, 1.0),
}
_PERCENT = ("%", "percent", "pct")
_VOLUME = {
    **dict.fromkeys(("ml", "mls", "cc", "milliliter", "milliliters", "millilitre", "millilitres"), 1.0),
    **dict.fromkeys(("l", "liter", "liters", "litre", "litres"), 1e3),
}
_OTHER_PER = "actuat actuation dose hr hrs h hour hours day d puff spray tab tablet cap capsule".split()


def _longest_first(words: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


_LETTERS_END = r"(?![a-z])"
_UNIT = rf"(?:{_longest_first((*_MASS, *_COUNT))}){_LETTERS_END}|(?:{_longest_first(_PERCENT)})"
_PER = rf"(?:{_longest_first((*_VOLUME, *_MASS, *_OTHER_PER))}){_LETTERS_END}"
# "5-10 mg", "160/4.5 mcg", "2 x 500 mg", "100 units/ml", "5 mg per 5 ml": numbers, a unit, a divisor
_STRENGTH = re.compile(
    rf"(?<![a-z\d.,])(?P<amounts>{NUMBER}(?:\s*(?:[-/+]|to|x)\s*{NUMBER})*)\s*-?(?P<unit>{_UNIT})"
    rf"(?:\s*(?:/|\bper\b|\bin\b)\s*(?P<per_amount>{NUMBER})?\s*(?P<per>{_PER}))?"
)
_RATIO = re.compile(rf"(?<![\d.,:/])1\s*(?::|\bin\b)\s*({NUMBER})(?![\d:])")
# "5/325", "50-12.5-200": strengths in mg without a unit, at the end or before a dose form
_BARE = re.compile(rf"(?<![\w.,/(-])({NUMBER}(?:[/-]{NUMBER}){{1,2}})(?=\s*(?:$|tab|cap|oral|po\b))")
_LEAST_RATIO = 100  # "1:1" and "1:10" mix or dilute, they are no strengths
_FIRST_DETAIL = re.compile(
    r"[\[(]|\s\.?\d|\b\d+[.,]?\d*\s*(?:mg|g|mcg|ug|ml|%|unt|units?|iu|ie|meq|mmol)\b|[\u00bd\u00bc\u00be]"
)


def strengths(text: str) -> tuple[float, ...]:
    """The strengths in a text, ascending: mg or units, per ml for a concentration, to four figures.

    "160/4.5 mcg" and "5-10 mg" have two, "2 x 500 mg" has one. A percentage and a ratio such as 1:1000 are
    concentrations; a percentage counts per ml and per mg, as it stands for liquids and for ointments.
    """
    folded = fold(plain_numbers(text))
    result: list[float] = []
    for match in _STRENGTH.finditer(folded):
        result += _stated(match)
    for amount in _RATIO.findall(folded):
        if (parts := parse_number(amount)) >= _LEAST_RATIO:
            result.append(1000 / parts)
    if not result:
        for amounts in _BARE.findall(folded):
            numbers = [parse_number(amount) for amount in re.split("[/-]", amounts)]
            is_fraction = len(numbers) == 2 and numbers[0] < numbers[1] <= 4
            result += [] if is_fraction else numbers
    return tuple(sorted({float(f"{value:.4g}") for value in result if value > 0}))


def _stated(match: re.Match[str]) -> list[float]:
    """The strengths of one match of _STRENGTH."""
    unit, per = match["unit"], match["per"]
    # Of "2 x 500" the first is how many.
    counts_units = _COUNT.get(unit, 0) >= 1 and unit not in _SUBSTANCE
    written = re.findall(NUMBER, match["amounts"].rpartition("x")[2])
    amounts = [parse_number(amount, counts_units=counts_units) for amount in written]
    if unit in _PERCENT:
        return [value for amount in amounts for value in (amount * 10, amount / 100)]
    factor = _MASS.get(unit) or _COUNT[unit]
    values = [amount * factor for amount in amounts]
    if per is None:
        return values
    divisor = parse_number(match["per_amount"]) if match["per_amount"] else 1.0
    if per in _MASS:
        if match["per_amount"] and per != "g":  # "875 mg/125 mg" are two strengths
            return [*values, divisor * _MASS[per]]
        divisor *= _MASS[per]
    elif per in _VOLUME:
        divisor *= _VOLUME[per]
    elif per in ("day", "d"):  # a dose, or a patch: RxNorm states its release per hour
        return [*values, *(value / (24 * divisor) for value in values if divisor)]
    return [value / divisor for value in values if divisor]


def _any_of(words: Iterable[str], plural: str = "") -> re.Pattern[str]:
    """A whole word of a list, the longest that matches."""
    return re.compile(rf"(?<![a-z])({_longest_first(words)}){plural}(?![a-z])")


@cache
def _dose_form_words() -> tuple[re.Pattern[str], dict[str, str]]:
    words = {row["written"]: row["form"] for row in read_table("drug_forms.tsv")}
    return _any_of(words, plural="s?"), words


@cache
def _international_names() -> tuple[re.Pattern[str], dict[str, str]]:
    names = {row["name"]: row["rxnorm"] for row in read_table("drug_names.tsv")}
    return _any_of(names), names


def dose_forms(text: str) -> tuple[str, ...]:
    """The dose forms and routes in a text, by their common names, sorted."""
    pattern, words = _dose_form_words()
    return tuple(sorted({words[word] for word in pattern.findall(fold(text))}))


def ingredient(text: str) -> str:
    """The part of a drug's text before any strength, dose form or bracket."""
    folded = fold(text)
    end = len(folded)
    if detail := _FIRST_DETAIL.search(folded, 2):
        end = detail.start()
    pattern, _ = _dose_form_words()
    if dose_form := pattern.search(folded, 3):
        end = min(end, dose_form.start())
    return folded[:end].strip(" ,;-/")


def rxnorm_name(name: str) -> str:
    """The folded name with international drug names replaced by RxNorm's."""
    pattern, names = _international_names()
    return pattern.sub(lambda match: names[match.group(1)], fold(name))
