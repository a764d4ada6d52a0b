"""Target check: whether targets may leave, whoever chose them, by the vocabulary that is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.mapping.approvals.replacements import TargetStatus, target_statuses
from omop_emb.mapping.approvals.reuse import describe
from omop_emb.mapping.records import CheckedTargets

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from omop_emb.mapping.retrieval.lexicon import Lexicon


class TargetCheck:
    """Checks targets; each that is no valid standard concept is looked up in the database once."""

    def __init__(self, engine: Engine, lexicon: Lexicon) -> None:
        self._engine, self._lexicon = engine, lexicon
        self._statuses: dict[int, TargetStatus] = {}

    def __call__(self, targets: Sequence[int]) -> CheckedTargets:
        """The targets with their replacements, and what is wrong with them."""
        outdated = {status.concept_id: status for status in self.outdated(targets)}
        if not outdated:
            return CheckedTargets(tuple(targets))
        now: list[int] = []
        for target in targets:
            replacements = (
                [entry.concept.concept_id for entry in outdated[target].replacements]
                if target in outdated
                else [target]
            )
            if len(replacements) != 1:
                now.clear()
                break
            now += replacements
        return CheckedTargets(tuple(dict.fromkeys(now)), "; ".join(map(describe, outdated.values())))

    def outdated(self, targets: Sequence[int]) -> list[TargetStatus]:
        """The status of each target that is no valid standard concept."""
        rows = self._lexicon.rows(list(targets)).tolist()
        # With --any the lexicon has non-standard and invalid concepts too; their status is not 0.
        unknown = [
            target
            for target, row in zip(targets, rows, strict=True)
            if target and (row < 0 or self._lexicon.status[row])
        ]
        statuses = self._status(unknown)
        return [statuses[target] for target in dict.fromkeys(unknown) if not statuses[target].is_valid]

    def _status(self, concept_ids: Iterable[int]) -> Mapping[int, TargetStatus]:
        new = [concept_id for concept_id in concept_ids if concept_id not in self._statuses]
        if new:
            with session_scope(self._engine) as session:
                self._statuses.update(target_statuses(driver_connection(session), new))
        return self._statuses
