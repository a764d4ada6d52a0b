"""Columns of a review as a table: what an export writes in them, and what reading it back understands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omop_emb.mapping.files.formula_text import APOSTROPHE
from omop_emb.mapping.files.table_writer import Column
from omop_emb.mapping.records import Candidate
from omop_emb.service.review.decision_records import MAPPING_TYPES, Equivalence, ReviewState, Verdict
from omop_emb.service.review.exports.exported_terms import ExportedTerm
from omop_emb.service.review.exports.target_concepts import TargetConcepts

POSITION, VERSION = "position", "review_version"
CODE, NAME, FREQUENCY = "source_code", "source_name", "source_frequency"
DECISION, CHOICE, CONCEPT_IDS, CONCEPT_NAMES = "decision", "choice", "concept_ids", "concept_names"
MAPPING_TYPE, EQUIVALENCE, COMMENT = "mapping_types", "equivalence", "comment"
ANSWERS = (DECISION, CHOICE, CONCEPT_IDS, MAPPING_TYPE, EQUIVALENCE, COMMENT)
"""The columns that people fill, and that are read back."""
DECISION_WORDS = {
    ReviewState.APPROVED: "approve",
    ReviewState.NO_MATCH: "no match",
    ReviewState.FLAGGED: "flag",
    ReviewState.IGNORED: "ignore",
    ReviewState.UNREVIEWED: "",
}
EQUIVALENCE_WORDS = tuple(one.words for one in Equivalence if one is not Equivalence.UNREVIEWED)
MOST_CANDIDATES = 20
_CANDIDATE = "candidate_"
_TERM = (POSITION, CODE, NAME, FREQUENCY)
_SAID = (DECISION, CHOICE, CONCEPT_IDS, CONCEPT_NAMES, MAPPING_TYPE, EQUIVALENCE, COMMENT)
_ABOUT = ("reviewer", "decided_at", "assigned_to", "probability", "state_in_file")
_KINDS = {
    POSITION: "integer",
    CHOICE: "integer",
    FREQUENCY: "integer",
    VERSION: "integer",
    "probability": "real",
}


def candidate_column(number: int) -> str:
    """The name of the column of a candidate, from 1."""
    return f"{_CANDIDATE}{number}"


def review_columns(source_headers: Sequence[str], candidates: int) -> tuple[Column, ...]:
    """The columns of the table: the term's own, what was decided, the candidates."""
    listed = [candidate_column(number) for number in range(1, candidates + 1)]
    names = [*_TERM, *_source_names(source_headers), *_SAID, *listed, *_ABOUT, VERSION]
    return tuple(Column(name, _KINDS.get(name, "text")) for name in names)  # type: ignore[arg-type]  # a Literal


def review_row(term: ExportedTerm, concepts: TargetConcepts, candidates: int) -> dict[str, Any]:
    """The cells of a term by column."""
    source, shown = term.term, term.candidates[:candidates]
    own_names = zip(_source_names(list(source.extra)), source.extra.values(), strict=True)
    answers = answer_cells(term.verdict, [one.concept_id for one in shown])
    named = [concepts.name_and_domain(term, one.concept_id)[0] for one in term.verdict.targets]
    return {
        POSITION: term.position,
        CODE: source.code,
        NAME: source.name,
        FREQUENCY: source.frequency,
        **dict(own_names),
        **answers,
        CHOICE: int(answers[CHOICE]) if answers[CHOICE] else None,
        CONCEPT_NAMES: "; ".join(named),
        **{candidate_column(number): _shown(one) for number, one in enumerate(shown, start=1)},
        "reviewer": term.reviewer or "",
        "decided_at": "" if term.decided_at is None else f"{term.decided_at:%Y-%m-%d %H:%M:%S%z}",
        "assigned_to": term.assigned_to,
        "probability": None if term.probability is None else round(term.probability, 4),
        "state_in_file": term.source_state,
        VERSION: term.version,
    }


def answer_cells(verdict: Verdict, candidates: Sequence[int]) -> dict[str, str]:
    """The cells that people fill, as they are for a verdict beside candidates with these concept ids."""
    ids = [target.concept_id for target in verdict.targets]
    is_compared = verdict.equivalence is not Equivalence.UNREVIEWED
    return {
        DECISION: DECISION_WORDS[verdict.state],
        CHOICE: str(candidates.index(ids[0]) + 1) if len(ids) == 1 and ids[0] in candidates else "",
        CONCEPT_IDS: "; ".join(map(str, ids)),
        MAPPING_TYPE: "; ".join(MAPPING_TYPES[target.mapping_type] for target in verdict.targets),
        EQUIVALENCE: verdict.equivalence.words if is_compared else "",
        COMMENT: verdict.comment,
    }


def _shown(candidate: Candidate) -> str:
    about = [candidate.domain_id]
    if candidate.probability is not None:
        about.append(f"{candidate.probability:.2f}")
    return f"{candidate.concept_id} {candidate.concept_name} ({', '.join(about)})"


def _source_names(headers: Sequence[str]) -> list[str]:
    """The names of the source's columns; one that is ours too, or begins like ours, is marked."""
    own = {*_TERM, *_SAID, *_ABOUT, VERSION, APOSTROPHE}
    return [
        f"source:{header}" if header in own or header.startswith((_CANDIDATE, "source:")) else header
        for header in headers
    ]
