"""Approved files: mappings that a person approved, read from Usagi's file or source_to_concept_map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omop_emb.errors import InputError
from omop_emb.mapping.files.delimited import Problem, read_rows
from omop_emb.mapping.files.encoding import detect_encoding, open_text
from omop_emb.mapping.files.input_file import InputFile
from omop_emb.mapping.files.term_file import FileKind, TermFile
from omop_emb.mapping.files.usagi_file import UsagiTarget

TermKey = tuple[str, str]
"""Source code and name."""

MAP_HEADERS = frozenset({"source_code", "target_concept_id"})
"""Headers by which a source_to_concept_map is recognised."""


@dataclass(frozen=True)
class ApprovedMapping:
    """The approved mapping of a source term."""

    key: TermKey  # code and name
    line: int  # of its first row in its file
    targets: tuple[UsagiTarget, ...]  # what it maps to; () if it was approved as "no match"
    judge: str = ""  # a judge's answer and reason from before the approval; "" for none


def read_approved(path: str | Path) -> tuple[dict[TermKey, ApprovedMapping], list[Problem]]:
    """The approved mappings of a file by code and name, and the rows that could not be used.

    In Usagi's file these are the rows with the status APPROVED, in source_to_concept_map the valid rows.

    Raises:
        InputError: it is neither, or cannot be read.
    """
    with InputFile(path) as source, TermFile(source) as terms:
        if terms.kind is FileKind.USAGI and terms.usagi is not None:
            problems = [Problem(m.line, m.problem) for m in terms.usagi.mappings() if m.problem and m.rows[0]]
            approved = [m for m in terms.usagi.mappings() if not m.problem and m.status == "APPROVED"]
            return {m.key: ApprovedMapping(m.key, m.line, m.targets, m.judge) for m in approved}, problems
        if terms.kind is FileKind.DELIMITED and MAP_HEADERS <= set(terms.headers):
            return _read_map(source, terms)
    raise InputError(
        f"{source.name} is neither a file that Usagi saved nor a source_to_concept_map: approved mappings "
        "are read only from these"
    )


def _read_map(source: InputFile, terms: TermFile) -> tuple[dict[TermKey, ApprovedMapping], list[Problem]]:
    problems: list[Problem] = []
    mappings: dict[TermKey, ApprovedMapping] = {}
    with open_text(source, detect_encoding(source).name) as text:
        rows = read_rows(text, terms.separator or ",", problems.append)
        next(rows, None)
        for row in rows:
            cells = dict(zip(terms.headers, row.values, strict=False))
            target = cells.get("target_concept_id", "").strip()
            if len(row.values) != len(terms.headers) or not target.isdecimal():
                problems.append(Problem(row.line, "not a row of source_to_concept_map"))
                continue
            if cells.get("invalid_reason", "").strip():
                continue
            key = (cells["source_code"].strip(), cells.get("source_code_description", ""))
            earlier = mappings.get(key, ApprovedMapping(key, row.line, ()))
            targets = (UsagiTarget(int(target)),) if int(target) else ()
            mappings[key] = ApprovedMapping(key, earlier.line, (*earlier.targets, *targets))
    return mappings, problems
