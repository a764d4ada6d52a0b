"""Translation cache: a generative model's translations, kept on this machine by the hash of the question."""

from __future__ import annotations

from pathlib import Path

from omop_emb.mapping.judge.judge_cache import open_private_table, question_hash

_TABLE = """
create table if not exists translation (
    question_hash blob primary key, text text not null
) without rowid
"""


class TranslationCache:
    """Translations by question, in an SQLite file that only its owner can read; for one thread.

    Stored are a hash of the question and what the model answered, never the question.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Open or create the file, by default translations.sqlite3 in the cache folder."""
        self._connection = open_private_table(path, "translations.sqlite3", _TABLE)

    def get(self, question: str) -> str | None:
        """The translation that a question got; None if there is none."""
        query = "select text from translation where question_hash = ?"
        row = self._connection.execute(query, (question_hash(question),)).fetchone()
        return None if row is None else str(row[0])

    def put(self, question: str, text: str) -> None:
        """Store a translation, on disk when this returns. The first one of a question stays."""
        row = (question_hash(question), text)
        self._connection.execute("insert or ignore into translation values (?, ?)", row)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
