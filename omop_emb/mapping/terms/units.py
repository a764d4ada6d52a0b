"""Unit keys: one key for 10*12/l, 10^12/L and "trillion per liter", and for no other unit.

A key lists what is multiplied, then what it is divided by, each sorted: "mL/kg/min". Powers and signs stay:
10^-3/uL is not 10^3/uL. So do capitals where UCUM tells units apart by them: mV, MV.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache, lru_cache

from omop_emb.mapping.terms.data_files import read_toml
from omop_emb.mapping.terms.unit_symbols import everyday_symbol, exact_symbol, glued_symbols
from omop_emb.mapping.terms.words import american

_KEPT_TEXTS = 20_000  # of terms, whose number has no bound
_SIGNS = str.maketrans(
    {
        **dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-", strict=True)),
        **dict.fromkeys("\u00b5\u03bc", "u"),  # micro sign, mu
        **dict.fromkeys("\u2212\u2010\u2011\u2013", "-"),  # minus, hyphens, dash
        **dict.fromkeys("\u00b7\u22c5\u2219\u2022", "."),  # dots of multiplication
        **dict.fromkeys("\u2215\u2044\u00f7", "/"),
        **dict.fromkeys("\u00ba\u02da", "\u00b0"),  # signs that look like a degree
        "\u00d7": " x ",
        "\u2030": " ppth ",
    }
)
_SUPERSCRIPT = re.compile("(?<=[0-9])(?=[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻])")
_NOTE = re.compile(
    r"\^(?:value|age|fuzzy)=.*|\(?\s*\+?\d\d\s*°?\s*c\b\s*\)?|/?\s*\bph\s*\d\.?\d?\s*$|\(s\)"
    r"|(?<=day)/s\b|(?<=hour)/s\b|(?<=week)/s\b|(?<=unit)/s\b|(?<=tablet)/s\b",
    re.IGNORECASE,
)
_EXPONENT_SIGN = re.compile(r"(?<=[a-z])(?:\^|\*{1,2}|')\s*([+-]?\d)(?!\d)|(?<=m)\(([23])\)", re.IGNORECASE)
_HYPHEN = re.compile(r"(?<=[a-z])-(?=[a-z\s])|(?<=[\])] )-(?=[a-z])", re.IGNORECASE)
_COLUMN = re.compile(r"(?<![a-z])(mm|cm|m)\s*[/.]?\s*\[?(hg|h2o|h20)\]?(?![a-z\d])", re.IGNORECASE)
_BODY_SURFACE = re.compile(
    r"[/.;]?\s*[({]*(?<![\d.])(?:1[.,]73?|173\.10\*-2)[\s_*.}]*(?:m?[\s\^*'(]*-?2?\)?(?![a-z\d])|sq(?:uare)?[\s.]*m(?:et(?:er|re)?s?)?\.?)[?)}]*",
    re.IGNORECASE,
)
_DAY = re.compile(
    r"(?<![\d.])24[\s.-]*(?:h|hr|hrs|hours?|uur|std|stunden|tuntia?|horas?|heures)\b", re.IGNORECASE
)
# 10*12, 10^-9, 10**3, x10exp9, 10E6, E9; then lost superscripts: 10(6), x10 12, *10 3, x109, 10 9/L, 10/9L,
# e/9l. The hyphen of "10-9/L" may be the exponent's sign: it is taken for that, and finds no count of cells.
_POWER = re.compile(
    r"(?:(?:\bx|\*)\s*)?(?<![\d.])10\s*(?:\*\*|\*|\^|e|exp|')\s*\(?([+-]?\d{1,2})\)?(?!\d)"
    r"|(?<![\d.])10\s*\((\d{1,2})\)"
    r"|(?:\bx|\*)\s*10\s*/?\s*(3|5|6|9|12)(?!\d)"
    r"|(?<![\d.])10\s*[/ ]\s*(3|6|9|12)(?=\s*/|\s+[a-z]|l\b)"
    r"|(?<![a-z\d])1?e([+-]?\d{1,2})(?![a-z\d])"
    r"|(?<![\d.])10\s*(-\d{1,2})(?=\s*/)"
    r"|(?<![a-z\d.])e/(9|12)(?=l\b)",
    re.IGNORECASE,
)
_DECILITER = re.compile(r"(?<![\d.,])100\s*mls?\b", re.IGNORECASE)
_ZEROS = re.compile(r"(?<![\d.,])(?:\bx\s*)?1(0{2,9}|,000|,000,000)(?![\d,]|\.\d)", re.IGNORECASE)
_LETTER_FOR_POWER = re.compile(r"(?<![a-z\d\]^])(k|(?-i:M))(?=\s*/\s*(?:mm3|ul\b|mcl\b))", re.IGNORECASE)
_TOKEN = re.compile(r"/|10\^-?\d+|\d+(?:\.\d+)?|[^\W\d_]*\[[^\]]*\]|[%#<>=+]|[^\s/.*(){}\[\],;:|%#<>='\"]+")
_FACTOR = re.compile(r"([^\W\d_]+)([+-]?\d)")
_PREFIX = {"10^-6": "u", "10^-3": "m", "10^3": "k", "10^6": "M"}
_PREFIXED = ("U", "IU", "eq")  # OMOP's code of a milliequivalent is 10*-3.eq
_OF_THE_AMOUNT = frozenset(("feu", "ddu"))  # "ng/mL FEU" is ng{FEU}/mL
_NOTHING = frozenset(("and", "of", "x", "1", "the"))


@cache
def _phrases() -> tuple[re.Pattern[str], dict[str, str]]:
    phrases: dict[str, str] = read_toml("units.toml")["phrases"]
    longest_first = sorted(phrases, key=len, reverse=True)
    pattern = "|".join(
        (r"(?<![a-z])" if phrase[0].isalpha() else "")
        + re.escape(phrase)
        + (r"s?(?![a-z])" if phrase[-1].isalpha() else "")
        for phrase in longest_first
    )
    return re.compile(f"({pattern})", re.IGNORECASE), phrases


@cache
def _codes() -> tuple[re.Pattern[str], dict[str, str]]:
    codes: dict[str, str] = read_toml("units.toml")["codes"]
    pattern = "|".join(
        rf"(?<![A-Za-z]){code}(?![A-Za-z\d])" if code.isalpha() else re.escape(code) for code in codes
    )
    return re.compile(pattern), codes


def _plain(text: str) -> str:
    """The text with notes left out, and phrases, powers and columns of mercury in one way of writing."""
    text = _SUPERSCRIPT.sub("^", text).translate(_SIGNS)
    text = re.sub(r"(?<=10)\^\^", "^", text)
    pattern, codes = _codes()
    text = pattern.sub(lambda match: codes[match.group()], _NOTE.sub(" ", text))
    text = _BODY_SURFACE.sub("/bsa ", text)
    text = _POWER.sub(_power, text)
    text = _DECILITER.sub(" dL ", text)
    text = _ZEROS.sub(lambda match: f" 10^{match.group(1).count('0')} ", text)
    text = re.sub(r"[A-Za-z]{5,}", lambda match: _american(match.group()), text)
    text = _DAY.sub(" d ", _COLUMN.sub(lambda match: _column(*match.groups()), text))
    pattern, phrases = _phrases()
    for _ in range(2):  # a phrase may be part of another: "milli-international unit per liter"
        text = pattern.sub(lambda match: f" {_phrase(match.group(), phrases)} ", text)
    text = _HYPHEN.sub(" ", _EXPONENT_SIGN.sub(lambda match: match[1] or match[2], text))
    return _LETTER_FOR_POWER.sub(lambda match: "10^3" if match[1] in "kK" else "10^6", text)


def _power(match: re.Match[str]) -> str:
    exponent = int(next(filter(None, match.groups())))
    return f" 10^{exponent} {'/' if '/' in match[0] else ''}"


def _american(word: str) -> str:
    changed = american(word.lower())
    return word if changed == word.lower() else changed


def _column(length: str, liquid: str) -> str:
    return f" {length.lower()}[{'Hg' if liquid.lower() == 'hg' else 'H2O'}] "


def _phrase(written: str, phrases: dict[str, str]) -> str:
    written = written.lower()
    return phrases.get(written) or phrases[written.removesuffix("s")]


def _symbols(token: str, everyday: bool) -> Iterator[str]:
    """The symbols that a token stands for; an unknown one stands for itself, in small letters."""
    exact = None if everyday else exact_symbol(token)
    known = exact or everyday_symbol(token)
    if known is not None:
        yield known
    elif glued := glued_symbols(token):
        yield from (glued[0], "/", glued[1])
    else:
        yield token if "[" in token else token.lower()


def _split_exponent(written: str) -> tuple[str, int]:
    """("m", 2) of "m2", ("s", -1) of "s-1"; a word that is known with its digit stays whole."""
    factor = _FACTOR.fullmatch(written)
    if factor is None or everyday_symbol(written):
        return written, 1
    is_unit = exact_symbol(factor[1]) or everyday_symbol(factor[1])
    return (factor[1], int(factor[2])) if is_unit else (written, 1)


def _key(text: str, everyday: bool) -> str:
    """The key of a plain text, by UCUM's capitals or by everyday ones."""
    above: Counter[str] = Counter()
    below: Counter[str] = Counter()
    divided = False
    counted = frozenset(read_toml("units.toml")["counted"]["words"])
    left_out: list[str] = []
    power_above: list[int] = []
    power_below: list[int] = []
    for written in _TOKEN.findall(text):
        word = written.lower()
        if word in _NOTHING:
            continue
        if word in counted and not divided:
            left_out.append(word)
            continue
        symbol_text, exponent = _split_exponent(written)
        for symbol in (written,) if written == "/" else _symbols(symbol_text, everyday):
            if symbol == "/":
                divided = True
            elif symbol == "10" or symbol.startswith("10^"):
                (power_below if divided else power_above).append(int(symbol[3:] or 1))
            elif (exponent > 0) != divided or symbol in _OF_THE_AMOUNT:
                above[symbol] += abs(exponent)
            else:
                below[symbol] += abs(exponent)
    if not below:
        above.update(left_out)
    above.update([f"10^{sum(power_above)}"] if power_above else [])
    below.update([f"10^{sum(power_below)}"] if power_below else [])
    _merge_prefix(above)
    numerator, divisors = _factors(above), _factors(below)
    return "/".join([".".join(numerator), *divisors])


