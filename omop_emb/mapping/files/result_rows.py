"""Results as tables: every candidate with all its scores in long form, and one row a term."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from omop_emb.mapping.files.table_writer import Column
from omop_emb.mapping.records import Candidate, MappedTerm, Retriever

_TERM = (
    Column("source_code"),
    Column("source_name"),
    Column("source_frequency", "integer"),
    Column("line", "integer"),
)
_CONCEPT = (
    Column("concept_id", "integer"),
    Column("concept_name"),
    Column("domain_id"),
    Column("vocabulary_id"),
    Column("concept_class_id"),
    Column("standard_concept"),
    Column("concept_code"),
)
_OUTCOME = (
    Column("decision"),
    Column("reason"),
    Column("probability", "real"),
)
_EVIDENCE = (
    Column("matched_text"),
    Column("matched_kind"),
    Column("query"),
    Column("query_rule"),
    Column("path"),
    Column("flags"),
    Column("speaks_for"),
    Column("speaks_against"),
)
_FEATURES_SHOWN = 6


def candidate_columns(extra_headers: Sequence[str] = ()) -> tuple[Column, ...]:
    """The columns of the long form: term, candidate, scores of all retrievers, evidence, carried columns."""
    own = (
        *_TERM,
        Column("rank", "integer"),
        *_CONCEPT,
        Column("score", "real"),
        Column("probability", "real"),
        *(Column(f"{retriever.value}_score", "real") for retriever in Retriever),
        *_EVIDENCE,
        Column("judged", "boolean"),
        Column("decision"),
    )
    return _with_extras(own, extra_headers)


def candidate_rows(mapped: MappedTerm) -> Iterator[dict[str, Any]]:
    """A row for each candidate of a term, best first; a term without candidates has one with rank empty."""
    head = {**_extras(mapped), **_term(mapped), "decision": mapped.decision.value}
    if not mapped.candidates:
        yield head
    for candidate in mapped.candidates:
        scores = {f"{who.value}_score": _rounded(score) for who, score in candidate.retrievers.items()}
        yield {
            **head,
            **concept_row(candidate),
            **scores,
            "rank": candidate.rank,
            "score": _rounded(candidate.score),
            "probability": _rounded(candidate.probability),
            "judged": candidate.judged,
        }


def term_columns(extra_headers: Sequence[str] = ()) -> tuple[Column, ...]:
    """The columns of the table with one row a term: its best candidate, decision and reason."""
    own = (
        *_TERM,
        *_OUTCOME,
        *_CONCEPT,
        *_EVIDENCE,
        Column("targets"),
        Column("by_code"),
        Column("disagrees", "boolean"),
        Column("judge"),
        Column("others"),
        Column("priority", "real"),
        Column("provenance"),
    )
    return _with_extras(own, extra_headers)


def term_row(mapped: MappedTerm) -> dict[str, Any]:
    """A term with its best candidate, and the next ones in a few words."""
    best = {} if mapped.best is None else concept_row(mapped.best)
    return {
        **_extras(mapped),
        **_term(mapped),
        **best,
        "decision": mapped.decision.value,
        "reason": mapped.reason,
        "probability": _rounded(mapped.probability),
        "targets": ";".join(map(str, mapped.targets)),
        "by_code": ";".join(map(str, mapped.by_code)),
        "disagrees": mapped.disagrees,
        "judge": mapped.judge,
        "others": other_candidates(mapped),
        "priority": _rounded(mapped.priority),
        "provenance": provenance_text(mapped),
    }


def concept_row(candidate: Candidate) -> dict[str, Any]:
    """A candidate's concept and the evidence for it, by column name."""
    return {
        "concept_id": candidate.concept_id,
        "concept_name": candidate.concept_name,
        "domain_id": candidate.domain_id,
        "vocabulary_id": candidate.vocabulary_id,
        "concept_class_id": candidate.concept_class_id,
        "standard_concept": candidate.standard_concept,
        "concept_code": candidate.concept_code,
        "matched_text": candidate.matched_text,
        "matched_kind": candidate.matched_kind,
        "query": candidate.variant.text,
        "query_rule": candidate.variant.rule,
        "path": " > ".join(
            f"{step.concept_id} {step.concept_name} ({step.relationship_id})" for step in candidate.path
        ),
        "flags": "; ".join(candidate.flags),
        "speaks_for": _features(candidate, for_it=True),
        "speaks_against": _features(candidate, for_it=False),
    }


def _features(candidate: Candidate, *, for_it: bool) -> str:
    """The strongest features for or against a candidate, as "dense original 0.83 (+1.20)"."""
    found = [entry for entry in candidate.contributions if (entry.contribution > 0) == for_it]
    return "; ".join(
        f"{entry.feature} {entry.value:.2f} ({entry.contribution:+.2f})" for entry in found[:_FEATURES_SHOWN]
    )


def other_candidates(mapped: MappedTerm, count: int = 4) -> str:
    """The candidates after the first, as "id name"."""
    return "; ".join(f"{c.concept_id} {c.concept_name}" for c in mapped.candidates[1 : 1 + count])


def provenance_text(mapped: MappedTerm) -> str:
    """What a mapping was made with, in one line, forced acceptance included."""
    made = mapped.provenance
    parts = [
        f"omop-emb {made.version}",
        made.model,
        f"space {made.fingerprint[:12]}",
        f"ranker {made.ranker}",
    ]
    if made.vocabulary:
        parts.append(f"vocabulary {made.vocabulary}")
    if not made.calibrated:
        parts.append("not calibrated")
    if made.accept_precision is not None:
        parts.append(f"accepted at precision {made.accept_precision:g}")
    if made.accept_untrained:
        parts.append("accepted without approvals of this site (--accept-untrained)")
    return ", ".join(parts)


def target_candidates(mapped: MappedTerm) -> list[tuple[int, Candidate | None]]:
    """The concepts that a term maps to if its decision stands, each with its candidate where it is one."""
    by_id = {candidate.concept_id: candidate for candidate in reversed(mapped.candidates)}
    return [(concept_id, by_id.get(concept_id)) for concept_id in mapped.targets]


def _rounded(value: float | None) -> float | None:
    # More digits depend on which terms were embedded together.
    return None if value is None else round(float(value), 4)


def _term(mapped: MappedTerm) -> dict[str, Any]:
    term = mapped.term
    return {
        "source_code": term.code,
        "source_name": term.name,
        "source_frequency": term.frequency,
        "line": term.line,
    }


def _extras(mapped: MappedTerm) -> dict[str, Any]:
    return {_extra_name(header): value for header, value in mapped.term.extra.items()}


def _with_extras(own: tuple[Column, ...], headers: Sequence[str]) -> tuple[Column, ...]:
    return (*own, *(Column(_extra_name(header)) for header in headers))


def _extra_name(header: str) -> str:
    # A column of the file may be called as one of ours; both are kept.
    return f"source:{header}" if header in _OWN else header


_OWN = frozenset(column.name for column in (*candidate_columns(), *term_columns()))
