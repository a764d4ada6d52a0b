"""Judge cache: the answers of a generative model, kept on this machine by the hash of the question."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from pathlib import Path

from omop_emb import config
from omop_emb.mapping.judge.verdict import Verdict
from omop_emb.safe_files.private_file import cache_folder, open_private

# A table "answer" in the same file is from an earlier version, which stored other values: it is never read.
_TABLE = """
create table if not exists verdict (
    question_hash blob primary key, concept_id integer, reason text not null
) without rowid
"""


class JudgeCache:
    """Verdicts by question, in an SQLite file that only its owner can read; for one thread.

    Stored are a hash of the question, the chosen concept id and the model's reason, never the question.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Open or create the file, by default judge.sqlite3 in the cache folder."""
        self._connection = open_private_table(path, "judge.sqlite3", _TABLE)

    def get(self, question: str) -> Verdict | None:
        """The verdict on a question; None if there is none."""
        query = "select concept_id, reason from verdict where question_hash = ?"
        row = self._connection.execute(query, (question_hash(question),)).fetchone()
        return None if row is None else Verdict(*row)

    def put(self, question: str, verdict: Verdict) -> None:
        """Store a verdict, on disk when this returns. The first verdict on a question stays."""
        row = (question_hash(question), verdict.concept_id, verdict.reason)
        self._connection.execute("insert or ignore into verdict values (?, ?, ?)", row)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def open_private_table(path: Path | None, name: str, table: str) -> sqlite3.Connection:
    """A connection to an SQLite file that only its owner can read, created with a table if need be.

    Args:
        path: the file; None is `name` in the cache folder.
        name: of the file.
        table: a statement that creates the table unless it exists.
    """
    path = path if path is not None else cache_folder(config.cache_dir()) / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # SQLite would follow a link, and create a file that everybody can read. Its journals get the file's
    # own mode.
    os.close(open_private(path))
    connection = sqlite3.connect(path, timeout=30.0, isolation_level=None)
    connection.execute(table)
    return connection


def question_hash(question: str) -> bytes:
    """The key of a question."""
    return hashlib.sha256(question.encode("utf-8", "surrogatepass")).digest()
