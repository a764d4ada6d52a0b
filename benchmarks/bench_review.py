"""Review: how many key presses a reviewer who knows the answers needs, with and without live memory.

usage: bench_review.py GOLD_FOLDER [--source lth] [--terms 2000] [--without-memory] [--train-at 700]

GOLD_FOLDER has TSV files with source_term, gold_domain, frequency and target_concept_ids (| between
them); those whose names begin with the source are one hospital's. Terms are drawn with a fixed seed and
reviewed in the order of the queue, in the database that the variables name, whose space is active. Nothing
stays in it.

A decision by Enter or by a digit is one press, a group is g and Enter, no match is 0. A search is /, the
characters that are typed and the choice: as many words of the concept's name as bring it among the first 9.
A bulk approval is three presses. Terms with several targets count as right with any of them.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import sqlalchemy

from omop_emb.database.engine import database_engine, driver_connection, session_scope, waiting_session
from omop_emb.mapping.records import SourceTerm
from omop_emb.service import ConceptFinder
from omop_emb.service.review.bulk_approval import approve_bulk, preview_bulk
from omop_emb.service.review.bulk_records import BulkTerms
from omop_emb.service.review.decision_records import NewDecision, ReviewState, Target, Verdict
from omop_emb.service.review.decision_store import decide
from omop_emb.service.review.project_records import Project, ReviewTerm
from omop_emb.service.review.project_store import (
    create_project,
    delete_project,
    find_project,
    mark_ready,
    store_terms,
)
from omop_emb.service.review.reranking import SETTINGS, Reranking
from omop_emb.service.review.review_queue import queue_positions
from omop_emb.service.review.suggestion_store import current_terms, read_suggestions, store_suggestions
from omop_emb.service.review.term_groups import decide_group, group_of
from omop_emb.service.review.term_keys import group_key, text_key

KEYS = 9  # candidates that have a digit
BULK_PRESSES = 3  # open the page, preview, approve
AT_ONCE = 8  # decisions between two looks of the background work
STEPS = 2  # batches that it ranks again between them: a person takes longer than that
_REVIEWER = "the scripted reviewer"


class ScriptedReviewer:
    """Decides every term of a review right, with as few presses as the pages allow.

    Attributes:
        presses: by what they were for.
        first: for each term that was shown, whether its first suggestion was right.
        bulk_wrong: terms approved in bulk whose concept is not right.
    """

    def __init__(
        self,
        engine: sqlalchemy.Engine,
        finder: ConceptFinder,
        project: Project,
        gold: dict[int, frozenset[int]],
    ) -> None:
        self.engine, self.finder, self.project, self.gold = engine, finder, project, gold
        self.presses: Counter[str] = Counter()
        self.first: list[bool] = []
        self.searched: list[str] = []
        self.bulk_terms = self.bulk_wrong = 0

    def review(self, reranking: Reranking | None, train_at: int | None) -> None:
        """Decide all terms in the order of the queue."""
        with session_scope(self.engine) as session:
            queue = queue_positions(driver_connection(session), self.project.project_id)
        decided: set[int] = set()
        for number, position in enumerate(queue):
            if reranking is not None and number % AT_ONCE == 0:
                reranking.look()
                for _ in range(STEPS):
                    reranking.step()
            if train_at is not None and number >= train_at and reranking is not None:
                train_at = None
                decided |= self._bulk(reranking)
            if position not in decided:
                decided |= self._decide(position)
            if number % 200 == 0:
                print(number, dict(self.presses), flush=True)

    def _decide(self, position: int) -> set[int]:
        with session_scope(self.engine) as session:
            connection = driver_connection(session)
            suggestion = read_suggestions(connection, self.project.project_id, [position])[position]
            gold = self.gold[position]
            candidates = suggestion.mapped.candidates[:KEYS]
            rank = next((one.rank for one in candidates if one.concept_id in gold), None)
            self.first.append(rank == 1)
            if rank is None:
                self.searched.append(suggestion.mapped.term.name)
            concept_id = candidates[rank - 1].concept_id if rank else min(gold)
            verdict = Verdict(state=ReviewState.APPROVED, targets=(Target(concept_id),))
            members = [
                (one.position, one.version)
                for one in group_of(connection, self.project.project_id, position).open_members
                if concept_id in self.gold[one.position]
            ]
            if len(members) > 2 and rank is not None:
                self.presses["groups"] += 2 if rank == 1 else 3
                decide_group(connection, self.project.project_id, _REVIEWER, members, verdict, uuid4())
                return {one for one, _ in members}
            (state,) = current_terms(connection, self.project.project_id, [position])
            new = NewDecision(position=position, version=state.version, verdict=verdict, rank=rank)
            decide(connection, self.project.project_id, _REVIEWER, [new])
        if rank is not None:
            self.presses["Enter" if rank == 1 else "digits"] += 1
        else:
            self.presses["searches"] += 1 + len(self._query(concept_id)) + 1
        return {position}

    def _query(self, concept_id: int) -> str:
        """As few words of a concept's name as bring it among the first nine that are found."""
        (found,) = self.finder.find_all([str(concept_id)], k=1)
        words = found.concepts[0].concept.concept_name.split()
        queries = [" ".join(words[:count]) for count in range(1, min(len(words), 6) + 1)]
        answers = self.finder.find_all(queries, k=KEYS) if queries else []
        for query, answer in zip(queries, answers, strict=True):
            if any(one.concept.concept_id == concept_id for one in answer.concepts):
                return query
        return " ".join(words)

    def _bulk(self, reranking: Reranking) -> set[int]:
        """Train on what was approved, rank all again, and approve in bulk what is above the bound of .95."""
        from omop_emb.service.review.review_training import train_on_reviews

        self.presses["training"] += 1
        with waiting_session(self.engine) as session:
            trained = train_on_reviews(session, self.project)
        for validation in trained.cross_validations:
            print(validation.ranker, validation.metrics)
        reranking.rank_all()
        while reranking.step():
            pass
        terms = BulkTerms(precision=0.95)
        with session_scope(self.engine) as session:
            connection = driver_connection(session)
            preview = preview_bulk(connection, self.project, terms)
            print(preview.refusal, len(preview.rows), preview.expected_errors, preview.left_out)
            if not preview.rows:
                return set()
            self.presses["bulk"] += BULK_PRESSES
            rows = [(row.position, row.version, row.concept_id) for row in preview.rows]
            approve_bulk(connection, self.project, _REVIEWER, terms, rows, uuid4())
        self.bulk_terms = len(rows)
        self.bulk_wrong = sum(concept not in self.gold[position] for position, _, concept in rows)
        return {position for position, _, _ in rows}


