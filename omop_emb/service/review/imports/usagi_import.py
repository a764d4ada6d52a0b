"""Usagi import: all source codes of Usagi's file, with what a person decided about each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from omop_emb.errors import InputError
from omop_emb.mapping.files.columns import Columns
from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.usagi_file import UsagiFile, UsagiMapping, source_term
from omop_emb.mapping.files.usagi_writer import AUTHOR
from omop_emb.service.review.decision_records import Equivalence, ReviewState, Target, Verdict
from omop_emb.service.review.imports.imported_term import (
    LONGEST_COMMENT,
    ImportedTerm,
    is_usable_name,
    parse_equivalence,
    parse_milliseconds,
)

# What omop-emb and Usagi write where no person has decided.
PROGRAMS = frozenset({AUTHOR, "<auto>"})
_STATES = {
    "APPROVED": ReviewState.APPROVED,
    "FLAGGED": ReviewState.FLAGGED,
    "IGNORED": ReviewState.IGNORED,
}
Report = Callable[[Problem], None]


def usagi_terms(
    file: UsagiFile, columns: Columns, source_vocabulary: str | None, report: Report
) -> Iterator[ImportedTerm]:
    """The source codes in the order of the file; rows that are none, and unusable values, are reported."""
    for mapping in file.mappings():
        if mapping.problem and mapping.raw and not mapping.raw.strip():
            continue  # a blank line
        if mapping.problem:
            report(Problem(mapping.line, mapping.problem))
            continue
        term = source_term(mapping, columns, source_vocabulary, report)
        if not term.name.strip() and not term.code.strip():
            report(Problem(mapping.line, "neither a source name nor a source code"))
            continue
        found = ImportedTerm(
            term=term, source_state=mapping.status, assigned_to=_assigned_to(mapping, report)
        )
        try:
            yield _decided(found, mapping, report)
        except InputError as error:
            report(Problem(mapping.line, f"its decision is not used: {error}"))
            yield found


def _decided(found: ImportedTerm, mapping: UsagiMapping, report: Report) -> ImportedTerm:
    """With what a person decided.

    Raises:
        InputError: it cannot be used.
    """
    row = mapping.rows[0]
    author, comment = row.get("statusSetBy", "").strip(), _comment(mapping, report)
    targets = tuple(dict.fromkeys(Target(one.concept_id, one.mapping_type) for one in mapping.targets))
    state = None if author in PROGRAMS else _STATES.get(mapping.status)
    if state is None:
        # What was chosen and not approved is a candidate for the person who reviews it.
        suggested = tuple(dict.fromkeys(one.concept_id for one in targets if one.is_mapping))
        found = replace(found, term=replace(found.term, suggestions=(*found.term.suggestions, *suggested)))
        if not comment or any(cells.get("createdBy") in PROGRAMS for cells in mapping.rows):
            return found
        verdict = Verdict(state=ReviewState.UNREVIEWED, comment=comment)
    else:
        if state is ReviewState.APPROVED and not targets:
            state = ReviewState.NO_MATCH
        verdict = Verdict(
            state=state,
            targets=() if state is ReviewState.IGNORED else targets,
            equivalence=_equivalence(mapping, report),
            comment=comment,
        )
    return replace(
        found,
        verdict=verdict,
        reviewer=author if is_usable_name(author) else "",
        decided_at=parse_milliseconds(row.get("statusSetOn", "")),
    )


def _equivalence(mapping: UsagiMapping, report: Report) -> Equivalence:
    found = parse_equivalence(mapping.rows[0].get("equivalence", ""))
    if found is None:
        report(Problem(mapping.line, "its equivalence is none of Usagi's and is not used"))
    return found or Equivalence.UNREVIEWED


def _comment(mapping: UsagiMapping, report: Report) -> str:
    comment = mapping.rows[0].get("comment", "").strip()
    if len(comment) > LONGEST_COMMENT:
        report(Problem(mapping.line, f"its comment is cut after {LONGEST_COMMENT:,} characters"))
    return comment[:LONGEST_COMMENT]


def _assigned_to(mapping: UsagiMapping, report: Report) -> str:
    name = mapping.rows[0].get("assignedReviewer", "").strip()
    if name and not is_usable_name(name):
        report(Problem(mapping.line, "its assignedReviewer is no name and is not used"))
        return ""
    return name
