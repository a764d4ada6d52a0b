"""Mappings that were approved earlier, on the present vocabulary: kept, or listed with what replaces them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg

from omop_emb.errors import InputError
from omop_emb.mapping.approvals.replacements import Fate, Replacement, fates
from omop_emb.mapping.files.delimited import Problem, read_rows
from omop_emb.mapping.files.encoding import detect_encoding, open_text
from omop_emb.mapping.files.input_file import InputFile
from omop_emb.mapping.files.table_writer import Column
from omop_emb.mapping.files.term_file import FileKind, TermFile
from omop_emb.mapping.files.usagi_file import UsagiTarget
from omop_emb.mapping.records import (
    Candidate,
    Decision,
    Variant,
    MappedTerm,
    PathStep,
    Provenance,
    SourceTerm,
)
from omop_emb.records import Concept

Key = tuple[str, str]
MAP_HEADERS = frozenset({"source_code", "target_concept_id"})
# source_to_concept_map keeps no more of a name.
_NAME_LENGTH = 255
OUTDATED_COLUMNS = (
    Column("source_code"),
    Column("source_name"),
    Column("line", "integer"),
    Column("concept_id", "integer"),
    Column("concept_name"),
    Column("reason"),
    Column("replacement_id", "integer"),
    Column("replacement_name"),
    Column("path"),
)


@dataclass(frozen=True)
class PreviousMapping:
    """An approved mapping of a source code and name.

    Attributes:
        key: code and name.
        line: of its first row in its file.
        targets: what it maps to; () for approved as without a match.
        judge: a judge's answer and reason from before it was approved; "" for none.
    """

    key: Key
    line: int
    targets: tuple[UsagiTarget, ...]
    judge: str = ""


@dataclass(frozen=True)
class CheckedMappings:
    """Approved mappings, and what became of their targets.

    Attributes:
        mappings: by code and name; the last of several in a file.
        fates: target to what became of it.
        codes: code to the names that it has in the file, to tell a renamed code.
    """

    mappings: Mapping[Key, PreviousMapping]
    fates: Mapping[int, Fate]
    codes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def find(self, term: SourceTerm) -> PreviousMapping | None:
        """The approved mapping of a term: code and name must both be the same."""
        return self.mappings.get(term.key) or self.mappings.get((term.code, term.name[:_NAME_LENGTH]))

    def settle(self, term: SourceTerm, provenance: Provenance) -> MappedTerm | None:
        """A term whose approved mapping stands, as it was approved; None where it has to be mapped."""
        mapping = self.find(term)
        if mapping is None or not all(self.fates[target.concept_id].stands for target in mapping.targets):
            return None
        return MappedTerm(
            term=term,
            candidates=tuple(self._kept(mapping.targets)),
            decision=Decision.ACCEPT if mapping.targets else Decision.NO_MATCH,
            reason=f"approved before (line {mapping.line} of the earlier file)",
            probability=None,
            priority=0.0,
            provenance=provenance,
            previous=tuple(target.concept_id for target in mapping.targets) or (0,),
        )

    def _kept(self, targets: Sequence[UsagiTarget]) -> Iterator[Candidate]:
        """What was approved, as candidates, so that every output can name it."""
        found = [self.fates[target.concept_id].concept for target in targets]
        for rank, concept in enumerate((one for one in found if one is not None), start=1):
            yield Candidate(
                rank=rank,
                concept_id=concept.concept_id,
                concept_name=concept.concept_name,
                domain_id=concept.domain_id or "",
                vocabulary_id=concept.vocabulary_id or "",
                concept_class_id=concept.concept_class_id or "",
                standard_concept=concept.standard_concept,
                concept_code=concept.concept_code or "",
                score=0.0,
                probability=None,
                variant=Variant("", "approved before"),
                matched_text="",
                matched_kind="",
                retrievers={},
            )

    def annotate(self, mapped: MappedTerm) -> MappedTerm:
        """A newly mapped term with what its approved mapping says.

        Where that does not stand any more, the term is for review, and its targets become the
        replacements if every target has some.
        """
        term = mapped.term
        mapping = self.find(term)
        if mapping is None:
            names = self.codes.get(term.code, ()) if term.code else ()
            if not names:
                return mapped
            return replace(mapped, reason=f"{mapped.reason}; its code was approved under another name")
        settled = self.settle(term, mapped.provenance)
        if settled is not None:
            return replace(settled, candidates=mapped.candidates)
        said: list[str] = []
        now: list[int] = []
        complete = True
        for target in mapping.targets:
            fate = self.fates[target.concept_id]
            if fate.stands:
                now.append(target.concept_id)
                continue
            now += [replacement.concept.concept_id for replacement in fate.replacements]
            complete = complete and bool(fate.replacements)
            said.append(_said(fate))
        return replace(
            mapped,
            decision=Decision.REVIEW,
            reason=f"approved before, but {'; '.join(said)}",
            previous=tuple(dict.fromkeys(now)) if complete else (),
        )

    def concept(self, concept_id: int) -> Concept | None:
        """A target or a replacement as the vocabulary has it; None for others."""
        if concept_id in self.fates:
            return self.fates[concept_id].concept
        return self._replacements.get(concept_id)

    @cached_property
    def _replacements(self) -> dict[int, Concept]:
        everything = (entry.concept for fate in self.fates.values() for entry in fate.replacements)
        return {concept.concept_id: concept for concept in everything}

    def mapping_type(self, key: Key, concept_id: int) -> str | None:
        """How an approved mapping leads to a target, such as MAPS_TO_VALUE; None where it does not."""
        mapping = self.mappings.get(key)
        kinds = {target.concept_id: target.mapping_type for target in mapping.targets} if mapping else {}
        return kinds.get(concept_id)

    def outdated(self) -> Iterator[dict[str, Any]]:
        """Rows of OUTDATED_COLUMNS: each target that does not stand, once for each of its replacements."""
        for mapping in self.mappings.values():
            for target in mapping.targets:
                fate = self.fates[target.concept_id]
                if fate.stands:
                    continue
                row = {
                    "source_code": mapping.key[0],
                    "source_name": mapping.key[1],
                    "line": mapping.line,
                    "concept_id": fate.concept_id,
                    "concept_name": fate.concept.concept_name if fate.concept is not None else None,
                    "reason": fate.reason,
                }
                if not fate.replacements:
                    yield row
                for replacement in fate.replacements:
                    yield {**row, **_replacement_row(replacement)}


def read_approved(path: str | Path) -> tuple[dict[Key, PreviousMapping], list[Problem]]:
    """The approved mappings of a file, Usagi's or source_to_concept_map's, and the rows that make no sense.

    Of Usagi's file those with the state APPROVED; of source_to_concept_map the valid rows.

    Raises:
        InputError: it is neither, or cannot be read.
    """
    with InputFile(path) as source, TermFile(source) as terms:
        if terms.kind is FileKind.USAGI and terms.usagi is not None:
            problems = [Problem(m.line, m.problem) for m in terms.usagi.mappings() if m.problem and m.rows[0]]
            approved = [m for m in terms.usagi.mappings() if not m.problem and m.status == "APPROVED"]
            return {m.key: PreviousMapping(m.key, m.line, m.targets, m.judge) for m in approved}, problems
        if terms.kind is FileKind.DELIMITED and MAP_HEADERS <= set(terms.headers):
            return _read_map(source, terms)
    raise InputError(
        f"{source.name} is neither a file that Usagi saved nor a source_to_concept_map: "
        "earlier mappings are read from those"
    )


def check_previous(
    connection: psycopg.Connection[Any], mappings: Mapping[Key, PreviousMapping]
) -> CheckedMappings:
    """Approved mappings with what became of their targets in the present vocabulary.

    Raises:
        VocabularyError: no vocabulary is loaded.
    """
    targets = {target.concept_id for mapping in mappings.values() for target in mapping.targets}
    codes: dict[str, tuple[str, ...]] = {}
    for code, name in mappings:
        codes[code] = (*codes.get(code, ()), name)
    return CheckedMappings(mappings, fates(connection, targets), codes)


def _read_map(source: InputFile, terms: TermFile) -> tuple[dict[Key, PreviousMapping], list[Problem]]:
    problems: list[Problem] = []
    found: dict[Key, PreviousMapping] = {}
    headers: Sequence[str] = terms.headers
    with open_text(source, detect_encoding(source).name) as text:
        rows = read_rows(text, terms.separator or ",", problems.append)
        next(rows, None)
        for row in rows:
            cells = dict(zip(headers, row.values, strict=False))
            target = cells.get("target_concept_id", "").strip()
            if len(row.values) != len(headers) or not target.isdecimal():
                problems.append(Problem(row.line, "not a row of source_to_concept_map"))
                continue
            if cells.get("invalid_reason", "").strip():
                continue
            key = (cells["source_code"].strip(), cells.get("source_code_description", ""))
            before = found.get(key, PreviousMapping(key, row.line, ()))
            targets = (UsagiTarget(int(target)),) if int(target) else ()
            found[key] = PreviousMapping(key, before.line, (*before.targets, *targets))
    return found, problems


def _said(fate: Fate) -> str:
    name = f" {fate.concept.concept_name}" if fate.concept is not None else ""
    if not fate.replacements:
        return f"{fate.concept_id}{name} is {fate.reason} and nothing replaces it"
    instead = ", ".join(f"{r.concept.concept_id} {r.concept.concept_name}" for r in fate.replacements)
    return f"{fate.concept_id}{name} is {fate.reason}: {instead} instead"


def _replacement_row(replacement: Replacement) -> dict[str, Any]:
    def step(taken: PathStep) -> str:
        return f"{taken.concept_id} {taken.concept_name} ({taken.relationship_id})"

    return {
        "replacement_id": replacement.concept.concept_id,
        "replacement_name": replacement.concept.concept_name,
        "path": " > ".join(step(taken) for taken in replacement.path),
    }
