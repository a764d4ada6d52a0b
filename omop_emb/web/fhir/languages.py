"""Languages: those that a client asks for, and those of synonyms, as tags such as "es"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from omop_emb.records import Concept
from omop_emb.service.terminology import Synonym
from omop_emb.vocabulary.languages import language_code
from omop_emb.web.fhir.accept_header import accepted
from omop_emb.web.fhir.outcome import invalid, shown

ENGLISH = "en"
_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


def language_tag(synonym: Synonym) -> str | None:
    """The tag of a synonym's language; None if it is not known."""
    return language_code(synonym.language_concept_id, synonym.language)


def stated_languages(parameter: str) -> tuple[str, ...]:
    """The languages of the parameter displayLanguage; FhirError if it is no list of language tags."""
    wrong = [entry for entry in accepted(parameter) if not _TAG.fullmatch(entry) and entry != "*"]
    if wrong:
        raise invalid(f"A language is a tag such as 'en' or 'es-MX'; found '{shown(wrong[0])}'")
    return requested_languages(parameter)


def requested_languages(header: str) -> tuple[str, ...]:
    """The languages of an Accept-Language header, the best first; "*" and what is no tag are left out."""
    return tuple(tag for tag in accepted(header) if _TAG.fullmatch(tag))


def is_english(language: str) -> bool:
    """Whether a tag is English of any region, the language of OMOP's names."""
    return language.partition("-")[0].lower() == ENGLISH


def has_language(synonym: Synonym, language: str) -> bool:
    """Whether a synonym is in a language, or in one of its regions."""
    return language_tag(synonym) == language.partition("-")[0].lower()


def display(concept: Concept, synonyms: Iterable[Synonym], languages: Sequence[str]) -> tuple[str, str]:
    """A concept's name in the first of some languages that it has one in, and the tag of that language.

    Of several synonyms the shortest is taken: others repeat it with a qualifier in parentheses.
    """
    synonyms = list(synonyms)
    for language in languages:
        if is_english(language):
            break
        names = [synonym.text for synonym in synonyms if has_language(synonym, language)]
        if names:
            return min(names, key=lambda name: (len(name), name)), language.partition("-")[0].lower()
    return concept.concept_name or str(concept.concept_id), ENGLISH
