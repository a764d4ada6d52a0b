"""Gold terms: source terms with the concepts that people chose, to measure mapping and to learn from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from omop_emb.errors import InputError
from omop_emb.mapping.approvals.approved_file import MAP_HEADERS, read_approved
from omop_emb.mapping.files.columns import Columns
from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.input_file import InputFile
from omop_emb.mapping.files.term_file import FileKind, ReadOptions, TermFile
from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.retrieval.lexicon import Lexicon

TARGET_HEADERS = ("targetconceptids", "targetconceptid", "conceptids", "conceptid", "omopconceptid")
"""Recognised headers of the column with the chosen concepts, lower case without punctuation, best first."""

_SEPARATORS = re.compile(r"[|;,\s]+")


@dataclass(frozen=True, kw_only=True)
class GoldColumns:
    """How a table of gold terms is read.

    Attributes:
        columns: of the term, by role.
        target: the column with the chosen concept ids; None looks for TARGET_HEADERS.
        source: the column with the hospital or system of a row; None makes each file one source.
    """

    columns: Columns = field(default_factory=Columns)
    target: str | None = None
    source: str | None = None


@dataclass(frozen=True, kw_only=True)
class GoldTerm:
    """A source term and the concepts that a person chose."""

    term: SourceTerm
    targets: frozenset[int]  # concept ids; empty if the person found no match
    source: str  # the file, or the value of its source column


@dataclass(frozen=True, kw_only=True)
class GoldFile:
    """The content of gold files."""

    terms: tuple[GoldTerm, ...]  # in their order, one per source, code and name
    problems: tuple[str, ...]  # a line for each row that could not be used
    digests: dict[str, str]  # SHA-256 by file name


def read_gold(paths: Iterable[str | Path], columns: GoldColumns | None = None) -> GoldFile:
    """Read Usagi's files, source_to_concept_maps, or tables with a column of concept ids.

    In Usagi's file the APPROVED rows count. In a table, several ids are separated by "|" in one cell or are
    in several rows; an empty cell or 0 means "no match".
    """
    columns = columns or GoldColumns()
    terms: dict[tuple[str, str, str], GoldTerm] = {}
    problems: list[str] = []
    digests: dict[str, str] = {}
    for path in paths:
        name = Path(path).name
        with InputFile(path) as source, TermFile(source, ReadOptions(columns=columns.columns)) as file:
            digests[name] = source.digest()
            is_table = file.kind is not FileKind.USAGI and not set(file.headers) >= MAP_HEADERS
            rows, wrong = _read_table(file, name, columns) if is_table else _read_approved(path)
        problems.extend(f"{name}, line {problem.line}: {problem.reason}" for problem in wrong)
        for row in rows:
            key = (row.source, *row.term.key)
            earlier = terms.get(key, row)
            targets = row.targets | earlier.targets
            terms[key] = GoldTerm(term=earlier.term, targets=targets, source=row.source)
    if not terms:
        raise InputError("these files have no approved mapping to learn from or to measure with")
    return GoldFile(terms=tuple(terms.values()), problems=tuple(problems), digests=digests)


def _read_approved(path: str | Path) -> tuple[list[GoldTerm], list[Problem]]:
    mappings, problems = read_approved(path)
    terms = [
        GoldTerm(
            term=SourceTerm(
                name=name,
                code=code,
                line=mapping.line,
                extra={"judge": mapping.judge} if mapping.judge else {},
            ),
            targets=frozenset(target.concept_id for target in mapping.targets if target.is_mapping),
            source=Path(path).name,
        )
        for (code, name), mapping in mappings.items()
        # A name with nothing but a value or a unit is no term without a match.
        if name.strip() and (not mapping.targets or any(target.is_mapping for target in mapping.targets))
    ]
    return terms, problems


def _read_table(file: TermFile, name: str, columns: GoldColumns) -> tuple[list[GoldTerm], list[Problem]]:
    headers = {re.sub(r"[\W_]+", "", header).casefold(): header for header in reversed(file.headers)}
    target = columns.target or next((headers[key] for key in TARGET_HEADERS if key in headers), None)
    for column in (target, columns.source):
        if column is not None and column not in file.headers:
            raise InputError(f"{name} has no column {column!r}; found {', '.join(file.headers)}")
    if target is None:
        raise InputError(
            f"{name} has no column with concept ids, such as target_concept_ids or concept_id: name it with "
            "--target-column"
        )
    terms: list[GoldTerm] = []
    problems: list[Problem] = []
    for term in file:
        ids = [part for part in _SEPARATORS.split(term.extra.get(target, "")) if part]
        if not all(part.isdecimal() for part in ids):
            problems.append(Problem(term.line or 0, f"{target} holds no concept ids"))
        elif term.name.strip():
            source = term.extra.get(columns.source, "") if columns.source else name
            targets = frozenset(int(part) for part in ids if int(part))
            terms.append(GoldTerm(term=term, targets=targets, source=source or name))
    return terms, [*problems, *file.problems]


ResolvedTerm = tuple[GoldTerm, frozenset[int]]
"""A gold term, and the rows of its targets in a lexicon."""


def resolve_targets(lexicon: Lexicon, terms: Iterable[GoldTerm]) -> list[ResolvedTerm]:
    """Terms with the rows of the standard concepts that their targets are or map to.

    The rows are empty if the vocabulary has none of the targets: no match. Terms whose targets it has, but
    none of which leads to a standard concept, are left out: they say nothing about mapping.
    """
    in_vocabulary = set(lexicon.code_table.concept_id.tolist())
    in_vocabulary.update(lexicon.targets.concept_id.tolist(), lexicon.concept_id.tolist())
    resolved = []
    for gold in terms:
        rows = frozenset(row for target in gold.targets for _, row in lexicon.standard_targets(target))
        if rows or not any(target in in_vocabulary for target in gold.targets):
            resolved.append((gold, rows))
    return resolved
