"""Which column of a table means what: named by the user, or recognised by its header."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from omop_emb.errors import InputError

# Headers as they are met, without case, spaces and punctuation; the first that a file has is taken.
_NAMES = (
    "sourcename", "sourceterm", "sourcecodedescription", "sourceconceptname", "sourcedescription", "name",
    "term", "description", "termname", "itemname", "conceptname", "codedescription", "longname", "label",
    "display", "displayname", "preferredterm", "text", "diagnosis", "procedure", "testname", "drugname",
    "bezeichnung", "omschrijving", "benaming", "naam", "nimi", "selite", "nombre", "descripcion", "libelle",
    "navn", "namn",
)  # fmt: skip
_FURTHER_NAMES = (
    "sourcetermoriginal", "sourcenameoriginal", "originalname", "originalterm", "nameoriginal",
    "originaltext", "nameenglish", "nameen", "englishname", "nametranslated", "translatedname",
    "translation", "sourcenametranslated",
)  # fmt: skip
_CODES = (
    "sourcecode", "code", "sourceconceptcode", "conceptcode", "localcode", "itemcode", "itemid", "sourceid",
    "codigo", "koodi", "kode", "kod", "id",
)  # fmt: skip
_FREQUENCIES = (
    "sourcefrequency", "frequency", "freq", "count", "counts", "occurrences", "occurrence", "n", "records",
    "recordcount", "nrecords", "frequentie", "haufigkeit", "anzahl", "aantal", "lukumaara", "frecuencia",
)  # fmt: skip
_DOMAINS = ("domainid", "domain", "omopdomain", "targetdomain", "golddomain")
_NUMBER = re.compile(r"[<\u2264]?\s*(\d{1,3}(?:[ ,.'\u2019\u00a0\u202f]\d{3})+|\d+)(?:[.,]0+)?")
_NO_NUMBER = frozenset({"", "-", "na", "n/a", "nan", "null", "none", "."})
_VOCABULARIES = ("sourcevocabularyid", "sourcevocabulary")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The headers of the columns with a meaning; None or () has it recognised, where it can be.

    Attributes:
        names: the term, then other texts for the same thing (the original language, a translation).
        code: the source's own code.
        frequency: how often the term occurs.
        domain: the OMOP domain that limits a row.
        source_vocabulary: the vocabulary that a row's code is from; recognised by no other header than
            source_vocabulary_id or source_vocabulary.
        context: columns that help to understand a term, such as a ward.
    """

    names: tuple[str, ...] = ()
    code: str | None = None
    frequency: str | None = None
    domain: str | None = None
    source_vocabulary: str | None = None
    context: tuple[str, ...] = ()


def unique_headers(headers: Sequence[str]) -> list[str]:
    """Headers that differ from each other: a repeated one gets " (2)", an empty one "column 4"."""
    named = [header.strip() or f"column {place}" for place, header in enumerate(headers, start=1)]
    seen: Counter[str] = Counter()
    taken = set(named)
    unique = []
    for header in named:
        seen[header] += 1
        if seen[header] > 1:
            number = seen[header]
            while f"{header} ({number})" in taken:
                number += 1
            header = f"{header} ({number})"
            taken.add(header)
        unique.append(header)
    return unique


def resolve_columns(
    headers: Sequence[str], asked: Columns | None = None, *, recognise: bool = True
) -> Columns:
    """The columns of a table with these headers: what was asked for, completed by what is recognised.

    Args:
        headers: unique, as unique_headers makes them.
        asked: headers by role; upper and lower case and punctuation may differ.
        recognise: whether columns that were not asked for are looked for.

    Raises:
        InputError: a header that was asked for is not there, or no column for names is recognised.
    """
    asked = asked or Columns()
    by_key: dict[str, str] = {}
    for header in headers:
        by_key.setdefault(_key(header), header)

    def given(name: str) -> str:
        if name in headers:
            return name
        if _key(name) in by_key:
            return by_key[_key(name)]
        near = difflib.get_close_matches(name, headers, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"there is no column {name!r}{hint} The columns are: {_listed(headers)}")

    names = tuple(dict.fromkeys(given(name) for name in asked.names))
    taken = set(names)

    def one(name: str | None, known: Sequence[str]) -> str | None:
        found = given(name) if name else _first(by_key, known, taken) if recognise else None
        if found is not None:
            taken.add(found)
        return found

    code = one(asked.code, _CODES)
    frequency = one(asked.frequency, _FREQUENCIES)
    domain = one(asked.domain, _DOMAINS)
    vocabulary = one(asked.source_vocabulary, _VOCABULARIES)
    if not names:
        first = _first(by_key, _NAMES, taken)
        if first is None and len(headers) == 1 and not taken:
            first = headers[0]
        if first is None:
            raise InputError(
                f"no column for the terms is recognised among {_listed(headers)}; name it with --name-column"
            )
        further = [by_key[key] for key in _FURTHER_NAMES if key in by_key and by_key[key] not in taken]
        names = (first, *(name for name in further if name != first))
    return Columns(
        names=names,
        code=code,
        frequency=frequency,
        domain=domain,
        source_vocabulary=vocabulary,
        context=tuple(dict.fromkeys(given(name) for name in asked.context)),
    )


def read_frequency(text: str) -> int | None:
    """A count as files write it: "1,204", "1 204", "12.0", "<5" (counted as 5); None for "", "-" or "NA".

    Raises:
        InputError: it is something else.
    """
    stripped = text.strip()
    if stripped.casefold() in _NO_NUMBER:
        return None
    match = _NUMBER.fullmatch(stripped)
    if match is None:
        raise InputError("the frequency is not a whole number")
    return int(re.sub(r"\D", "", match[1]))


def _first(by_key: dict[str, str], known: Sequence[str], taken: set[str]) -> str | None:
    return next((by_key[key] for key in known if key in by_key and by_key[key] not in taken), None)


def _key(header: str) -> str:
    return re.sub(r"[\W_]+", "", header).casefold()


def _listed(headers: Sequence[str]) -> str:
    shown = ", ".join(repr(header) for header in headers[:20])
    return shown if len(headers) <= 20 else f"{shown} and {len(headers) - 20} more"
