"""Stores: where a search of vectors finds its rows."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol

import psycopg

from omop_emb import config
from omop_emb.arrays import Vectors
from omop_emb.search import search
from omop_emb.search.options import SearchOptions
from omop_emb.search.search import SearchResult
from omop_emb.spaces.registry import Space


class Store(Protocol):
    """Holds the rows of spaces, and finds the nearest concepts of query vectors among them.

    Threads may share it. search.search() says what the arguments mean and what is returned.
    """

    def search(
        self,
        connection: psycopg.Connection[Any],
        space: Space,
        queries: Vectors,
        options: SearchOptions,
        *,
        queries_in_all: int = 0,
        explain: bool = False,
    ) -> SearchResult:
        """The k nearest concepts of each query: one list per query, same order, nearest first; and how."""


class PostgresStore:
    """The tables of the spaces themselves."""

    def search(
        self,
        connection: psycopg.Connection[Any],
        space: Space,
        queries: Vectors,
        options: SearchOptions,
        *,
        queries_in_all: int = 0,
        explain: bool = False,
    ) -> SearchResult:
        """As search.search()."""
        return search.search(
            connection, space, queries, options, queries_in_all=queries_in_all, explain=explain
        )


def configured_store() -> Store:
    """The store that OMOP_EMB_SEARCH_URL names; PostgreSQL's where it is not set.

    Raises:
        ConfigurationError: it is no URL of a Qdrant server.
        MissingExtraError: qdrant-client is not installed.
    """
    url = config.variable("OMOP_EMB_SEARCH_URL")
    return PostgresStore() if url is None else _qdrant_store(url)


@lru_cache(maxsize=8)  # with its open connections
def _qdrant_store(url: str) -> Store:
    from omop_emb.search.qdrant.qdrant_server import URL_VARIABLE, QdrantAddress
    from omop_emb.search.qdrant.qdrant_store import QdrantStore

    return QdrantStore(QdrantAddress.parse(url, URL_VARIABLE))
