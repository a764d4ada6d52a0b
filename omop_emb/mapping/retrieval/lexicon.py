"""Lexicon: a vocabulary's standard concepts and the texts that they can be found by, in arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Ints, Mask
from omop_emb.mapping.retrieval.lexicon_texts import LexiconTexts, synonym_rows
from omop_emb.mapping.retrieval.open_synonyms import OPEN_SOURCES, open_synonyms
from omop_emb.mapping.retrieval.standard_targets import (
    StandardTargets,
    ValueTable,
    find_standard_targets,
)
from omop_emb.mapping.retrieval.string_array import StringArray
from omop_emb.mapping.terms.laboratory import parse_loinc_name
from omop_emb.records import Concept, ConceptFilter
from omop_emb.spaces.recipe import STANDARD_AND_VALID
from omop_emb.vocabulary.spelling import loose_code

if TYPE_CHECKING:
    import pandas as pd

TEXT_KINDS = ("name", "synonym", "code", "short name", "non-standard", *(one.kind for one in OPEN_SOURCES))
"""Kinds of text, by number in Lexicon.text_kind; "non-standard": the name of a concept that maps here."""

_NAME, SYNONYM, _CODE, _SHORT_NAME, NON_STANDARD = range(5)
UNKNOWN_CODE = "UNKNOWN"
STATUSES = (
    "standard",
    "a classification, not a standard concept",
    "not a standard concept",
    "no longer valid",
)
"""Statuses of concepts, by number in Lexicon.status; only the first may be a target without a person."""
FLAGS = ("S", "C", None, None)
"""CONCEPT's standard_concept by status."""


