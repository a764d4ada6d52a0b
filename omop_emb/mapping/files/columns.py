"""Column roles: which column of a table is the name, code, frequency …, by request or by its header."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from omop_emb.errors import InputError
from omop_emb.mapping.files.name_template import NameTemplate, parse_template
from omop_emb.mapping.files.repair import repair
from omop_emb.mapping.records import SourceTerm, says_something
from omop_emb.records import parse_concept_id

# Usual headers, without accents, case, spaces and punctuation; the first that a file has is used.
_NAMES = (
    "sourcename sourceterm sourcecodedescription sourceconceptname sourcedescription sourcetext "
    "sourcelabel name term localname localterm localdescription termname itemname codedescription "
    "longname label itemlabel display displayname preferredterm preferredname description "
    "longdescription shortdescription text title diagnosis diagnosisname diagnosistext "
    "diagnosisdescription procedure procedurename testname labtest labtestname testdescription "
    "drugname medicationname drug medication analyte analytename componentname problem problemname "
    # German, Dutch, Nordic, Finnish, Estonian
    "bezeichnung benennung begriff klartext langtext kurztext beschreibung beschreibungstext diagnose "
    "diagnosetext leistungsbezeichnung omschrijving benaming naam beschrijving beschrijvingen nimi "
    "nimike nimetus selite kuvaus selgitus termi beskrivning benamning beteckning namn beskrivelse "
    "benaevnelse betegnelse navn begrep begreb tekst klartekst lyhenneselite pitkanimi "
    # Spanish, Catalan, Portuguese, French, Italian, Romanian
    "nombre descripcion denominacion termino texto diagnostico nom descripcio denominacio designacao "
    "descricao nome termo libelle libellelong libellecourt intitule designation denomination terme "
    "diagnostic descrizione denominazione termine diagnosi denumire descriere nume "
    # Polish, Czech, Slovak, Hungarian, Croatian, Slovenian, Turkish, Greek, Russian, Chinese, Korean
    "nazwa opis nazev nazov popis megnevezes leiras nev naziv ime aciklama tanim tani adi "
    "\u03c0\u03b5\u03c1\u03b9\u03b3\u03c1\u03b1\u03c6\u03b7 \u03bf\u03bd\u03bf\u03bc\u03b1 "
    "\u043d\u0430\u0437\u0432\u0430\u043d\u0438\u0435 "
    "\u043d\u0430\u0438\u043c\u0435\u043d\u043e\u0432\u0430\u043d\u0438\u0435 "
    "\u043e\u043f\u0438\u0441\u0430\u043d\u0438\u0435 \u540d\u79f0 \u540d\u7a31 \u540d\u524d "
    "\u540d\u79f0\u63cf\u8ff0 \uba85\uce6d "
).split()
# The target's name and code: those of the source only in a table that has no column of targets.
_TARGET_NAME, _TARGET_CODE = "conceptname", "conceptcode"
_TARGET_ID = re.compile(r"(?:(?:target|omop|standard|mapped|gold|snomed).*)?conceptids?")
_FURTHER_NAMES = (
    "sourcetermoriginal sourcenameoriginal originalname originalterm nameoriginal originaltext nameenglish "
    "nameen englishname nametranslated translatedname translation sourcenametranslated"
).split()
_CODES = (
    "sourcecode code sourceconceptcode localcode itemcode itemid sourceid testcode labcode "
    "diagnosiscode procedurecode drugcode icd icd10 icd10code icd9 icd9code icdcode loinc loinccode "
    "atc atccode codigo codi koodi kode kod codice cod schluessel schlussel kuerzel kurzel kood sifra "
    "id "
).split()
_FREQUENCIES = (
    "sourcefrequency frequency freq count counts occurrences occurrence n records recordcount nrecords "
    "frequentie haufigkeit haeufigkeit anzahl aantal lukumaara maara frecuencia frequenza frequence effectif "
    "nombredoccurrences antal antall numero quantidade liczba pocet"
).split()
_DOMAINS = ("domainid", "domain", "omopdomain", "targetdomain", "golddomain")
_VOCABULARIES = ("sourcevocabularyid", "sourcevocabulary")
# Headings of lists, beside the headers above.
_LIST_HEADINGS = frozenset(
    "terms names labels descriptions texts diagnoses procedures drugs medications tests labtests analytes "
    "labs problems conditions symptoms findings allergies units items concepts begriffe diagnosen termen "
    "namen nombres noms libelles".split()
)
_HEADER_WORD = re.compile(r"(?:name|term|label|text|desc(?:ription)?|title)$", re.IGNORECASE)


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
        files: columns of the names of files that belong to a term; never recognised.
        template: the term made of several columns, as "{LABEL} in {FLUID}"; names are further texts then.
        suggestions: concept ids that the file itself suggests as candidates; never recognised.
        unused: columns that have no role, whatever their headers say.
    """

    names: tuple[str, ...] = ()
    code: str | None = None
    frequency: str | None = None
    domain: str | None = None
    source_vocabulary: str | None = None
    context: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    template: str | NameTemplate | None = None
    suggestions: str | None = None
    unused: tuple[str, ...] = ()

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
        names = [repair(cells[name]) for name in self.names if says_something(cells[name])]
        if isinstance(self.template, NameTemplate) and (filled := self.template.fill(cells)):
            names.insert(0, repair(filled))
        vocabulary = cells[self.source_vocabulary].strip() if self.source_vocabulary else ""
        return SourceTerm(
            name=names[0] if names else "",
            code=code,
            frequency=frequency,
            domain=(cells[self.domain].strip() or None) if self.domain else None,
            further_names=tuple(dict.fromkeys(name for name in names[1:] if name != names[0])),
            source_vocabulary=vocabulary or source_vocabulary,
            context={name: cells[name] for name in self.context},
            files=tuple(filter(None, (cells[name].strip() for name in self.files))),
            suggestions=read_concept_ids(cells[self.suggestions]) if self.suggestions else (),
            extra=extra,
            line=line,
        )


