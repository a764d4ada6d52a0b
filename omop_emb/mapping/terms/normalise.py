"""Forms of a source term: the term itself first, then what each small, named rule makes of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import cache

from omop_emb.mapping.records import Variant
from omop_emb.mapping.terms import contrasts, drugs
from omop_emb.mapping.terms.data_files import table
from omop_emb.mapping.terms.words import american, fold, normal

RULES = ("clean", "specimen", "part", "ingredient", "abbreviation")
"""Every rule that can be switched off; "original" cannot."""

_SPACE = re.compile(r"\s+")
_LOCAL_CODE = re.compile(r"(?:\s+-\s+|\s*[|;]\s*|\s+)\(?(?=[A-Z]{0,4}\d*\)?$)[A-Z]{0,4}\d{4,}\)?$")
_BRACKETS = re.compile(r"\[[^\]]*\]|\{[^}]*\}")
_REMARK = re.compile(
    r"\((?:critical med|cd|nos|nec|kval|kvant|old|new|do not use|inactive|obsolete|\d+|[a-z])\)"
    r"|\*+|\bdo not use\b|^\W*zz+|^\?+\s*",
    re.IGNORECASE,
)
_UNSPECIFIED = re.compile(
    r",?\s*\b(?:nos|nec|nud|uns|unspecified|not otherwise specified|not elsewhere classified|unspec\.?)\s*$",
    re.IGNORECASE,
)
_SPECIMEN = re.compile(r"^([a-zA-Z]{1,3})\s*-\s*(?=\S)")
_PART = re.compile(r"\s*[|]\s*|\s+-\s+|\s*;\s+")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9/.\-]*|[^A-Za-z\s]+")
_STATED = re.compile(
    r"^(?P<analyte>[^|]{2,}?)(?:\s*\|\s*(?P<part>[^|]+)(?:\|.*)?|\s*\((?P<inside>[^()]+)\))$"
)
_INSIDE = re.compile(r"\(([^()]{4,})\)")


def _tidy(text: str) -> str:
    return _SPACE.sub(" ", text).strip(" -,;:|")


def clean(text: str) -> str:
    """The text without local code, bracketed remarks, "NOS" and shouting, in American spelling."""
    tidy = _LOCAL_CODE.sub("", text)
    without = _REMARK.sub(" ", _BRACKETS.sub(" ", tidy))
    tidy = _tidy(without) or _tidy(tidy)
    tidy = _tidy(_UNSPECIFIED.sub("", tidy)) or tidy
    letters = [letter for letter in tidy if letter.isalpha()]
    if len(letters) > 3 and sum(letter.isupper() for letter in letters) > 0.8 * len(letters):
        tidy = tidy.lower()
    return american(tidy) if tidy.islower() else tidy


@cache
def _specimens() -> dict[str, str]:
    return {row["prefix"]: row["system"] for row in table("specimens.tsv")}


def specimen(text: str) -> tuple[str, str] | None:
    """(analyte, system) of a laboratory name with a specimen prefix such as "fP-"; None without one."""
    found = _SPECIMEN.match(text)
    if found is None or found.group(1) not in _specimens():
        return None
    return _tidy(text[found.end() :]), _specimens()[found.group(1)]


def stated_specimen(text: str) -> tuple[str, str] | None:
    """(analyte, specimen) of "Urea|Blood|Chemistry" or "Urea (blood)"; None where none is stated so."""
    found = _STATED.match(text)
    if found is None:
        return None
    said = found["part"] or found["inside"]
    words = normal(said)
    if not (contrasts.bits(words) & contrasts.masks()["specimen"] or words.endswith(" fluid")):
        return None
    return _tidy(found["analyte"]), _tidy(said)


@cache
def _abbreviations() -> dict[str, tuple[tuple[str, ...], str]]:
    return {
        row["abbreviation"]: (tuple(row["alternatives"].split("|")), row["domain"])
        for row in table("abbreviations.tsv")
    }


def expanded(text: str, domain: str | None = None) -> Iterator[str]:
    """The text with its abbreviations written out: all by their commonest meaning, then each alternative."""
    words = _WORD.findall(text)
    known: dict[int, tuple[str, ...]] = {}
    for place, word in enumerate(words):
        entry = _abbreviations().get(fold(word)) or _abbreviations().get(fold(word).rstrip("."))
        if entry and (not entry[1] or domain is None or entry[1] in domain.split("|")):
            known[place] = entry[0]
    if not known:
        return
    first = {place: alternatives[0] for place, alternatives in known.items()}
    yield _tidy(" ".join(first.get(place, word) for place, word in enumerate(words)))
    for place, alternatives in known.items():
        for alternative in alternatives[1:]:
            chosen = {**first, place: alternative}
            yield _tidy(" ".join(chosen.get(at, word) for at, word in enumerate(words)))


def forms(
    text: str, *, domain: str | None = None, rules: Collection[str] = RULES, limit: int = 5
) -> tuple[Variant, ...]:
    """The texts to look a term up by, the original always first, no two that read alike.

    Args:
        text: the term as the source writes it.
        domain: OMOP domain that it must be in ("A|B": one of several); decides which rules make sense.
        rules: names of the rules that may be used.
        limit: how many forms at most.
    """
    original = _SPACE.sub(" ", text).strip()
    domains = set(domain.split("|")) if domain else set()
    found = [Variant(original)]
    if domains == {"Unit"}:
        return tuple(found)  # units have a key of their own: see units.py
    cleaned = clean(original)
    if "clean" in rules:
        found.append(Variant(cleaned, "clean"))
    if "specimen" in rules and (not domains or domains & {"Measurement", "Observation"}):
        if laboratory := specimen(cleaned):
            found.append(Variant(f"{laboratory[0]} in {laboratory[1]}", "specimen"))
            cleaned = laboratory[0]
        elif stated := stated_specimen(cleaned):
            # what follows is the department, such as "Chemistry": no form of its own
            cleaned = stated[0]
            found += [Variant(f"{cleaned} in {stated[1]}", "specimen"), Variant(cleaned, "first part")]
    if not domains or "Drug" in domains:
        named = drugs.rxnorm_name(cleaned)
        head = drugs.ingredient(named)
        if "ingredient" in rules and 3 <= len(head) and (head != fold(cleaned)):
            found.append(Variant(head, "ingredient"))
        if "ingredient" in rules and "Drug" in domains and (inside := _INSIDE.search(named)):
            found.append(Variant(inside.group(1), "in brackets"))
        if "clean" in rules and named != fold(cleaned):
            found.append(Variant(named, "drug name"))
    parts = [part for part in _PART.split(cleaned) if len(part) > 2]
    if "part" in rules and len(parts) > 1:
        found.extend((Variant(parts[0], "first part"), Variant(parts[-1], "last part")))
    if "abbreviation" in rules:
        found.extend(Variant(other, "abbreviation") for other in expanded(cleaned, domain))
    distinct: dict[str, Variant] = {}
    for form in found:
        distinct.setdefault(normal(form.text) or form.text, form)
    return tuple(distinct.values())[:limit]
