"""How rare a vocabulary's 3-grams and words are, kept in the database for whoever does not read it whole."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import psycopg
from psycopg import errors as postgres
from psycopg.rows import tuple_row

from omop_emb.database.transactions import atomic
from omop_emb.mapping.retrieval import array_cache
from omop_emb.mapping.retrieval.string_array import Texts
from omop_emb.mapping.retrieval.tfidf import Grams, Words

_OUT_OF_REACH = (postgres.UndefinedTable, postgres.InsufficientPrivilege, postgres.ReadOnlySqlTransaction)
_KEPT = 4  # states: of the clients' versions, and of the release before


def remember(connection: psycopg.Connection[Any], state: str, grams: Grams, words: Words) -> None:
    """Keep the statistics of a vocabulary's state, where the caller may write; nothing is committed."""
    try:
        with atomic(connection):
            connection.execute(
                "insert into omop_emb.mapping_statistics (state, contents) values (%s, %s) "
                "on conflict do nothing",
                (_name(state), _packed(grams, words)),
            )
            connection.execute(
                "delete from omop_emb.mapping_statistics where state not in "
                "(select state from omop_emb.mapping_statistics order by made_at desc limit %s)",
                (_KEPT,),
            )
    except _OUT_OF_REACH:
        return


def find(connection: psycopg.Connection[Any], state: str) -> tuple[Grams, Words] | None:
    """The statistics of a vocabulary's state; None where nobody has kept them."""
    try:
        with atomic(connection):
            row = (
                connection.cursor(row_factory=tuple_row)
                .execute("select contents from omop_emb.mapping_statistics where state = %s", (_name(state),))
                .fetchone()
            )
    except _OUT_OF_REACH:
        return None
    return None if row is None else _unpacked(bytes(row[0]))


def _name(state: str) -> str:
    return hashlib.sha256(f"{array_cache.sources()} {state}".encode()).hexdigest()


def _packed(grams: Grams, words: Words) -> bytes:
    texts = Texts.of(words.number)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        grams=np.flatnonzero(grams.column >= 0),
        columns=np.array(len(grams.column)),
        gram_idf=grams.idf,
        letters=texts.letters,
        first=texts.first,
        word_idf=words.idf,
        unseen=np.array([grams.unseen_idf, words.unseen_idf]),
    )
    return buffer.getvalue()


def _unpacked(contents: bytes) -> tuple[Grams, Words]:
    with np.load(io.BytesIO(contents), allow_pickle=False) as arrays:
        column = np.full(int(arrays["columns"]), -1, np.int32)
        column[arrays["grams"]] = np.arange(len(arrays["grams"]), dtype=np.int32)
        texts = Texts(arrays["letters"], arrays["first"])
        unseen_gram, unseen_word = arrays["unseen"].tolist()
        return (
            Grams(column, arrays["gram_idf"], unseen_gram),
            Words({word: place for place, word in enumerate(texts)}, arrays["word_idf"], unseen_word),
        )
