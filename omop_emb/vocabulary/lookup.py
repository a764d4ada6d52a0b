"""Concept look-up: by id, or by vocabulary and code; ids that do not exist are not texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from omop_emb.database.engine import readable_errors, short_transaction
from omop_emb.records import MAX_CONCEPT_ID, Concept
from omop_emb.vocabulary import reader
from omop_emb.vocabulary.spelling import closest_values, intended_value, loose_code

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

FIRST_LOCAL_ID = 2_000_000_000  # OMOP leaves ids from here to the sites
# An id, also as pandas and R write one that was a float.
_ID = re.compile(r"\s*([0-9]{1,20})(?:\.0)?\s*")
_BARE_CODE = re.compile(r"[A-Za-z0-9][-./A-Za-z0-9]{2,31}")
_LEAST_DIGITS = 3  # of a code without its vocabulary, as in 718-7 and E11.9
_CLEARLY_MEANT = 0.75  # similarity of a misspelt vocabulary
_STATUS = "omop-emb vocabulary status"
# A name of plain words, such as "Visit" or "Drug Type", is how a note begins, too.
_PLAIN_WORDS = re.compile(r"[A-Z][a-z]+( [A-Z][a-z]+)*")


@dataclass(frozen=True, kw_only=True)
class LookUp:
    """What some terms are.

    Attributes:
        concepts: term -> concept, for the terms that are the id or the VOCABULARY:CODE of one.
        missing: term -> one line that says why not, for those that look like one and are none.

    A term in neither is a text to search for.
    """

    concepts: Mapping[str, Concept] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


def look_up(session: Session | Connection, terms: Iterable[str]) -> LookUp:
    """The terms that are, or look like, a concept id or a VOCABULARY:CODE.

    Case, spaces and hyphens of a vocabulary's name may differ, and a code may be written without its dots.
    """
    terms = list(filter(_is_storable, dict.fromkeys(terms)))
    ids = {term: int(match[1]) for term in terms if (match := _ID.fullmatch(term))}
    coded = {
        term: (vocabulary.strip(), code.strip())
        for term in terms
        if term not in ids
        for vocabulary, _, code in [term.partition(":")]
        if vocabulary.strip() and code.strip()
    }
    concepts: dict[str, Concept] = {}
    missing: dict[str, str] = {}
    with readable_errors(), short_transaction(session) as connection:
        valid_ids = sorted({number for number in ids.values() if number <= MAX_CONCEPT_ID})
        by_id = reader.concepts_by_id(connection, valid_ids) if valid_ids else {}
        for term, concept_id in ids.items():
            if concept_id in by_id:
                concepts[term] = by_id[concept_id]
            else:
                missing[term] = missing_id_reason(connection, concept_id)
        by_code: dict[str, list[Concept]] = {}
        if coded:
            for with_code in reader.concepts_by_code(connection, {code for _, code in coded.values()}):
                by_code.setdefault(with_code.concept_code or "", []).append(with_code)
        for term, (vocabulary, code) in coded.items():
            concept = _with_code(by_code.get(code, []), vocabulary)
            found = concept or _find_code(connection, vocabulary, code, is_spaced=" " in term)
            if isinstance(found, Concept):
                concepts[term] = found
            elif found:
                missing[term] = found
    return LookUp(concepts=concepts, missing=missing)


def concepts_with_code(session: Session | Connection, terms: Iterable[str]) -> dict[str, list[Concept]]:
    """Term -> the concepts that have it as their code, in any vocabulary, for those that look like a code.

    Of each vocabulary the best one, valid and standard ones first. What may well be a word ("T4", "B12") is
    no code without its vocabulary.
    """
    wanted = {
        term: term.strip()
        for term in filter(_is_storable, terms)
        if _BARE_CODE.fullmatch(term.strip()) and sum(map(str.isdigit, term)) >= _LEAST_DIGITS
    }
    if not wanted:
        return {}
    found: dict[str, dict[str | None, Concept]] = {}
    codes = {spelling for code in wanted.values() for spelling in (code, code.upper())}
    with readable_errors(), short_transaction(session) as connection:
        for concept in reader.concepts_by_code(connection, codes):
            found.setdefault(concept.concept_code or "", {}).setdefault(concept.vocabulary_id, concept)
    result = {term: found.get(code) or found.get(code.upper(), {}) for term, code in wanted.items()}
    return {term: list(concepts.values()) for term, concepts in result.items() if concepts}


def _is_storable(term: str) -> bool:
    """Whether PostgreSQL can hold the text: with a NUL or half a surrogate pair it is no code."""
    return "\0" not in term and not any("\ud800" <= sign <= "\udfff" for sign in term)


def _with_code(concepts: list[Concept], vocabulary: str) -> Concept | None:
    """The best of some concepts with a code that is in a vocabulary."""
    name = intended_value(vocabulary, sorted({concept.vocabulary_id or "" for concept in concepts}))
    return next((concept for concept in concepts if concept.vocabulary_id == name), None)


def _find_code(
    connection: psycopg.Connection[Any], vocabulary: str, code: str, *, is_spaced: bool
) -> Concept | str | None:
    """The concept with a code that no concept has to the letter, or why there is none; None: it is a text."""
    existing = reader.existing_values(connection, "vocabulary")
    name = intended_value(vocabulary, existing)
    has_digit = any(character.isdigit() for character in code)
    if name is None:
        nearest = closest_values(vocabulary, existing, cutoff=_CLEARLY_MEANT)
        if is_spaced or not has_digit or not nearest or not _is_terminology(vocabulary):
            return None
        return f"there is no vocabulary {vocabulary!r}; did you mean {' or '.join(map(repr, nearest))}?"
    if " " in code or (is_spaced and not has_digit) or _PLAIN_WORDS.fullmatch(name):
        return None
    if not reader.has_concepts(connection, name):
        return f"no concept of vocabulary {name} is loaded: add it to the download, see {_STATUS}"
    similar = reader.concepts_by_undotted_code(connection, name, code)
    codes = list(dict.fromkeys(f"{concept.vocabulary_id}:{concept.concept_code}" for concept in similar))
    wanted = loose_code(name, code)
    same = [one for one in similar if loose_code(name, one.concept_code or "") == wanted]
    if len({concept.concept_code for concept in same}) == 1:
        return same[0]
    hint = f"; did you mean {' or '.join(codes[:3])}?" if codes else ""
    return f"vocabulary {name}{_version(connection)} has no code {code!r}{hint}"


def _is_terminology(vocabulary: str) -> bool:
    """Whether a misspelt name looks like a terminology's: "ICD10XM", not "BP"."""
    return len(vocabulary) >= 5 and " " not in vocabulary and vocabulary != vocabulary.lower()


def missing_id_reason(connection: psycopg.Connection[Any], concept_id: int) -> str:
    """One line that says that the vocabulary lacks a concept, and what may have been meant."""
    missing = f"there is no concept {concept_id} in the loaded vocabulary{_version(connection)}"
    with_code = reader.concepts_by_code(connection, [str(concept_id)])
    if with_code:
        codes = dict.fromkeys(f"{concept.vocabulary_id}:{concept.concept_code}" for concept in with_code)
        return f"{missing}; did you mean the code {' or '.join(list(codes)[:3])}?"
    if FIRST_LOCAL_ID <= concept_id <= MAX_CONCEPT_ID:
        return f"{missing}; ids from 2,000,000,000 upwards are a site's own"
    if concept_id > MAX_CONCEPT_ID:
        hint = f"is it a code? Write VOCABULARY:{concept_id}"
        return f"{missing}; a concept id is at most {MAX_CONCEPT_ID}: {hint}"
    return f"{missing}; its vocabulary may not be loaded, see {_STATUS}"


def _version(connection: psycopg.Connection[Any]) -> str:
    tables = reader.vocabulary_tables(connection)
    return f" ({tables.version})" if tables is not None and tables.version else ""
