"""Answer store: answers become decisions, each unless its term has changed since the file was written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

import psycopg
from psycopg.rows import tuple_row

from omop_emb.records import counted
from omop_emb.service.review.answers.answer_records import Answer, AnswerConflict, Tally
from omop_emb.service.review.decision_records import Action, NewDecision
from omop_emb.service.review.decision_store import decide
from omop_emb.service.review.exports.target_concepts import TargetValidity
from omop_emb.service.review.project_store import read_terms
from omop_emb.service.review.term_groups import begin_batch
from omop_emb.vocabulary import reader

_NAMESPACE = UUID("6d0b1d5e-6f5c-4a27-9a0e-3c5d3f3b8a11")  # of the ids that are made of answers


class AnswerStore:
    """Stores the answers of one file; what it names that the vocabulary lacks is a problem."""

    def __init__(
        self, project_id: int, digest: str, reviewer: str, tally: Tally, *, is_checked: bool = False
    ) -> None:
        """`is_checked`: whether the reviewer's name was checked, and no other may be used."""
        self._is_checked = is_checked
        self._project_id, self._reviewer, self._tally = project_id, reviewer, tally
        self._digest = digest
        self._batch_id = uuid5(_NAMESPACE, f"{project_id} {digest} {reviewer}")
        self._not_standard = 0

    def store(self, connection: psycopg.Connection[Any], answers: Sequence[Answer]) -> None:
        """Store answers; the caller commits. Those that were stored before are stored no second time."""
        usable = self._usable(connection, answers)
        if not usable:
            return
        details = {"digest": self._digest}
        begin_batch(connection, self._project_id, self._reviewer, self._batch_id, "import", details)
        ids = [self._request_id(answer) for answer in usable]
        before = self._known(connection, ids)
        terms = {
            one.position: one.term
            for one in read_terms(connection, self._project_id, [one.position for one in usable])
        }
        for answer, request_id in sorted(zip(usable, ids, strict=True), key=lambda pair: pair[0].position):
            new = NewDecision(
                position=answer.position,
                version=answer.version,
                verdict=answer.verdict,
                request_id=request_id,
                rank=answer.rank,
            )
            (result,) = decide(
                connection,
                self._project_id,
                self._name(answer),
                [new],
                action=Action.IMPORT,
                batch_id=self._batch_id,
            )
            if request_id in before:
                self._tally.repeated += 1
            elif not result.is_conflict:
                self._tally.decided += 1
            elif result.current is not None and result.current.verdict == answer.verdict:
                self._tally.unchanged += 1  # decided in the same way meanwhile
            else:
                term = terms[answer.position]
                self._tally.conflict(
                    AnswerConflict(
                        line=answer.line,
                        position=answer.position,
                        source_code=term.code,
                        source_name=term.name,
                        said=answer.verdict,
                        current=result.current,
                    )
                )

    def finish(self, connection: psycopg.Connection[Any]) -> None:
        """Forget the batch if nothing was stored, and say what people should know."""
        connection.execute(
            "delete from omop_emb.review_batch as batch where batch_id = %s and not exists ("
            "select from omop_emb.review_decision as decision where decision.batch_id = batch.batch_id)",
            (self._batch_id,),
        )
        if self._not_standard:
            self._tally.notes.append(
                f"{counted(self._not_standard, 'row names', 'rows name')} a concept that is not standard or "
                "not valid now: they are stored, and source_to_concept_map will not have them"
            )

    def _usable(self, connection: psycopg.Connection[Any], answers: Sequence[Answer]) -> list[Answer]:
        if reader.vocabulary_tables(connection) is None:
            return list(answers)
        validity, usable = TargetValidity(connection), []
        validity.load(target.concept_id for answer in answers for target in answer.verdict.targets)
        for answer in answers:
            statuses = [validity.status(target.concept_id) for target in answer.verdict.targets]
            if unknown := [status.concept_id for status in statuses if status.concept is None]:
                listed = ", ".join(map(str, unknown))
                self._tally.problem(answer.line, f"the vocabulary has no concept {listed}")
                continue
            self._not_standard += any(not status.is_valid for status in statuses)
            usable.append(answer)
        return usable

    def _name(self, answer: Answer) -> str:
        return self._reviewer if self._is_checked else answer.reviewer or self._reviewer

    def _request_id(self, answer: Answer) -> UUID:
        """Equal for the same answer to the same version, so that reading a file twice decides once."""
        verdict = answer.verdict
        said = [
            self._project_id,
            answer.position,
            answer.version,
            self._name(answer),
            verdict.state.value,
            [[target.concept_id, target.mapping_type] for target in verdict.targets],
            verdict.equivalence.value,
            verdict.comment,
        ]
        return uuid5(_NAMESPACE, json.dumps(said))

    def _known(self, connection: psycopg.Connection[Any], ids: Sequence[UUID]) -> set[UUID]:
        rows = connection.cursor(row_factory=tuple_row).execute(
            "select request_id from omop_emb.review_decision where request_id = any(%s)", (list(ids),)
        )
        return {request_id for (request_id,) in rows}