@dataclass(frozen=True, eq=False)
class CodeTable:
    """The codes of all concepts, standard or not."""

    vocabularies: list[str]  # labels
    vocabulary: npt.NDArray[np.int16]  # (n,) index into the labels
    code: StringArray  # (n,) concept_code
    concept_id: Ints  # (n,) the concept of each


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Concepts ordered by domain, then id, and their texts in the order of the concepts.

    They are the standard and valid ones, unless others were asked for; see build_lexicon().
    """

    concept_id: Ints  # (c,) OMOP concept ids; the index of a concept in this array is its row
    names: StringArray  # (c,)
    codes: StringArray  # (c,) concept_code
    domain: npt.NDArray[np.int16]  # (c,) index into domains
    vocabulary: npt.NDArray[np.int16]  # (c,) index into vocabularies
    concept_class: npt.NDArray[np.int16]  # (c,) index into concept_classes
    status: npt.NDArray[np.int8]  # (c,) index into STATUSES
    domains: list[str]
    vocabularies: list[str]
    concept_classes: list[str]
    texts: StringArray  # (t,) every text, by text row
    text_concept: npt.NDArray[np.int32]  # (t,) concept row of each text, ascending
    text_kind: npt.NDArray[np.int8]  # (t,) index into TEXT_KINDS
    text_path: npt.NDArray[np.int32]  # (t,) index into targets, -1 for a concept's own text
    text_offsets: Ints  # (c + 1,) where each concept's texts begin
    targets: StandardTargets  # of the non-standard concepts, whose names are texts too
    values: ValueTable  # values, units … that belong beside mappings
    code_table: CodeTable  # the source of ids_by_code

    @cached_property
    def ids_by_code(self) -> dict[tuple[str, str], list[int]]:
        """(vocabulary, code) -> concept ids, standard or not; 100 MB for 360,000 concepts."""
        result: dict[tuple[str, str], list[int]] = {}
        table = self.code_table
        for concept_id, vocabulary, code in zip(
            table.concept_id.tolist(), table.vocabulary.tolist(), table.code, strict=True
        ):
            result.setdefault((table.vocabularies[vocabulary], code), []).append(concept_id)
        return result

    @cached_property
    def _rows_by_id(self) -> Ints:
        return np.argsort(self.concept_id, kind="stable")

    def rows(self, concept_ids: Sequence[int] | Ints) -> Ints:
        """The row of each id, -1 for one that is not a standard concept."""
        ids = np.asarray(concept_ids, dtype=np.int64)
        if not len(self.concept_id):
            return np.full(len(ids), -1)
        position = np.searchsorted(self.concept_id, ids, sorter=self._rows_by_id)
        rows = self._rows_by_id[np.minimum(position, len(self.concept_id) - 1)]
        return np.where(self.concept_id[rows] == ids, rows, -1)

    def domain_range(self, domain: str) -> tuple[int, int]:
        """First and last + 1 concept row of a domain; (0, 0) for one without concepts."""
        if domain not in self.domains:
            return 0, 0
        code = self.domains.index(domain)
        return int(np.searchsorted(self.domain, code)), int(np.searchsorted(self.domain, code, "right"))

    def passing(self, concept_filter: ConceptFilter) -> Mask | None:
        """(c,) which concepts are in the filter's domains, vocabularies, classes and ids; None: all."""
        chosen: Mask | None = None
        for names, labels, codes in (
            (concept_filter.domains, self.domains, self.domain),
            (concept_filter.vocabularies, self.vocabularies, self.vocabulary),
            (concept_filter.concept_classes, self.concept_classes, self.concept_class),
        ):
            if names is not None:
                passes = np.isin(codes, [code for code, label in enumerate(labels) if label in names])
                chosen = passes if chosen is None else chosen & passes
        if concept_filter.concept_ids is not None:
            passes = np.isin(self.concept_id, concept_filter.concept_ids)
            chosen = passes if chosen is None else chosen & passes
        return chosen

    @cached_property
    def is_standard(self) -> bool:
        """Whether all its concepts are standard and valid."""
        return not self.status.any()

    def in_vocabularies(self, *vocabularies: str) -> Mask:
        """(c,) whether a concept is in one of some vocabularies."""
        codes = [code for code, name in enumerate(self.vocabularies) if name in vocabularies]
        return np.isin(self.vocabulary, codes)

    def concept(self, row: int) -> Concept:
        """The concept of a row; why one is invalid is not known here."""
        return Concept(
            concept_id=int(self.concept_id[row]),
            concept_name=self.names[row],
            domain_id=self.domains[self.domain[row]],
            vocabulary_id=self.vocabularies[self.vocabulary[row]],
            concept_class_id=self.concept_classes[self.concept_class[row]],
            standard_concept=FLAGS[self.status[row]],
            concept_code=self.codes[row],
        )

    def text_rows(self, row: int) -> range:
        """The text rows of a concept."""
        return range(int(self.text_offsets[row]), int(self.text_offsets[row + 1]))

    def own_texts(self, row: int) -> list[str]:
        """The texts of a concept without the names of others that map to it, its name first."""
        return [self.texts[text] for text in self.text_rows(row) if self.text_kind[text] != NON_STANDARD]

    @cached_property
    def code_vocabularies(self) -> list[str]:
        """The vocabularies whose codes can be looked up."""
        return sorted(self.code_table.vocabularies[code] for code in np.unique(self.code_table.vocabulary))

    def ids_of_code(self, vocabulary: str, code: str) -> list[int]:
        """Ids of the concepts that have a code; k3580 matches K35.80 too, if it matches no other."""
        ids = self.ids_by_code.get((vocabulary, code))
        return ids or self._ids_by_loose_code.get((vocabulary, loose_code(vocabulary, code)), [])

    @cached_property
    def _ids_by_loose_code(self) -> dict[tuple[str, str], list[int]]:
        """By loose code, if only one code becomes it."""
        result: dict[tuple[str, str], list[int] | None] = {}
        for (vocabulary, code), ids in self.ids_by_code.items():
            key = (vocabulary, loose_code(vocabulary, code))
            result[key] = None if key in result else ids
        return {key: ids for key, ids in result.items() if ids is not None}

    def standard_targets(self, concept_id: int) -> list[tuple[str, int]]:
        """(relationship, row) of each standard concept that a concept maps to; ("", row) if it is one."""
        row = int(self.rows([concept_id])[0])
        if row < 0:
            return self.targets.get(concept_id)
        is_standard = self.status[row] == 0
        # One that is not standard was asked for, and leads to itself only if it leads to no standard one.
        return [("", row)] if is_standard else self.targets.get(concept_id) or [("", row)]


