"""The vocabulary in memory: standard concepts and the texts that they can be found by, in arrays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from omop_emb.arrays import Ints
from omop_emb.mapping.retrieval.standard_targets import Paths, StandardTargets, followed
from omop_emb.mapping.retrieval.string_array import Texts

KINDS = ("name", "synonym", "code", "short name", "non-standard")
"""Kinds of text, by number in Lexicon.text_kind; "non-standard": the name of a concept that maps here."""

UNKNOWN_CODE = "UNKNOWN"
_LOINC = re.compile(
    r"^(?P<analyte>.+?) \[(?P<property>[^\]]+)\](?: in (?P<system>.+?))?(?: by (?P<method>.+?))?"
    r"(?: --(?P<timing>.+))?$"
)


@dataclass(frozen=True, slots=True)
class LoincName:
    """The axes that a LOINC name states; "" where it does not."""

    analyte: str
    property: str
    system: str
    method: str
    timing: str


def loinc_name(name: str) -> LoincName | None:
    """The axes of a name such as "Glucose [Mass/volume] in Serum by Test strip"; None for other names."""
    found = _LOINC.match(name)
    return LoincName(*(part or "" for part in found.groups())) if found else None


@dataclass(frozen=True, eq=False)
class Codes:
    """The codes of all concepts, standard or not: (n,) each.

    Attributes:
        vocabularies: the labels.
        vocabulary: place in them.
        code: concept_code.
        concept_id: whose it is.
    """

    vocabularies: list[str]
    vocabulary: npt.NDArray[np.int16]
    code: Texts
    concept_id: Ints


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Standard, valid concepts sorted by domain, then id, and their texts in the order of the concepts.

    Attributes:
        concept_id: (c,) OMOP concept ids; a concept's place in this array is its row.
        names, codes: concept_name and concept_code by row.
        domain, vocabulary, concept_class: (c,) places in the lists of labels below.
        domains, vocabularies, concept_classes: the labels.
        texts: every text, by text row.
        text_concept: (t,) the concept row of each text, ascending.
        text_kind: (t,) place in KINDS.
        text_path: (t,) place in paths, -1 for a concept's own text.
        paths: (id, name, relationship) of non-standard concepts whose names lead here.
        first_text: (c + 1,) where each concept's texts begin.
        targets: where concepts that are no candidates lead.
        codes_of: what by_code is made of, when it is asked for.
    """

    concept_id: Ints
    names: Texts
    codes: Texts
    domain: npt.NDArray[np.int16]
    vocabulary: npt.NDArray[np.int16]
    concept_class: npt.NDArray[np.int16]
    domains: list[str]
    vocabularies: list[str]
    concept_classes: list[str]
    texts: Texts
    text_concept: npt.NDArray[np.int32]
    text_kind: npt.NDArray[np.int8]
    text_path: npt.NDArray[np.int32]
    paths: Paths
    first_text: Ints
    targets: StandardTargets
    codes_of: Codes

    @cached_property
    def by_code(self) -> dict[tuple[str, str], list[int]]:
        """(vocabulary, code) -> concept ids, standard or not; 100 MB for 360,000 concepts."""
        found: dict[tuple[str, str], list[int]] = {}
        codes = self.codes_of
        for key, vocabulary, code in zip(
            codes.concept_id.tolist(), codes.vocabulary.tolist(), codes.code, strict=True
        ):
            found.setdefault((codes.vocabularies[vocabulary], code), []).append(key)
        return found

    def rows(self, concept_ids: Sequence[int] | Ints) -> Ints:
        """The row of each id, -1 for one that is not a candidate."""
        ids = np.asarray(concept_ids, dtype=np.int64)
        order = self._by_id
        place = np.searchsorted(self.concept_id[order], ids)
        place[place == len(order)] = 0
        rows = order[place] if len(order) else np.full(len(ids), -1)
        return np.where(self.concept_id[rows] == ids, rows, -1) if len(order) else rows

    @property
    def _by_id(self) -> Ints:
        order = self.__dict__.get("_order")
        if order is None:
            order = np.argsort(self.concept_id, kind="stable")
            object.__setattr__(self, "_order", order)
        return order

    def domain_range(self, domain: str) -> tuple[int, int]:
        """First and last + 1 concept row of a domain; (0, 0) for one without concepts."""
        if domain not in self.domains:
            return 0, 0
        code = self.domains.index(domain)
        return int(np.searchsorted(self.domain, code)), int(np.searchsorted(self.domain, code, "right"))

    @cached_property
    def code_vocabularies(self) -> list[str]:
        """The vocabularies whose codes can be looked up."""
        return sorted(self.codes_of.vocabularies[place] for place in np.unique(self.codes_of.vocabulary))

    def coded(self, vocabulary: str, code: str) -> list[int]:
        """Ids of the concepts that have a code; one written without its dots, as K3580, is found too."""
        exact = self.by_code.get((vocabulary, code))
        if exact is not None:
            return exact
        return self._undotted.get((vocabulary, _undotted(code)), [])

    @cached_property
    def _undotted(self) -> dict[tuple[str, str], list[int]]:
        """By code without dots and case; only where that is still one code."""
        found: dict[tuple[str, str], list[int] | None] = {}
        for (vocabulary, code), ids in self.by_code.items():
            key = (vocabulary, _undotted(code))
            found[key] = None if key in found else ids
        return {key: ids for key, ids in found.items() if ids is not None}

    def standard_targets(self, concept_id: int) -> list[tuple[str, int]]:
        """(relationship, row) of each standard concept that a concept stands for; itself if it is one."""
        row = int(self.rows([concept_id])[0])
        return [("", row)] if row >= 0 else self.targets.get(concept_id)


