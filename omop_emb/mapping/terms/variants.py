"""Query variants of a source term: the term itself, then what each small, named rule makes of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import cache

from omop_emb.mapping.records import Variant, says_something
from omop_emb.mapping.terms import contrasts, drugs
from omop_emb.mapping.terms.abbreviations import (
    begins_hyphenated,
    expand_abbreviations,
    join_initials,
)
from omop_emb.mapping.terms.data_files import read_table
from omop_emb.mapping.terms.harvested_abbreviations import Abbreviations, expand_harvested
from omop_emb.mapping.terms.sides import write_sides
from omop_emb.mapping.terms.words import american, fold, normalise

RULES = ("clean", "side", "specimen", "part", "ingredient", "abbreviation")
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
_SPECIMEN_PREFIX = re.compile(r"^([a-zA-Z]{1,3})\s*-\s*(?=\S)")
_LONG_WORD = 6  # letters; its beginning is enough to know it: "adenosylmethionine"
_PART = re.compile(r"\s*[|]\s*|\s+-\s+|\s*;\s+")
_STATED_SPECIMEN = re.compile(
    r"^(?P<analyte>[^|]{2,}?)(?:\s*\|\s*(?P<part>[^|]+)(?:\|.*)?|\s*\((?P<inside>[^()]+)\))$"
)
_INSIDE = re.compile(r"\(([^()]{4,})\)")


def _tidy(text: str) -> str:
    return _SPACE.sub(" ", text).strip(" -,;:|")


def clean(text: str) -> str:
    """The text without local code, bracketed remarks, "NOS" and capitals, in American spelling."""
    tidy = join_initials(_LOCAL_CODE.sub("", text))
    tidy = _tidy(_REMARK.sub(" ", _BRACKETS.sub(" ", tidy))) or _tidy(tidy)
    tidy = _tidy(_UNSPECIFIED.sub("", tidy)) or tidy
    letters = [letter for letter in tidy if letter.isalpha()]
    if len(letters) > 3 and sum(letter.isupper() for letter in letters) > 0.8 * len(letters):
        tidy = tidy.lower()
    return american(tidy) if tidy.islower() else tidy


@cache
def _specimens() -> dict[str, tuple[str, frozenset[str]]]:
    """Prefix -> (specimen, words before which it is none), in capitals too where that is clear."""
    result = {}
    for row in read_table("specimens.tsv"):
        entry = row["system"], frozenset(row["except"].split())
        result[row["prefix"]] = entry
        if row["capitals"] == "yes":
            result.setdefault(row["prefix"].upper(), entry)
    return result


def prefixed_specimen(text: str) -> tuple[str, str] | None:
    """(analyte, specimen) of a laboratory name with a specimen prefix such as "fP-"; None for other texts.

    "B-CELL LYMPHOMA" and "P-wave" are other texts.
    """
    match = _SPECIMEN_PREFIX.match(text)
    if match is None or match.group(1) not in _specimens() or begins_hyphenated(text):
        return None
    specimen, no_analytes = _specimens()[match.group(1)]
    analyte = _tidy(text[match.end() :])
    first_word = re.split(r"[\s,()/-]", fold(analyte))[0]
    is_other = any(
        first_word.startswith(word) if len(word) >= _LONG_WORD else first_word == word for word in no_analytes
    )
    return None if not analyte or is_other else (analyte, specimen)


def stated_specimen(text: str) -> tuple[str, str] | None:
    """(analyte, specimen) of "Urea|Blood|Chemistry" or "Urea (blood)"; None for other texts."""
    match = _STATED_SPECIMEN.match(text)
    if match is None:
        return None
    specimen = match["part"] or match["inside"]
    words = normalise(specimen)
    if not (contrasts.bits(words) & contrasts.masks()["specimen"] or words.endswith(" fluid")):
        return None
    return _tidy(match["analyte"]), _tidy(specimen)


def query_variants(
    text: str,
    *,
    domain: str | None = None,
    rules: Collection[str] = RULES,
    limit: int = 5,
    harvested: Abbreviations | None = None,
) -> tuple[Variant, ...]:
    """The texts to search a term by, the original first; their normal texts are distinct.

    Args:
        text: the term as the source writes it.
        domain: OMOP domain that its concept must be in ("A|B": one of several); it decides which rules apply.
        rules: names of the rules to use.
        limit: the largest number of variants.
        harvested: abbreviations that the vocabulary's own texts explain, see LexicalIndex.abbreviations.
    """
    original = _SPACE.sub(" ", text).strip()
    with_sides = write_sides(original) if "side" in rules else original
    domains = set(domain.split("|")) if domain else set()
    variants = [Variant(original)]
    if domains == {"Unit"}:
        return tuple(variants)  # units are found by their key, see units.py
    cleaned = clean(with_sides)
    if "clean" in rules:
        variants.append(Variant(cleaned, "clean"))
    if "specimen" in rules and (not domains or domains & {"Measurement", "Observation"}):
        if prefixed := prefixed_specimen(original) or prefixed_specimen(cleaned):
            cleaned = clean(prefixed[0])
            variants.append(Variant(f"{cleaned} in {prefixed[1]}", "specimen"))
        elif stated := stated_specimen(cleaned):
            # The rest of the text names the department, such as "Chemistry": it makes no variant.
            cleaned = stated[0]
            variants += [Variant(f"{cleaned} in {stated[1]}", "specimen"), Variant(cleaned, "first part")]
    if not domains or "Drug" in domains:
        variants += _drug_variants(cleaned, rules, is_drug="Drug" in domains)
    parts = [part for part in _PART.split(cleaned) if len(part) > 2]
    if "part" in rules and len(parts) > 1:
        variants += [Variant(parts[0], "first part"), Variant(parts[-1], "last part")]
    if "abbreviation" in rules:
        expanded = map(_tidy, expand_abbreviations(cleaned, domain))
        variants += (Variant(text, "abbreviation") for text in expanded)
        # As written: what clean() makes of a short text may be in small letters.
        of_vocabulary = expand_harvested(original, harvested or {})
        variants += (Variant(clean(text), "abbreviation in the vocabulary") for text in of_vocabulary)
    distinct: dict[str, Variant] = {}
    for variant in variants:
        if variant.rule == "original" or says_something(variant.text):
            distinct.setdefault(normalise(variant.text) or variant.text, variant)
    return tuple(distinct.values())[:limit]


def _drug_variants(cleaned: str, rules: Collection[str], *, is_drug: bool) -> Iterator[Variant]:
    name = drugs.rxnorm_name(cleaned)
    ingredient = drugs.ingredient(name)
    if "ingredient" in rules and len(ingredient) >= 3 and ingredient != fold(cleaned):
        yield Variant(ingredient, "ingredient")
    if "ingredient" in rules and is_drug and (inside := _INSIDE.search(name)):
        yield Variant(inside.group(1), "in brackets")
    if "clean" in rules and name != fold(cleaned):
        yield Variant(name, "drug name")