def build_lexicon(
    concept: pd.DataFrame,
    synonym: pd.DataFrame,
    relationship: pd.DataFrame,
    concept_filter: ConceptFilter = STANDARD_AND_VALID,
) -> Lexicon:
    """A lexicon from a vocabulary's tables CONCEPT, CONCEPTSYNONYM and CONCEPT_RELATIONSHIP.

    Args:
        concept: concept_id, concept_name, domain_id, vocabulary_id, concept_class_id, standard_concept,
            concept_code, invalid_reason; empty strings or None for missing values.
        synonym: concept_id, concept_synonym_name.
        relationship: concept_id_1, concept_id_2, relationship_id of valid rows.
        concept_filter: which concepts are to be found, see vocabulary_index.needed_index().
    """
    status = _statuses(concept)
    chosen = concept[_passing(concept, status, concept_filter)].assign(status=status)
    domain = _labels(chosen["domain_id"]).codes
    chosen = chosen.iloc[np.lexsort((chosen["concept_id"].to_numpy(np.int64), domain))]
    labels = {name: _labels(chosen[name]) for name in ("domain_id", "vocabulary_id", "concept_class_id")}
    concept_id = chosen["concept_id"].to_numpy(np.int64)
    names = chosen["concept_name"].astype(str).tolist()
    codes = chosen["concept_code"].fillna("").astype(str).tolist()
    is_standard = (chosen["status"] == 0).to_numpy()
    targets, values = find_standard_targets(
        concept, relationship, concept_id[is_standard], np.flatnonzero(is_standard)
    )
    texts = LexiconTexts()
    texts.add(_NAME, np.arange(len(names)), names)
    texts.add(SYNONYM, *synonym_rows(synonym, concept_id, names))
    domains, vocabularies = chosen["domain_id"].tolist(), chosen["vocabulary_id"].tolist()
    added = [list(open_synonyms(source, texts.pairs(), domains, vocabularies)) for source in OPEN_SOURCES]
    for source, pairs in zip(OPEN_SOURCES, added, strict=True):
        texts.add_pairs(TEXT_KINDS.index(source.kind), pairs)
    for kind, pairs in _codes_and_short_names(names, codes, domains, vocabularies).items():
        texts.add_pairs(kind, pairs)
    texts.add(NON_STANDARD, targets.row.astype(np.int64), list(targets.name), np.arange(len(targets.row)))
    text_concept, text_kind, text_path, all_texts = texts.in_order()
    coded = concept[~concept["concept_code"].fillna("").isin(["", UNKNOWN_CODE])]
    code_vocabulary = _labels(coded["vocabulary_id"])
    return Lexicon(
        concept_id=concept_id,
        names=StringArray.of(names),
        codes=StringArray.of(codes),
        domain=labels["domain_id"].codes.astype(np.int16),
        vocabulary=labels["vocabulary_id"].codes.astype(np.int16),
        concept_class=labels["concept_class_id"].codes.astype(np.int16),
        status=chosen["status"].to_numpy(np.int8),
        domains=list(labels["domain_id"].categories),
        vocabularies=list(labels["vocabulary_id"].categories),
        concept_classes=list(labels["concept_class_id"].categories),
        texts=all_texts,
        text_concept=text_concept,
        text_kind=text_kind,
        text_path=text_path,
        text_offsets=np.searchsorted(text_concept, np.arange(len(names) + 1)).astype(np.int64),
        targets=targets,
        values=values,
        code_table=CodeTable(
            vocabularies=list(code_vocabulary.categories),
            vocabulary=code_vocabulary.codes.astype(np.int16),
            code=StringArray.of(coded["concept_code"].astype(str)),
            concept_id=coded["concept_id"].to_numpy(np.int64),
        ),
    )


def _labels(column: pd.Series) -> pd.Categorical:
    """A column's values in numbers, which have the order of the values."""
    import pandas as pd

    values = pd.Categorical(column).remove_unused_categories()
    return values.reorder_categories(sorted(values.categories))


def _statuses(concept: pd.DataFrame) -> pd.Series:
    """Each concept's index into STATUSES."""
    import pandas as pd

    flag, reason = concept["standard_concept"], concept["invalid_reason"]
    is_valid = reason.isna() | (reason == "")
    return pd.Series(
        np.select([~is_valid, flag == "S", flag == "C"], [3, 0, 1], default=2), index=concept.index
    )


def _passing(concept: pd.DataFrame, status: pd.Series, concept_filter: ConceptFilter) -> Mask:
    passes = np.ones(len(concept), bool)
    if concept_filter.standard_only:
        passes &= (concept["standard_concept"] == "S").to_numpy()
    if concept_filter.valid_only:
        passes &= (status != 3).to_numpy()
    if not (concept_filter.standard_only and concept_filter.valid_only) and concept_filter.vocabularies:
        passes &= concept["vocabulary_id"].isin(concept_filter.vocabularies).to_numpy()
    return passes


def _codes_and_short_names(
    names: Sequence[str], codes: Sequence[str], domains: Sequence[str], vocabularies: Sequence[str]
) -> dict[int, list[tuple[int, str]]]:
    """By kind, (concept row, text): the codes of units, LOINC names without property, method and timing."""
    texts: dict[int, list[tuple[int, str]]] = {_CODE: [], _SHORT_NAME: []}
    for row, (name, code, domain, vocabulary) in enumerate(
        zip(names, codes, domains, vocabularies, strict=True)
    ):
        if domain == "Unit" and code not in ("", UNKNOWN_CODE):
            texts[_CODE].append((row, code))
        if vocabulary == "LOINC" and (axes := parse_loinc_name(name)) is not None:
            system = f" in {axes['system']}" if axes["system"] else ""
            texts[_SHORT_NAME].append((row, axes["analyte"] + system))
    return texts