def _merge_prefix(factors: Counter[str]) -> None:
    """10^-3 times eq is meq."""
    powers = [symbol for symbol in factors if symbol in _PREFIX]
    units = [symbol for symbol in _PREFIXED if factors.get(symbol) == 1]
    if len(powers) == len(units) == 1:
        del factors[powers[0]], factors[units[0]]
        factors[_PREFIX[powers[0]] + units[0]] += 1


def _factors(factors: Counter[str]) -> list[str]:
    return sorted(symbol if exponent == 1 else f"{symbol}{exponent}" for symbol, exponent in factors.items())


@lru_cache(_KEPT_TEXTS)
def unit_key(text: str) -> str:
    """The key of a unit's code or name, not a UCUM code; "" if nothing is left of the text.

    Capitals count as UCUM says, but in a text that is all in capitals and is no UCUM ("MG/DL").
    """
    if text == "u":
        return "unified.atomic.mass.unit"  # in UCUM; everywhere else, "u/L" too, a unit
    plain = _plain(text)
    is_shouted = text.upper() == text and any(
        token.isalpha() and not exact_symbol(token) and everyday_symbol(token)
        for token in _TOKEN.findall(plain)
    )
    return _key(plain, is_shouted)


@lru_cache(_KEPT_TEXTS)
def unit_readings(text: str) -> tuple[str, ...]:
    """The keys that a hospital may mean, UCUM's first: "G" is a gauss in UCUM, and a gram in a hospital.

    Where that would mix up magnitudes there is UCUM's reading alone: "MU" is a million units, no milliunit;
    "G/L" has no unit in the vocabulary: it means 10^9/L in French and German, a gram per liter elsewhere.
    """
    key = unit_key(text)
    is_mega = key.startswith("M") and "/" not in key
    if is_mega or key in ("G/L", "T/L") or text not in (text.upper(), text.lower()):
        return (key,)
    return tuple(dict.fromkeys((key, _key(_plain(text), True))))