def _undotted(code: str) -> str:
    return code.replace(".", "").upper()


def build(concept: pd.DataFrame, synonym: pd.DataFrame, relationship: pd.DataFrame) -> Lexicon:
    """A lexicon from OMOP's tables CONCEPT, CONCEPT_SYNONYM and CONCEPT_RELATIONSHIP.

    Args:
        concept: concept_id, concept_name, domain_id, vocabulary_id, concept_class_id, standard_concept,
            concept_code, invalid_reason; empty strings or None where there is nothing.
        synonym: concept_id, concept_synonym_name.
        relationship: concept_id_1, concept_id_2, relationship_id, valid rows only; other relationships
            than FOLLOWED are not looked at.
    """
    standard = concept[(concept["standard_concept"] == "S") & (concept["invalid_reason"].fillna("") == "")]
    standard = standard.sort_values(["domain_id", "concept_id"], kind="stable")
    columns = {
        name: pd.Categorical(standard[name], categories=sorted(standard[name].unique()))
        for name in ("domain_id", "vocabulary_id", "concept_class_id")
    }
    concept_id = standard["concept_id"].to_numpy(np.int64)
    names = standard["concept_name"].astype(str).tolist()
    codes = standard["concept_code"].fillna("").astype(str).tolist()
    row_of = {int(key): row for row, key in enumerate(concept_id)}

    texts: list[tuple[int, int, str, int]] = [(row, 0, name, -1) for row, name in enumerate(names)]
    for key, text in zip(
        synonym["concept_id"].tolist(), synonym["concept_synonym_name"].tolist(), strict=True
    ):
        row = row_of.get(int(key))
        if row is not None and text and text != names[row]:
            texts.append((row, 1, str(text), -1))
    vocabularies = columns["vocabulary_id"]
    loinc = {code for code, label in enumerate(vocabularies.categories) if label == "LOINC"}
    for row, (vocabulary, domain) in enumerate(zip(vocabularies.codes, columns["domain_id"], strict=True)):
        if domain == "Unit" and codes[row] not in ("", UNKNOWN_CODE):
            texts.append((row, 2, codes[row], -1))
        if vocabulary in loinc and (axes := loinc_name(names[row])) is not None:
            short = f"{axes.analyte} in {axes.system}" if axes.system else axes.analyte
            texts.append((row, 3, short, -1))

    targets, paths, names_to = followed(concept, relationship, row_of)
    texts.extend((row, 4, name, path) for path, (row, name) in enumerate(names_to))
    texts.sort()
    text_concept = np.array([entry[0] for entry in texts], np.int32)
    known = concept[~concept["concept_code"].fillna("").isin(["", UNKNOWN_CODE])]
    owners = pd.Categorical(known["vocabulary_id"])
    return Lexicon(
        concept_id=concept_id,
        names=Texts.of(names),
        codes=Texts.of(codes),
        domain=columns["domain_id"].codes.astype(np.int16),
        vocabulary=columns["vocabulary_id"].codes.astype(np.int16),
        concept_class=columns["concept_class_id"].codes.astype(np.int16),
        domains=list(columns["domain_id"].categories),
        vocabularies=list(columns["vocabulary_id"].categories),
        concept_classes=list(columns["concept_class_id"].categories),
        texts=Texts.of(entry[2] for entry in texts),
        text_concept=text_concept,
        text_kind=np.array([entry[1] for entry in texts], np.int8),
        text_path=np.array([entry[3] for entry in texts], np.int32),
        paths=paths,
        first_text=np.searchsorted(text_concept, np.arange(len(names) + 1)).astype(np.int64),
        targets=targets,
        codes_of=Codes(
            vocabularies=list(owners.categories),
            vocabulary=owners.codes.astype(np.int16),
            code=Texts.of(known["concept_code"].astype(str)),
            concept_id=known["concept_id"].to_numpy(np.int64),
        ),
    )
