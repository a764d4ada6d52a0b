"""A generative model's answers kept on this machine, readable only by who has the question."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

from omop_emb import config

_TABLE = "create table if not exists answer (key blob primary key, value blob not null) without rowid"


class JudgeCache:
    """Answers by question, in an SQLite file in the cache folder.

    Neither questions nor answers are stored in clear: the key is a hash of the question, and the answer
    is encrypted with another hash of it. Who does not have the very same question reads nothing.
    Not for several threads.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Open the file, and make it if need be, for its owner alone; the default is in the cache folder."""
        path = path if path is not None else config.cache_dir() / "judge.sqlite3"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        self._connection = sqlite3.connect(path, timeout=30.0, isolation_level=None)
        self._connection.execute(_TABLE)

    def get(self, question: str) -> str | None:
        """The answer to a question, None where there is none."""
        with closing(self._connection.cursor()) as cursor:
            row = cursor.execute("select value from answer where key = ?", (_key(question),)).fetchone()
        return None if row is None else _crypt(question, row[0]).decode()

    def put(self, question: str, answer: str) -> None:
        """Keep an answer; it is on disk when this returns. The first answer to a question stays."""
        self._connection.execute(
            "insert or ignore into answer values (?, ?)", (_key(question), _crypt(question, answer.encode()))
        )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _key(question: str) -> bytes:
    return hashlib.sha256(b"omop-emb judge key\0" + question.encode()).digest()


def _crypt(question: str, data: bytes) -> bytes:
    """Encrypt or decrypt: the same keystream both times, and one question has one answer only."""
    stream = hashlib.shake_256(b"omop-emb judge value\0" + question.encode()).digest(len(data))
    return bytes(a ^ b for a, b in zip(data, stream, strict=True))
