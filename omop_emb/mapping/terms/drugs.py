"""Drug texts: ingredient, strengths and dose forms, in source terms and RxNorm names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from omop_emb.mapping.terms.data_files import read_table
from omop_emb.mapping.terms.words import fold

_NUMBER = r"\d+(?:[.,]\d+)*"
# Milligrams
_MASS = {
    **dict.fromkeys(("kg",), 1e6),
    **dict.fromkeys(("g", "gm", "gram", "grams"), 1e3),
    **dict.fromkeys(("mg", "milligram"), 1.0),
    **dict.fromkeys(("mcg", "ug", "microgram", "micrograms", "microgr"), 1e-3),
    **dict.fromkeys(("ng", "nanogram"), 1e-6),
}
# Units of their own; a percentage is 10 mg per ml
_COUNT = {
    **dict.fromkeys(
        ("unt", "unit", "units", "iu", "u", "ie", "meq", "mmol", "mm", "mci", "actuat", "hr"), 1.0
    ),
    "%": 10.0,
}
_PER = r"ml|mls|l|mg|g|gm|actuat|dose|hr|h|puff|spray|tab|cap"
_STRENGTH = re.compile(
    rf"({_NUMBER})\s*({'|'.join(sorted((*_MASS, *_COUNT), key=len, reverse=True))})(?![a-z])"
    rf"(?:\s*/\s*({_NUMBER})?\s*({_PER})(?![a-z]))?"
)
_FIRST_DETAIL = re.compile(r"[\[(]|\s\d|\b\d+[.,]?\d*\s*(?:mg|g|mcg|ug|ml|%|unt|units?|iu)\b")


def _parse_number(text: str) -> float:
    # 1,000 is a thousand; 0,5 is a half
    text = re.sub(r",(?=\d{3}(?!\d))", "", text).replace(",", ".")
    integer, _, fraction = text.partition(".")
    return float(f"{integer}.{fraction.replace('.', '') or 0}")


def strengths(text: str) -> tuple[float, ...]:
    """The strengths in a text, ascending: mg or units, per ml for a concentration, to four figures."""
    result = set()
    for amount, unit, per_amount, per in _STRENGTH.findall(fold(text)):
        value = _parse_number(amount) * (_MASS.get(unit) or _COUNT[unit])
        if per_amount:
            divisor = (_parse_number(per_amount) or 1.0) * (1000 if per == "l" else 1)
            result.add(float(f"{value / divisor:.4g}"))
        elif per == "l":
            result.add(float(f"{value / 1000:.4g}"))
            continue
        result.add(float(f"{value:.4g}"))
    return tuple(sorted(result))


def _any_of(words: Iterable[str], plural: str = "") -> re.Pattern[str]:
    """A whole word of a list, the longest that matches."""
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile(rf"(?<![a-z])({'|'.join(map(re.escape, longest_first))}){plural}(?![a-z])")


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
