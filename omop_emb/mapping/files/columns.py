"""Column roles: which column of a table is the name, code, frequency …, by request or by its header."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from omop_emb.errors import InputError
from omop_emb.mapping.files.name_template import NameTemplate, parse_template
from omop_emb.mapping.records import SourceTerm

# Usual headers, without case, spaces and punctuation; the first that a file has is used.
_NAMES = (
    "sourcename sourceterm sourcecodedescription sourceconceptname sourcedescription name term description "
    "termname itemname conceptname codedescription longname label display displayname preferredterm text "
    "diagnosis procedure testname drugname bezeichnung omschrijving benaming naam nimi selite nombre "
    "descripcion libelle navn namn"
).split()
_FURTHER_NAMES = (
    "sourcetermoriginal sourcenameoriginal originalname originalterm nameoriginal originaltext nameenglish "
    "nameen englishname nametranslated translatedname translation sourcenametranslated"
).split()
_CODES = (
    "sourcecode code sourceconceptcode conceptcode localcode itemcode itemid sourceid codigo koodi kode "
    "kod id"
).split()
_FREQUENCIES = (
    "sourcefrequency frequency freq count counts occurrences occurrence n records recordcount nrecords "
    "frequentie haufigkeit anzahl aantal lukumaara frecuencia"
).split()
_DOMAINS = ("domainid", "domain", "omopdomain", "targetdomain", "golddomain")
_NUMBER = re.compile(r"[<\u2264]?\s*(\d{1,3}(?:[ ,.'\u2019\u00a0\u202f]\d{3})+|\d+)(?:[.,]0+)?")
_NO_NUMBER = frozenset({"", "-", "na", "n/a", "nan", "null", "none", "."})
_CONCEPT_ID = re.compile(r"[0-9]{1,10}(\.0)?")
_VOCABULARIES = ("sourcevocabularyid", "sourcevocabulary")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The headers of the columns with a role; None or () means: recognise it by its header.

    Attributes:
        names: the term, then other texts for the same thing (the original language, a translation).
        code: the source's own code.
        frequency: how often the term occurs.
        domain: the OMOP domain that the concept must be in.
        source_vocabulary: the vocabulary of the row's code; only the headers source_vocabulary_id and
            source_vocabulary are recognised.
        context: columns that help to understand a term, such as a ward; never recognised.
        template: the term made of several columns, as "{LABEL} in {FLUID}"; names are further texts then.
        suggestions: concept ids that the file itself suggests as candidates; never recognised.
    """

    names: tuple[str, ...] = ()
    code: str | None = None
    frequency: str | None = None
    domain: str | None = None
    source_vocabulary: str | None = None
    context: tuple[str, ...] = ()
    template: str | NameTemplate | None = None
    suggestions: str | None = None

    def term(
        self,
        cells: Mapping[str, str],
        *,
        code: str,
        frequency: int | None,
        source_vocabulary: str | None,
        extra: Mapping[str, str],
        line: int,
    ) -> SourceTerm:
        """The source term of a row, given as values by header; its name is "" if it has none."""
        names = [cells[name] for name in self.names if cells[name].strip()]
        if isinstance(self.template, NameTemplate) and (filled := self.template.fill(cells)):
            names.insert(0, filled)
        vocabulary = cells[self.source_vocabulary].strip() if self.source_vocabulary else ""
        return SourceTerm(
            name=names[0] if names else "",
            code=code,
            frequency=frequency,
            domain=(cells[self.domain].strip() or None) if self.domain else None,
            further_names=tuple(dict.fromkeys(name for name in names[1:] if name != names[0])),
            source_vocabulary=vocabulary or source_vocabulary,
            context={name: cells[name] for name in self.context},
            suggestions=read_concept_ids(cells[self.suggestions]) if self.suggestions else (),
            extra=extra,
            line=line,
        )


