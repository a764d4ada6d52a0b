"""Usable terms: those of a file that name no unknown domain and no file that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator

from omop_emb.errors import InputError
from omop_emb.mapping.file_job.part_columns import PartColumns
from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.problem_list import ProblemList
from omop_emb.mapping.files.term_file import TermFile
from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.retrieval.term_values import TermValues


def usable_terms(
    file: TermFile, values: TermValues, parts: PartColumns | None, problems: ProblemList
) -> Iterator[SourceTerm]:
    """The file's terms, the paths of their files in full; those that cannot be used become problems."""
    for term in file:
        try:
            if parts is not None:
                term = parts.resolve(term)
        except InputError as error:
            problems.append(Problem(term.line or 0, str(error)))
            continue
        unknown = values.unknown_value("domain", term.domain) if term.domain else None
        if unknown is None:
            yield term
            continue
        nearest = values.nearest("domain", unknown)[:1]
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        problems.append(Problem(term.line or 0, f"its domain has no concepts in the vocabulary{hint}"))