def read_terms(folder: Path, source: str, count: int) -> tuple[list[SourceTerm], dict[int, frozenset[int]]]:
    """Terms of one hospital that have a concept, drawn with a fixed seed, and their concepts by position."""
    rows = []
    csv.field_size_limit(10**9)
    for path in sorted(folder.glob(f"{source}*.tsv")):
        with path.open(encoding="utf-8", newline="") as lines:
            rows += [
                row
                for row in csv.DictReader(lines, delimiter="\t")
                if int(row["n_targets_standard_in_vocab"] or 0) > 0
            ]
    drawn = random.Random(7).sample(rows, min(count, len(rows)))  # noqa: S311 - a sample, no secret
    terms = [
        SourceTerm(
            name=row["source_term"],
            code=row["source_code"],
            frequency=int(float(row["frequency"] or 0)),
            domain=row["gold_domain"] or None,
            context={"context": row["context"]} if row["context"] else {},
            line=line,
        )
        for line, row in enumerate(drawn, start=2)
    ]
    gold = {
        position: frozenset(map(int, filter(None, row["target_concept_ids"].split("|"))))
        for position, row in enumerate(drawn, start=1)
    }
    return terms, gold


def make_review(engine: sqlalchemy.Engine, finder: ConceptFinder, site: str, terms: list[SourceTerm]) -> int:
    """A review of the terms with their first suggestions."""
    mapped = finder.map(terms, settings=SETTINGS)
    numbered = list(enumerate(terms, start=1))
    with session_scope(engine) as session:
        connection = driver_connection(session)
        project_id = create_project(
            connection,
            name=site,
            site=site,
            file_name="bench.csv",
            file_digest="0" * 64,
            settings={},
            created_by=_REVIEWER,
            content=io.BytesIO(b""),
        )
        store_terms(
            connection,
            project_id,
            [
                ReviewTerm(
                    position=position, term=term, text_key=text_key(term.name), group_key=group_key(term)
                )
                for position, term in numbered
            ],
        )
        store_suggestions(connection, project_id, enumerate(mapped, start=1))
        mark_ready(connection, project_id)
    return project_id


def print_result(reviewer: ScriptedReviewer, terms: int, seconds: float) -> None:
    """The table of one run."""
    first, quarter = reviewer.first, max(1, len(reviewer.first) // 4)
    total = sum(reviewer.presses.values())
    print(f"{terms} terms, {total} presses ({total / terms:.2f} a term), {seconds:.0f} s")
    for kind, presses in reviewer.presses.most_common():
        print(f"  {kind:10} {presses}")
    print(f"  searches for {len(reviewer.searched)} terms")
    print(f"  first suggestion right: {sum(first) / max(1, len(first)):.3f} of those shown")
    print(
        f"    first quarter {sum(first[:quarter]) / quarter:.3f}, last {sum(first[-quarter:]) / quarter:.3f}"
    )
    if reviewer.bulk_terms:
        print(f"  in bulk {reviewer.bulk_terms}, of which wrong {reviewer.bulk_wrong}")


def forget(engine: sqlalchemy.Engine, site: str, projects: Sequence[int]) -> None:
    """Leave nothing of a run in the database."""
    with session_scope(engine) as session:
        connection = driver_connection(session)
        for project_id in projects:
            delete_project(connection, project_id)
        connection.execute("delete from omop_emb.mapping_memory where site = %s", (site,))
        connection.execute("delete from omop_emb.mapping_ranker where site = %s", (site,))


def main(options: argparse.Namespace) -> None:
    """One run."""
    terms, gold = read_terms(options.gold, options.source, options.terms)
    engine, site = database_engine(), f"bench {uuid4()}"
    with closing(ConceptFinder(engine, site=site)) as finder:
        project_id = make_review(engine, finder, site, terms)
        try:
            with session_scope(engine) as session:
                project = find_project(driver_connection(session), project_id)
            reviewer = ScriptedReviewer(engine, finder, project, gold)
            reranking = None if options.without_memory else Reranking(engine, finder, project)
            begin = time.monotonic()
            reviewer.review(reranking, options.train_at)
            print_result(reviewer, len(terms), time.monotonic() - begin)
            if reranking is not None:
                print(f"  ranked again {reranking.ranked}, another first concept {reranking.changed}")
        finally:
            forget(engine, site, [project_id])
    engine.dispose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gold", type=Path)
    parser.add_argument("--source", default="lth", help="how the names of the hospital's files begin")
    parser.add_argument("--terms", type=int, default=2_000)
    parser.add_argument("--without-memory", action="store_true")
    parser.add_argument("--train-at", type=int, help="train and approve in bulk after so many terms")
    main(parser.parse_args())