def unique_headers(headers: Sequence[str]) -> list[str]:
    """Headers made unique: a repeated one gets " (2)", an empty one becomes "column 4"."""
    named = [header.strip() or f"column {number}" for number, header in enumerate(headers, start=1)]
    unique: dict[str, None] = {}
    for header in named:
        name, number = header, 1
        while name in unique or (number > 1 and name in named):
            number += 1
            name = f"{header} ({number})"
        unique[name] = None
    return list(unique)


def resolve_columns(
    headers: Sequence[str], requested: Columns | None = None, *, recognise: bool = True
) -> Columns:
    """The columns of a table: those requested, completed by those that are recognised.

    Args:
        headers: unique, as from unique_headers().
        requested: headers by role; case and punctuation may differ.
        recognise: whether columns that were not requested are looked for.

    Raises:
        InputError: a requested header does not exist, or no name column is recognised.
    """
    requested = requested or Columns()
    by_key: dict[str, str] = {}
    for header in headers:
        by_key.setdefault(_key(header), header)

    def existing(name: str) -> str:
        if name in headers:
            return name
        if _key(name) in by_key:
            return by_key[_key(name)]
        matches = difflib.get_close_matches(name, headers, n=1, cutoff=0.5)
        hint = f"; did you mean {matches[0]!r}?" if matches else ""
        raise InputError(f"there is no column {name!r} among {_listed(headers)}{hint}")

    def recognised(usual: Sequence[str]) -> str | None:
        return next((by_key[key] for key in usual if key in by_key and by_key[key] not in taken), None)

    def role(name: str | None, usual: Sequence[str]) -> str | None:
        header = existing(name) if name else recognised(usual) if recognise else None
        if header is not None:
            taken.add(header)
        return header

    names = tuple(dict.fromkeys(existing(name) for name in requested.names))
    taken = set(names)
    code = role(requested.code, _CODES)
    frequency = role(requested.frequency, _FREQUENCIES)
    domain = role(requested.domain, _DOMAINS)
    vocabulary = role(requested.source_vocabulary, _VOCABULARIES)
    template = requested.template
    if isinstance(template, str):
        template = parse_template(template, existing)
    if not names and template is None:
        first = recognised(_NAMES)
        if first is None and len(headers) == 1 and not taken:
            first = headers[0]
        if first is None:
            raise InputError(
                f"no column of terms is recognised among {_listed(headers)}; name it with --name-column"
            )
        further = (by_key[key] for key in _FURTHER_NAMES if key in by_key and by_key[key] not in taken)
        names = (first, *(name for name in further if name != first))
    return Columns(
        names=names,
        code=code,
        frequency=frequency,
        domain=domain,
        source_vocabulary=vocabulary,
        context=tuple(dict.fromkeys(existing(name) for name in requested.context)),
        template=template,
        suggestions=existing(requested.suggestions) if requested.suggestions else None,
    )


def read_concept_ids(text: str) -> tuple[int, ...]:
    """The concept ids of a cell, separated by a bar, comma, semicolon or space; -1 for what is none."""
    parts = re.split(r"[|,;\s]+", text.strip())
    ids = (-1 if _CONCEPT_ID.fullmatch(part) is None else int(float(part)) for part in parts if part)
    # 0 is "no matching concept", which suggests nothing.
    return tuple(dict.fromkeys(concept_id for concept_id in ids if concept_id != 0))


def read_frequency(text: str) -> int | None:
    """A count as files write it: "1,204", "1 204", "12.0", "<5" (counted as 5); None for "", "-" or "NA".

    Raises:
        InputError: it is anything else.
    """
    stripped = text.strip()
    if stripped.casefold() in _NO_NUMBER:
        return None
    match = _NUMBER.fullmatch(stripped)
    if match is None:
        raise InputError("the frequency is not a whole number")
    return int(re.sub(r"\D", "", match[1]))


def _key(header: str) -> str:
    return re.sub(r"[\W_]+", "", header).casefold()


def _listed(headers: Sequence[str]) -> str:
    shown = ", ".join(repr(header) for header in headers[:20])
    return shown if len(headers) <= 20 else f"{shown} and {len(headers) - 20} more"
