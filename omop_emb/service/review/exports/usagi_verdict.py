"""Usagi's states as verdicts: what a mapping of Usagi's file says that a person decided."""

from __future__ import annotations

from collections.abc import Mapping

from omop_emb.mapping.files.usagi_file import MAPS_TO, OLD_MAPPING_TYPES, UsagiMapping
from omop_emb.mapping.files.usagi_writer import AUTHOR
from omop_emb.records import parse_concept_id
from omop_emb.service.review.decision_records import (
    MAPPING_TYPES,
    Equivalence,
    ReviewState,
    Target,
    Verdict,
)

USAGI_STATES = {
    ReviewState.UNREVIEWED: "UNCHECKED",
    ReviewState.APPROVED: "APPROVED",
    ReviewState.NO_MATCH: "APPROVED",  # with concept 0
    ReviewState.FLAGGED: "FLAGGED",
    ReviewState.IGNORED: "IGNORED",
}
"""Usagi's state of each of ours."""
NO_TARGET = {
    "conceptId": "0",
    "conceptName": "Unmapped",
    "domainId": "",
    "mappingType": MAPS_TO,
    "createdBy": "",
    "createdOn": "0",
}
"""The cells with which Usagi writes a term without targets."""
OLD_NAMES = {new: old for old, new in OLD_MAPPING_TYPES.items()}
"""EVENT for MAPS_TO, and so on, in files of Usagi before 1.4.3."""
_STATES = {
    "APPROVED": ReviewState.APPROVED,
    "FLAGGED": ReviewState.FLAGGED,
    "IGNORED": ReviewState.IGNORED,
}
PROGRAMS = frozenset({AUTHOR, "<auto>"})
"""Who stands where no person has decided: what omop-emb and Usagi did by themselves."""
_LONGEST_COMMENT, _MOST_TARGETS = 10_000, 100  # of a verdict


def usagi_verdict(mapping: UsagiMapping) -> Verdict:
    """What a person decided about a usable mapping; what a program decided is unreviewed.

    Equivalences and mapping types that Usagi does not know are read as none, and as MAPS_TO.
    """
    row = mapping.rows[0]
    state = _STATES.get(mapping.status, ReviewState.UNREVIEWED)
    if row.get("statusSetBy", "").strip() in PROGRAMS:
        state = ReviewState.UNREVIEWED
    targets = tuple(dict.fromkeys(filter(None, map(row_target, mapping.rows))))[:_MOST_TARGETS]
    if state is ReviewState.APPROVED and not targets:
        state = ReviewState.NO_MATCH
    written = row.get("equivalence", "").strip().upper()
    is_known = written in Equivalence.__members__
    return Verdict(
        state=state,
        targets=targets,
        equivalence=Equivalence[written] if is_known else Equivalence.UNREVIEWED,
        comment=row.get("comment", "").strip()[:_LONGEST_COMMENT],
    )


def row_target(row: Mapping[str, str]) -> Target | None:
    """The target of a row, None for concept 0."""
    concept_id = parse_concept_id(row["conceptId"])
    if concept_id is None or concept_id <= 0:
        return None
    written = row.get("mappingType") or MAPS_TO
    mapping_type = OLD_MAPPING_TYPES.get(written, written)
    return Target(concept_id, mapping_type if mapping_type in MAPPING_TYPES else MAPS_TO)
