"""Term keys: what makes two terms of a review the same text, and terms that may be decided together."""

from __future__ import annotations

import json
import re
import unicodedata

from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.terms.typography import same_characters
from omop_emb.mapping.terms.words import normalise

# Signs that normalise() leaves out, and that change what a term says: a count, a suspicion, an inch.
_MEANING_SIGNS = re.compile(r'[#?~\u2248\u00b0]|(?<=\d)"')
_AMPERSAND = re.compile(r"\s*&\s*")
_POSSESSIVE = re.compile(r"(?<=[^\W\d_]{2})'s\b|(?<=[^\W\d_]s)'(?!\w)", re.IGNORECASE)
_WORD = re.compile(r"[a-z]+")

# Words in -s that are no plurals, or whose form without -s means something else.
_NO_PLURALS = frozenset(
    """
    afterwards always besides caries crabs edwards facies forceps graves herpes hives measles means mumps
    needs others rabies rickets scabies series shingles species williams
    """.split()
)
_SHORT_PLURALS = frozenset("arms cuts days ears eyes hips jaws legs lips ribs toes".split())
_IRREGULAR = {
    "anastomoses": "anastomosis", "arthroses": "arthrosis", "bacteria": "bacterium",
    "children": "child", "diagnoses": "diagnosis", "feet": "foot", "fibroses": "fibrosis",
    "metastases": "metastasis", "neuroses": "neurosis", "prognoses": "prognosis", "prostheses": "prosthesis",
    "psychoses": "psychosis", "stenoses": "stenosis", "teeth": "tooth", "thromboses": "thrombosis",
    "vertebrae": "vertebra",
}  # fmt: skip
_LONG_ENDINGS = ("sses", "xes", "shes", "tches", "nches", "zzes")
_NEVER_PLURAL = ("ss", "us", "is")


def text_key(name: str) -> str:
    """What names have in common that are the same but for case, punctuation and plural.

    Whatever may change the meaning counts: numbers, signs, comparators, a slash, a question mark, an accent
    ("año" is not "ano"), the order of words.
    """
    plain = _POSSESSIVE.sub("", same_characters(name).casefold())
    words = normalise(_AMPERSAND.sub(" and ", plain))
    if not words:
        return " ".join(name.casefold().split())
    key = _WORD.sub(lambda found: _singular(found[0]), words) if words.isascii() else words
    signs = "".join(sorted(set(_MEANING_SIGNS.findall(plain))))
    accented = [word for word in plain.split() if _has_accent(word)]
    return " ".join(filter(None, (key, signs, *accented)))


def group_key(term: SourceTerm) -> str:
    """text_key() with everything else that may change the meaning.

    That is the domain, the context columns, further names, the code where its vocabulary is known, and the
    case of a unit: "mg" is not "Mg".
    """
    context = sorted((name, " ".join(value.casefold().split())) for name, value in term.context.items())
    further = [text_key(name) for name in term.further_names]
    parts = [text_key(term.name), term.domain or "", term.source_vocabulary or "", further, context]
    if term.source_vocabulary:
        parts.append(term.code.strip())
    if term.domain == "Unit":
        parts.append(" ".join(same_characters(term.name).split()))
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


def _singular(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if not word.endswith("s") or word in _NO_PLURALS or word.endswith(_NEVER_PLURAL):
        return word
    if len(word) < 5:
        return word[:-1] if word in _SHORT_PLURALS else word
    if word.endswith("ies") and len(word) > 5:
        return word[:-3] + "y"
    return word[:-2] if word.endswith(_LONG_ENDINGS) else word[:-1]


def _has_accent(word: str) -> bool:
    """Whether a letter has an accent that normalise() takes away; Greek letters are spelled out instead."""
    return not word.isascii() and any(
        unicodedata.combining(mark) for letter in word for mark in unicodedata.normalize("NFD", letter)[1:]
    )
