"""Steps: what people do in pages of a review, or from Python, as lines that can be killed like commands."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import psycopg

from omop_emb import EmbeddingClient, EmbeddingInterface, IndexType, OmopEmbError
from omop_emb.database.engine import driver_connection, engine_scope, session_scope, waiting_session
from omop_emb.service import ConceptFinder
from omop_emb.service.review.bulk_approval import approve_bulk, preview_bulk
from omop_emb.service.review.bulk_records import BulkTerms
from omop_emb.service.review.decision_records import NewDecision, ReviewState, Target, Verdict
from omop_emb.service.review.decision_store import decide
from omop_emb.service.review.imports.import_job import import_review
from omop_emb.service.review.imports.new_review import begin_review, same_file
from omop_emb.service.review.live_memory import sync_memory
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.project_store import find_project
from omop_emb.service.review.review_training import train_on_reviews
from omop_emb.service.review.suggestion_store import current_terms

_MOST_SECONDS = 60
_ROWS = 400
_REQUEST = UUID("6a1b7c52-0d6f-4a43-9c5e-2b1f0e6d9a11")


def review(file: str) -> None:
    """What `omop-emb review FILE` does before somebody decides: store the file, read its terms, map them."""
    give_up = time.monotonic() + _MOST_SECONDS
    with engine_scope() as engine:
        path = Path(file)
        project = same_file(engine, path) or begin_review(engine, path, created_by="Ada")
        with ConceptFinder(engine) as finder:
            # A killed process holds its lock until the server has noticed.
            while not import_review(engine, project.project_id, finder):
                assert time.monotonic() < give_up, "the import is never complete"
                time.sleep(0.05)


def decide_terms(name: str) -> None:
    """A person approves the first candidate of every second term; the site remembers it."""
    with _project(name) as (connection, project):
        news = [
            NewDecision(
                position=one.position,
                version=one.version,
                verdict=Verdict(state=ReviewState.APPROVED, targets=(Target(one.concept_id),)),
            )
            for one in current_terms(connection, project.project_id)
            if one.position % 2 and one.version == 0 and one.concept_id
        ]
        decide(connection, project.project_id, "Ada", news)
        sync_memory(connection, project)


def approve(name: str) -> None:
    """A person approves at once what is above a bound; asking again changes nothing more."""
    terms = BulkTerms(precision=0.5, accept_untrained=True)
    with _project(name) as (connection, project):
        shown = preview_bulk(connection, project, terms).rows
        rows = [(one.position, one.version, one.concept_id) for one in shown] or [(1, 0, 0)]
        approve_bulk(connection, project, "Ada", terms, rows, _REQUEST)
        sync_memory(connection, project)


def train(name: str) -> None:
    """A person presses the button that trains the site's ranker."""
    with engine_scope() as engine:
        with session_scope(engine) as session:
            project = find_project(driver_connection(session), name)
        with waiting_session(engine) as session:
            train_on_reviews(session, project)


def fill(file: str) -> None:
    """A person says in an export that every term is right that nobody has decided."""
    path = Path(file)
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    for row in rows:
        row["decided_at"] = ""  # the only thing that no two runs have in common
    for row in rows[1::2]:
        row["decision"], row["choice"] = "approve", "1"
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def load_space(name: str) -> None:
    """Fill a space from Python, which `index finish` then makes fast."""
    client = EmbeddingClient(f"local:{Path(name).resolve()}")
    random = np.random.default_rng(1)
    with engine_scope() as engine, session_scope(engine) as session:
        EmbeddingInterface(client).upsert_concept_embeddings(
            session=session,
            index_type=IndexType.HNSW,
            concept_ids=list(range(_ROWS)),
            concept_texts=[f"concept {number}" for number in range(_ROWS)],
            embeddings=random.normal(size=(_ROWS, client.fingerprint.dimensions)),
        )


@contextmanager
def _project(name: str) -> Iterator[tuple[psycopg.Connection[Any], Project]]:
    with engine_scope() as engine, session_scope(engine) as session:
        connection = driver_connection(session)
        yield connection, find_project(connection, name)


STEPS: dict[str, Callable[[str], None]] = {
    "step-review": review,
    "step-decide": decide_terms,
    "step-approve": approve,
    "step-train": train,
    "step-fill": fill,
    "step-load-space": load_space,
}


def run(name: str, argument: str) -> None:
    """Run a step; an error of ours ends it like a command."""
    try:
        STEPS[name](argument)
    except OmopEmbError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
