"""Result rows: the table with one row per term, and the one with one row per candidate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from omop_emb.mapping.files.formula_text import APOSTROPHE
from omop_emb.mapping.files.table_writer import Column, Kind
from omop_emb.mapping.records import VALUE_COLUMNS, Candidate, Decision, MappedTerm, Retriever, value_row

REVIEWED = "reviewed"
"""The column that a reviewer fills with approve or no match; omop-emb writes what was approved before."""

_TERM = ("source_code", "source_name", "translation", "source_frequency", "line")
_CONCEPT = (
    "concept_id", "concept_name", "domain_id", "vocabulary_id", "concept_class_id", "standard_concept",
    "concept_code",
)  # fmt: skip
_RETRIEVER_SCORES = tuple(f"{retriever.value}_score" for retriever in Retriever)
_EVIDENCE = (
    *VALUE_COLUMNS, "matched_text", "matched_kind", "query", "query_rule", "path", "flags", "speaks_for",
    "speaks_against",
)  # fmt: skip
_CANDIDATE_TABLE = (
    *_TERM, REVIEWED, "rank", "ranker_rank", *_CONCEPT, "score", "probability", *_RETRIEVER_SCORES,
    *_EVIDENCE, "judged", "decision",
)  # fmt: skip
_TERM_TABLE = (
    *_TERM, REVIEWED, "decision", "reason", "probability", *_CONCEPT, *_EVIDENCE, "targets", "outdated",
    "by_code", "disagrees", "judge", "ordered_by", "others", "priority", "provenance",
)  # fmt: skip
_INTEGERS = frozenset({"source_frequency", "line", "rank", "ranker_rank", "concept_id"})
_REALS = frozenset({"score", "probability", "priority", *_RETRIEVER_SCORES})
_BOOLEANS = frozenset({"judged", "disagrees"})
_OWN_NAMES = frozenset({*_CANDIDATE_TABLE, *_TERM_TABLE, APOSTROPHE})
_REASONS_SHOWN = 6


def candidate_columns(extra_headers: Sequence[str] = ()) -> tuple[Column, ...]:
    """Columns of the candidate table: term, candidate, all retrievers' scores, evidence, input columns."""
    return _columns(_CANDIDATE_TABLE, extra_headers)


def term_columns(extra_headers: Sequence[str] = ()) -> tuple[Column, ...]:
    """Columns of the term table: best candidate, decision, reason, further candidates, input columns."""
    return _columns(_TERM_TABLE, extra_headers)


def candidate_rows(mapped: MappedTerm) -> Iterator[dict[str, Any]]:
    """One row per candidate of a term, best first; without candidates one row with an empty rank."""
    head = _term(mapped)
    if not mapped.candidates:
        yield {**head, REVIEWED: _reviewed(mapped)}
    for candidate in mapped.candidates:
        scores = {
            f"{retriever.value}_score": _rounded(score) for retriever, score in candidate.retrievers.items()
        }
        yield {
            **head,
            **concept_row(candidate),
            **scores,
            REVIEWED: _reviewed(mapped) if candidate.concept_id in mapped.targets else "",
            "rank": candidate.rank,
            "ranker_rank": candidate.rank if candidate.ranker_rank is None else candidate.ranker_rank,
            "score": _rounded(candidate.score),
            "probability": _rounded(candidate.probability),
            "judged": candidate.judged,
        }


def term_row(mapped: MappedTerm) -> dict[str, Any]:
    """One row for a term: its best candidate, and the names of the next."""
    best = {} if mapped.best is None else concept_row(mapped.best)
    return {
        **_term(mapped),
        **best,
        **value_row(mapped.mapped_values),
        REVIEWED: _reviewed(mapped),
        "reason": mapped.reason,
        "probability": _rounded(mapped.probability),
        "targets": ";".join(map(str, mapped.targets)),
        "outdated": mapped.outdated,
        "by_code": ";".join(map(str, mapped.by_code)),
        "disagrees": mapped.disagrees,
        "judge": mapped.judge,
        "ordered_by": ordered_by(mapped),
        "others": other_candidates(mapped),
        "priority": _rounded(mapped.priority),
        "provenance": provenance_text(mapped),
    }


