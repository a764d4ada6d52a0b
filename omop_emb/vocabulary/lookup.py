"""Concept look-up: by id, or by vocabulary and code."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from omop_emb.database.engine import driver_connection, readable_errors
from omop_emb.records import Concept
from omop_emb.vocabulary import reader

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

_MAX_CONCEPT_ID = 2**31 - 1


def look_up(session: Session | Connection, terms: Iterable[str]) -> dict[str, Concept]:
    """Term -> concept, for the terms that are the concept id or the VOCABULARY:CODE of a concept.

    All other terms are left out: they are texts to search for.
    """
    terms = list(dict.fromkeys(terms))
    ids = {
        term: int(term)
        for term in terms
        if re.fullmatch(r"[0-9]{1,10}", term) and int(term) <= _MAX_CONCEPT_ID
    }
    with readable_errors():
        connection = driver_connection(session)
        by_id = reader.concepts_by_id(connection, sorted(set(ids.values()))) if ids else {}
        concepts = {term: by_id[concept_id] for term, concept_id in ids.items() if concept_id in by_id}
        for term in terms:
            vocabulary_id, separator, code = term.partition(":")
            if separator and code and term not in concepts:
                concept = reader.concept_by_code(connection, vocabulary_id, code)
                if concept is not None:
                    concepts[term] = concept
    return concepts