def unique_headers(headers: Sequence[str]) -> list[str]:
    """Headers made unique: a repeated one gets " (2)", an empty one becomes "column 4"."""
    named = [header.strip() or f"column {number}" for number, header in enumerate(headers, start=1)]
    taken, unique, numbers = set(named), dict[str, None](), dict[str, int]()
    for header in named:
        name, number = header, numbers.get(header, 1)
        while name in unique or (number > 1 and name in taken):
            number += 1
            name = f"{header} ({number})"
        unique[name], numbers[header] = None, number
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
        by_key.setdefault(header_key(header), header)

    def existing(name: str) -> str:
        if name in headers:
            return name
        if header_key(name) in by_key:
            return by_key[header_key(name)]
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
    unused = tuple(dict.fromkeys(existing(name) for name in requested.unused))
    taken = {*names, *unused}
    own_names, own_codes = list(_NAMES), list(_CODES)
    if not any(map(_TARGET_ID.fullmatch, by_key)):
        own_names.append(_TARGET_NAME)
        own_codes.append(_TARGET_CODE)
    code = role(requested.code, own_codes)
    frequency = role(requested.frequency, _FREQUENCIES)
    domain = role(requested.domain, _DOMAINS)
    vocabulary = role(requested.source_vocabulary, _VOCABULARIES)
    template = requested.template
    if isinstance(template, str):
        template = parse_template(template, existing)
    if not names and template is None:
        first = recognised((*own_names, *_FURTHER_NAMES))
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
        files=tuple(dict.fromkeys(existing(name) for name in requested.files)),
        template=template,
        suggestions=existing(requested.suggestions) if requested.suggestions else None,
        unused=unused,
    )


def read_concept_ids(text: str) -> tuple[int, ...]:
    """The concept ids of a cell, separated by a bar, comma, semicolon or space; -1 for what is none."""
    parts = re.split(r"[|,;\s]+", text.strip())
    ids = (parse_concept_id(part) for part in parts if part)
    # 0 is "no matching concept", which suggests nothing.
    return tuple(
        dict.fromkeys(-1 if number is None or number < 0 else number for number in ids if number != 0)
    )


def header_key(header: str) -> str:
    """A header without accents, case, spaces and punctuation, by which it is recognised."""
    decomposed = unicodedata.normalize("NFKD", repair(header).replace("\u00e6", "ae").replace("\u00f8", "o"))
    letters = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", letters)).casefold()


def has_name_column(headers: Sequence[str]) -> bool:
    """Whether one of the headers, of several columns, is a usual header of terms."""
    keys = {header_key(header) for header in headers}
    return not keys.isdisjoint(_NAMES) or (_TARGET_NAME in keys and not any(map(_TARGET_ID.fullmatch, keys)))


def is_heading(text: str) -> bool:
    """Whether the first line of a list is its heading, and no term."""
    key = header_key(text)
    if key in _LIST_HEADINGS or key in {*_NAMES, *_FURTHER_NAMES, *_CODES, _TARGET_NAME}:
        return True
    # As databases name columns: lab_item_name, ItemDescription.
    is_identifier = " " not in text.strip() and ("_" in text or re.search("[a-z][A-Z]", text) is not None)
    return is_identifier and _HEADER_WORD.search(text.strip()) is not None


def _listed(headers: Sequence[str]) -> str:
    shown = ", ".join(repr(header) for header in headers[:20])
    return shown if len(headers) <= 20 else f"{shown} and {len(headers) - 20} more"