def ordered_by(mapped: MappedTerm) -> str:
    """What put the candidates in order: "ranker", or "ranker and judge"; "" without candidates."""
    if not mapped.candidates:
        return ""
    is_judge_ordered = any(candidate.ranker_rank is not None for candidate in mapped.candidates)
    return "ranker and judge" if is_judge_ordered else "ranker"


def _reviewed(mapped: MappedTerm) -> str:
    if not mapped.is_reused:
        return ""
    return "no match" if mapped.decision is Decision.NO_MATCH else "approve"


def concept_row(candidate: Candidate) -> dict[str, Any]:
    """A candidate's concept and evidence, by column name."""
    steps = (f"{step.concept_id} {step.concept_name} ({step.relationship_id})" for step in candidate.path)
    return {
        **{name: getattr(candidate, name) for name in (*_CONCEPT, "matched_text", "matched_kind")},
        **value_row(candidate.mapped_values),
        "query": candidate.variant.text,
        "query_rule": candidate.variant.rule,
        "path": " > ".join(steps),
        "flags": "; ".join(candidate.flags),
        "speaks_for": reasons_text(candidate, positive=True),
        "speaks_against": reasons_text(candidate, positive=False),
    }


def reasons_text(candidate: Candidate, *, positive: bool) -> str:
    """The strongest reasons for or against a candidate, as "equal text (+1.20)"."""
    chosen = [entry for entry in candidate.contributions if (entry.contribution > 0) == positive]
    return "; ".join(f"{entry.reason} ({entry.contribution:+.2f})" for entry in chosen[:_REASONS_SHOWN])


def other_candidates(mapped: MappedTerm, count: int = 4) -> str:
    """The candidates after the first, as "id name"."""
    return "; ".join(f"{c.concept_id} {c.concept_name}" for c in mapped.candidates[1 : 1 + count])


def provenance_text(mapped: MappedTerm) -> str:
    """What a mapping was made with, in one line; it shows forced acceptance."""
    provenance = mapped.provenance
    parts = [
        f"omop-emb {provenance.version}",
        provenance.model,
        f"space {provenance.fingerprint[:12]}",
        f"ranker {provenance.ranker}",
    ]
    if provenance.further_spaces:
        parts.append(f"and {provenance.further_spaces}")
    if provenance.vocabulary or provenance.space_vocabulary:
        parts.append(f"vocabulary {provenance.releases}")
    if provenance.concept_filter:
        parts.append(provenance.concept_filter)
    if not provenance.calibrated:
        parts.append("not calibrated")
    if provenance.judge:
        parts.append(f"ordered with judge {provenance.judge} (--judge-orders)")
    if provenance.accept_precision is not None:
        parts.append(f"accepted at precision {provenance.accept_precision:g}")
    if provenance.accept_untrained:
        parts.append("accepted without approvals of this site (--accept-untrained)")
    return ", ".join(parts)


def target_candidates(mapped: MappedTerm) -> list[tuple[int, Candidate | None]]:
    """The concepts that a term maps to under its decision, each with its candidate if it is one."""
    by_id = {candidate.concept_id: candidate for candidate in reversed(mapped.candidates)}
    return [(concept_id, by_id.get(concept_id)) for concept_id in mapped.targets]


def _rounded(value: float | None) -> float | None:
    # Further digits depend on which terms were embedded together.
    return None if value is None else round(float(value), 4)


def _term(mapped: MappedTerm) -> dict[str, Any]:
    term = mapped.term
    return {
        **{_extra_name(header): value for header, value in term.extra.items()},
        "source_code": term.code,
        "source_name": term.name,
        "translation": term.translation,
        "source_frequency": term.frequency,
        "line": term.line,
        "decision": mapped.decision.value,
    }


def _columns(names: Sequence[str], extra_headers: Sequence[str]) -> tuple[Column, ...]:
    return (
        *(Column(name, _kind(name)) for name in names),
        *(Column(_extra_name(header)) for header in extra_headers),
    )


def _kind(name: str) -> Kind:
    if name in _INTEGERS:
        return "integer"
    if name in _REALS:
        return "real"
    return "boolean" if name in _BOOLEANS else "text"


def _extra_name(header: str) -> str:
    # A column of the input may have the name of one of ours; both are written.
    return f"source:{header}" if header in _OWN_NAMES else header
