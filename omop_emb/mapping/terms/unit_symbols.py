"""Unit symbols: what a word or a symbol of a unit means, with the capitals that UCUM tells units apart by."""

from __future__ import annotations

from functools import cache

from omop_emb.mapping.terms.data_files import read_toml
from omop_emb.mapping.terms.words import american, fold

_AMOUNTS = ("g", "mol", "U", "IU", "eq", "osm")  # what is measured per volume
_VOLUMES = ("dL", "mL", "uL", "L")
_TIMES = ("min", "h", "d", "wk", "mo")
_PLURALS = {"s": 2, "es": 4, "n": 4, "en": 4}  # ending -> the fewest letters before it


@cache
def _symbols() -> dict[str, str]:
    """Every symbol with its prefixes, as UCUM writes it."""
    data = read_toml("units.toml")
    return {
        prefix + symbol: prefix + symbol
        for symbol, (prefixes, *_) in data["symbols"].items()
        for prefix in ("", *prefixes)
    }


@cache
def _symbols_in_small_letters() -> frozenset[str]:
    return frozenset(symbol.lower() for symbol in _symbols())


@cache
def _with_prefixes(*units: str) -> frozenset[str]:
    prefixes = read_toml("units.toml")["prefixes"]
    return frozenset((prefix + unit).lower() for unit in units for prefix in ("", *prefixes))


@cache
def _words() -> dict[str, str]:
    """Words and symbols in small letters -> symbols; of two that capitals tell apart, the everyday one."""
    data = read_toml("units.toml")
    result: dict[str, str] = dict(data["words"])
    for symbol, (_, *names) in data["symbols"].items():
        for name in names:
            result.setdefault(name, symbol)
            for prefix, words in data["prefixes"].items():
                for word in words:
                    result.setdefault(word + name, prefix + symbol)
    for symbol in sorted(_symbols(), key=lambda symbol: symbol != symbol.lower()):
        result.setdefault(symbol.lower(), symbol)
    return result


def exact_symbol(token: str) -> str | None:
    """The token if it is a symbol in exactly these capitals."""
    return _symbols().get(token)


def everyday_symbol(token: str) -> str | None:
    """What a word or a symbol means whatever its capitals: "MG", "Grams", "kgs"; None if it is unknown."""
    word = american(fold(token))
    words = _words()
    if word in words:
        return words[word]
    for plural, fewest_letters in _PLURALS.items():
        stem = word.removesuffix(plural)
        # A symbol has no plural but in everyday writing ("kgs"): "mPas" is no millipascal.
        if stem != word and len(stem) >= fewest_letters and stem in words:
            if stem not in _symbols_in_small_letters() or stem in _with_prefixes(
                *_AMOUNTS, "L", "m", *_TIMES
            ):
                return words[stem]
    return None


def glued_symbols(token: str) -> tuple[str, str] | None:
    """("mg", "dL") of "mgdL", "mmol" and "L" of "MMOLL": a quantity and its volume without a slash."""
    word = fold(token)
    for volume in _VOLUMES:
        amount = word.removesuffix(volume.lower())
        # A prefixed amount that reads two ways, as "pu" of "PUL", is no word.
        if amount != word and len(amount) > 1 and amount in _with_prefixes(*_AMOUNTS) and amount in _words():
            return _words()[amount], volume
    return None
