"""Spelling: the vocabulary's own name for a value that someone wrote, where only one can be meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

# Other names of vocabularies, as name_key() gives them.
_ALIASES = {
    **dict.fromkeys(("snomedct", "snomedctus", "snomedctuk", "snomedclinicalterms", "sct"), "snomed"),
    "lnc": "loinc",
    "cpt": "cpt4",
    "whoatc": "atc",
}
_DOTTED = ("ICD", "CIM", "KCD")  # vocabularies whose codes are written without the dot too
_CASE_HAS_A_MEANING = ("UCUM", "Read")  # Mg is not mg
_MIN_NEAR_LETTERS, _NEAR = 5, 0.85


def name_key(name: str) -> str:
    """A name without case, spaces and punctuation: "ICD-10 CM" and "icd10cm" are the same."""
    return re.sub(r"[\W_]+", "", name).casefold()


def loose_code(vocabulary: str, code: str) -> str:
    """A code in capitals, one of ICD's without its dot; elsewhere a dot may be a decimal point."""
    if vocabulary in _CASE_HAS_A_MEANING:
        return code
    return code.upper().replace(".", "") if vocabulary.startswith(_DOTTED) else code.upper()


def intended_value(written: str, existing: Iterable[str]) -> str | None:
    """The existing value that is meant, None if none is or it is not certain.

    Case, spaces, punctuation, a plural and an alias may differ. A misspelling is corrected only if one value
    is near and no digit is involved: ICD10CN is another vocabulary than ICD10CM.
    """
    existing = list(existing)
    if written in existing:
        return written
    by_key: dict[str, list[str]] = {}
    for name in existing:
        by_key.setdefault(name_key(name), []).append(name)
    key = name_key(written)
    plurals = (f"{key}s", key.removesuffix("s")) if len(key) >= _MIN_NEAR_LETTERS else ()
    for spelling in (key, _ALIASES.get(key, key), *plurals):
        if spelling in by_key:
            names = by_key[spelling]
            return names[0] if len(names) == 1 else None
    if len(key) < _MIN_NEAR_LETTERS or any(character.isdigit() for character in key):
        return None
    near = difflib.get_close_matches(key, by_key, n=2, cutoff=_NEAR)
    return by_key[near[0]][0] if len(near) == 1 and len(by_key[near[0]]) == 1 else None


def closest_values(written: str, existing: Iterable[str], *, cutoff: float = 0.5) -> list[str]:
    """Up to three existing values that are spelled most like a value in any case, best first."""
    existing = list(existing)
    spellings: dict[str, str] = {}
    for name in existing:
        spellings.setdefault(name.casefold(), name)
    close = difflib.get_close_matches(written.strip().casefold(), spellings, n=3, cutoff=cutoff)
    intended = intended_value(written, existing)
    first = [intended] if intended is not None else []
    return [*first, *(spellings[name] for name in close if spellings[name] != intended)][:3]


def split_values(text: str, existing: Iterable[str]) -> list[str]:
    """The values of a cell or option that holds several, separated by a comma, semicolon or bar."""
    if text.strip() in existing:
        return [text.strip()]
    return list(dict.fromkeys(part.strip() for part in re.split(r"[,;|]", text) if part.strip()))
