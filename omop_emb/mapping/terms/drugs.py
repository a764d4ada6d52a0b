"""What a drug's text says: ingredient, strengths, forms; from source terms and RxNorm names alike."""

from __future__ import annotations

import re
from functools import cache

from omop_emb.mapping.terms.data_files import table
from omop_emb.mapping.terms.words import fold

_NUMBER = r"\d+(?:[.,]\d+)*"
_MASS = {
    "kg": 1e6,
    "g": 1e3,
    "gm": 1e3,
    "gram": 1e3,
    "grams": 1e3,
    "mg": 1.0,
    "milligram": 1.0,
    "mcg": 1e-3,
    "ug": 1e-3,
    "microgram": 1e-3,
    "micrograms": 1e-3,
    "microgr": 1e-3,
    "ng": 1e-6,
    "nanogram": 1e-6,
}
_COUNT = {
    "unt": 1.0,
    "unit": 1.0,
    "units": 1.0,
    "iu": 1.0,
    "u": 1.0,
    "ie": 1.0,
    "meq": 1.0,
    "mmol": 1.0,
    "mm": 1.0,
    "mci": 1.0,
    "actuat": 1.0,
    "hr": 1.0,
    "%": 10.0,
}
_PER = r"ml|mls|l|mg|g|gm|actuat|dose|hr|h|puff|spray|tab|cap"
_STRENGTH = re.compile(
    rf"({_NUMBER})\s*({'|'.join(sorted((*_MASS, *_COUNT), key=len, reverse=True))})(?![a-z])"
    rf"(?:\s*/\s*({_NUMBER})?\s*({_PER})(?![a-z]))?"
)
_FIRST_DETAIL = re.compile(r"[\[(]|\s\d|\b\d+[.,]?\d*\s*(?:mg|g|mcg|ug|ml|%|unt|units?|iu)\b")


def _number(text: str) -> float:
    # 1,000 is a thousand; 0,5 is a half
    text = re.sub(r",(?=\d{3}(?!\d))", "", text).replace(",", ".")
    whole, _, rest = text.partition(".")
    return float(f"{whole}.{rest.replace('.', '') or 0}")


def strengths(text: str) -> tuple[float, ...]:
    """Every strength of a text, in mg or units, per ml where it is a concentration; rounded to 4 figures."""
    found = set()
    for amount, unit, per_amount, per in _STRENGTH.findall(fold(text)):
        value = _number(amount) * (_MASS.get(unit) or _COUNT[unit])
        if per_amount:
            below = _number(per_amount) or 1.0
            if per in {"l"}:
                below *= 1000
            found.add(float(f"{value / below:.4g}"))
        elif per == "l":
            found.add(float(f"{value / 1000:.4g}"))
            continue
        found.add(float(f"{value:.4g}"))
    return tuple(sorted(found))


@cache
def _forms() -> tuple[re.Pattern[str], dict[str, str]]:
    words = {row["written"]: row["form"] for row in table("drug_forms.tsv")}
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile(r"(?<![a-z])(" + "|".join(map(re.escape, longest_first)) + r")s?(?![a-z])"), words


def dose_forms(text: str) -> tuple[str, ...]:
    """Dose forms and routes that a text names, each by its common word, sorted."""
    pattern, words = _forms()
    return tuple(sorted({words[found] for found in pattern.findall(fold(text))}))


def ingredient(text: str) -> str:
    """What a drug's text names before any strength, form or bracket."""
    folded = fold(text)
    end = len(folded)
    if detail := _FIRST_DETAIL.search(folded, 2):
        end = detail.start()
    pattern, _ = _forms()
    if form := pattern.search(folded, 3):
        end = min(end, form.start())
    return folded[:end].strip(" ,;-/")


def rxnorm_name(name: str) -> str:
    """The folded name with international drug names replaced by RxNorm's."""
    pattern, names = _names()
    return pattern.sub(lambda found: names[found.group(1)], fold(name))


@cache
def _names() -> tuple[re.Pattern[str], dict[str, str]]:
    names = {row["name"]: row["rxnorm"] for row in table("drug_names.tsv")}
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile(r"(?<![a-z])(" + "|".join(map(re.escape, longest_first)) + r")(?![a-z])"), names
