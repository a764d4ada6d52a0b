"""Concept search: the reading half of EmbeddingInterface, by texts, by vectors or by other concepts."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import psycopg
from numpy.typing import ArrayLike

from omop_emb.arrays import Vectors
from omop_emb.database.engine import driver_connection, readable_errors, short_transaction
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import ConfigurationError, InputError, checked_keywords
from omop_emb.interface.inputs import integer_ids, unit_rows
from omop_emb.interface.query_texts import QueryInput, matches_of_texts, valid_queries
from omop_emb.providers.parts import EmbeddingInput
from omop_emb.providers.query_cache import VectorStore
from omop_emb.records import ConceptFilter, ConceptMatch, EmbeddingRole, IndexType, MetricType
from omop_emb.search.options import SearchOptions
from omop_emb.search.search import SearchResult
from omop_emb.search.stores import Store, configured_store
from omop_emb.spaces import registry, stored_vectors
from omop_emb.spaces.registry import Space
from omop_emb.spaces.registry_cache import RegistryCache
from omop_emb.spaces.release import release_warning
from omop_emb.spaces.space_client import check_variables, client_of

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session


logger = logging.getLogger(__name__)


@checked_keywords
class ConceptSearch:
    """Finds concepts in the space of a client, or in the active one; see EmbeddingInterface."""

    def __init__(
        self, client: EmbeddingClient | None = None, *, query_store: VectorStore | None = None
    ) -> None:
        if client is not None and not isinstance(client, EmbeddingClient):
            raise InputError(
                f"client must be an EmbeddingClient, such as EmbeddingClient(); found {type(client).__name__}"
            )
        if client is not None and query_store is not None:
            raise ConfigurationError("pass query_store to the EmbeddingClient, which embeds the queries")
        self._client, self._query_store = client, query_store
        self._active_client: EmbeddingClient | None = None
        self._registry = RegistryCache()
        self._compared: tuple[Space, list[Space]] | None = None  # with the loaded release

    def get_nearest_concepts_from_query_texts(
        self,
        *,
        session: Session | Connection,
        index_type: IndexType | str | None = None,
        query_texts: Sequence[EmbeddingInput],
        metric_type: MetricType | str = MetricType.COSINE,
        k: int = 10,
        concept_filter: ConceptFilter | None = None,
        recall: float | None = None,
        exact: bool = False,
        combine: str = "one",
    ) -> list[list[ConceptMatch]]:
        """The k nearest concepts of each text: one list per text, same order, nearest first.

        The texts are always embedded as queries. Each distinct one is embedded and searched once, by the
        method that is cheapest for all. A list has k entries whenever k concepts pass the filter; ties are
        broken by concept_id; a concept appears once, with the nearest of its texts.

        Args:
            session: whose transaction is used; if it is in none, nothing stays open while the model embeds.
            index_type: FLAT or "flat" searches exactly, HNSW through the space's index; None is the space's
                own, with a client HNSW first.
            query_texts: free text; none may be blank. For a model that reads more than text a query may also
                be a Part, or a sequence of str and Part, whose pictures or pages are searched with.
            metric_type: the distance that ranks and is reported.
            k: how many concepts, at least 1.
            concept_filter: which concepts may be returned; None lets all through.
            recall: the mean share of the true nearest that an index must find, above 0 to 1; the search is
                exact where the index was not measured to reach it. None is 0.99, or what the index reaches.
            exact: find exactly the nearest, whatever the index and however long it takes.
            combine: "one" embeds the parts of a query together, "mean" takes the mean of each by itself.

        Raises:
            SpaceNotFoundError: nothing is embedded with this client's model and prefixes.
            SpaceError: the first build of the space is not finished.
            UnknownValueError: the filter names a domain, vocabulary or class that does not exist.
            InputError: a text is blank or no text.
        """
        options = SearchOptions.parse(index_type, metric_type, k, concept_filter, recall, exact)
        texts = list(valid_queries(query_texts))
        distinct_texts = len(set(texts))
        return list(
            self._matches_of_texts(session, texts, options, distinct_texts=distinct_texts, combine=combine)
        )

    def iter_nearest_concepts_from_query_texts(
        self,
        *,
        session: Session | Connection,
        index_type: IndexType | str | None = None,
        query_texts: Iterable[str],
        metric_type: MetricType | str = MetricType.COSINE,
        k: int = 10,
        concept_filter: ConceptFilter | None = None,
        recall: float | None = None,
        exact: bool = False,
    ) -> Iterator[list[ConceptMatch]]:
        """The lists of get_nearest_concepts_from_query_texts one by one, in constant memory.

        The arguments are the same, but query_texts may be of any length, such as a generator. 16,384 texts at
        a time are read; all are searched in the space that is current at the call. Between two lists the
        caller may use the session, and may commit.
        """
        options = SearchOptions.parse(index_type, metric_type, k, concept_filter, recall, exact)
        return self._matches_of_texts(session, valid_queries(query_texts), options)

    def explain_search(
        self,
        *,
        session: Session | Connection,
        index_type: IndexType | str | None = None,
        query_texts: Sequence[EmbeddingInput],
        metric_type: MetricType | str = MetricType.COSINE,
        k: int = 10,
        concept_filter: ConceptFilter | None = None,
        recall: float | None = None,
        exact: bool = False,
        combine: str = "one",
    ) -> SearchResult:
        """What get_nearest_concepts_from_query_texts finds, and how: method, reason, rows read and time.

        The arguments are the same. It takes the time of one more query, for the server to explain the first.
        """
        options = SearchOptions.parse(index_type, metric_type, k, concept_filter, recall, exact)
        texts = list(valid_queries(query_texts))
        with readable_errors():
            with short_transaction(session) as connection:
                space, client = self._space_and_client(connection, options.index_type)
            started = time.perf_counter()
            queries = client.embeddings(texts, embedding_role=EmbeddingRole.QUERY, combine=combine)
            milliseconds = (time.perf_counter() - started) * 1e3
            with short_transaction(session) as connection:
                result = self._store.search(connection, space, queries, options, explain=True)
        return replace(result, embedding_milliseconds=milliseconds)

    def get_nearest_concepts(
        self,
        *,
        session: Session | Connection,
        index_type: IndexType | str | None = None,
        query_embeddings: ArrayLike,
        metric_type: MetricType | str = MetricType.COSINE,
        k: int = 10,
        concept_filter: ConceptFilter | None = None,
        recall: float | None = None,
        exact: bool = False,
    ) -> list[list[ConceptMatch]]:
        """Like get_nearest_concepts_from_query_texts, for query vectors that the caller already has.

        query_embeddings are (n, dimensions), made by the space's model for QUERY; rows are normalised. No
        model is loaded. The other arguments are the same.

        Raises:
            InputError: the shape does not fit, or a row is zero or not finite.
        """
        options = SearchOptions.parse(index_type, metric_type, k, concept_filter, recall, exact)
        with readable_errors():
            connection = driver_connection(session)
            space = self._space(connection, options.index_type)
            queries = unit_rows(query_embeddings, space.fingerprint.dimensions)
            return self._store.search(connection, space, queries, options).matches

    def get_similar_concepts(
        self,
        *,
        session: Session | Connection,
        index_type: IndexType | str | None = None,
        concept_ids: Sequence[int],
        metric_type: MetricType | str = MetricType.COSINE,
        k: int = 10,
        concept_filter: ConceptFilter | None = None,
        recall: float | None = None,
        exact: bool = False,
    ) -> list[list[ConceptMatch]]:
        """The k concepts nearest to each concept, itself left out; nothing is embedded.

        The stored vector of the concept's name is compared with all texts of the others. No model is loaded.
        The given concepts need not pass the filter; the other arguments are those of a search for texts.

        Raises:
            InputError: a concept is not embedded in the space.
        """
        options = SearchOptions.parse(index_type, metric_type, k, concept_filter, recall, exact)
        ids = integer_ids(concept_ids)
        with readable_errors():
            connection = driver_connection(session)
            space = self._space(connection, options.index_type)
            queries = stored_vectors.concept_vectors(connection, space, ids)
            result = self._store.search(connection, space, queries, replace(options, k=options.k + 1))
        return [
            [match for match in matches if match.concept_id != concept_id][: options.k]
            for concept_id, matches in zip(ids, result.matches, strict=True)
        ]

    def _matches_of_texts(
        self,
        session: Session | Connection,
        texts: Iterable[QueryInput],
        options: SearchOptions,
        *,
        distinct_texts: int = 0,
        combine: str = "one",
    ) -> Iterator[list[ConceptMatch]]:
        with readable_errors(), short_transaction(session) as connection:
            space, client = self._space_and_client(connection, options.index_type)

        def search_part(queries: Vectors, in_all: int) -> list[list[ConceptMatch]]:
            # Each time anew: the caller may have committed since, which gives the connection back.
            with readable_errors(), short_transaction(session) as connection:
                return self._store.search(connection, space, queries, options, queries_in_all=in_all).matches

        return matches_of_texts(texts, client, search_part, distinct_texts=distinct_texts, combine=combine)

    @cached_property
    def _store(self) -> Store:
        return configured_store()

    def _space(self, connection: psycopg.Connection[Any], index_type: IndexType | None) -> Space:
        spaces = self._registry.all_spaces(connection)
        if self._client is not None:
            space = registry.choose_space(spaces, self._client.fingerprint, index_type)
        else:
            space = registry.choose_space(spaces)
            check_variables(space)
        registry.check_complete(space)
        self._warn_once(connection, space, spaces)
        return space

    def _warn_once(self, connection: psycopg.Connection[Any], space: Space, spaces: list[Space]) -> None:
        """Log if the space holds another release than the loaded one; again when either changes."""
        compared = self._compared
        # The list is the same object as long as neither a space nor the loaded release changes.
        if compared is None or compared[0] is not space or compared[1] is not spaces:
            self._compared = space, spaces
            if warning := release_warning(connection, space):
                logger.warning("%s", warning)

    def _space_and_client(
        self, connection: psycopg.Connection[Any], index_type: IndexType | None
    ) -> tuple[Space, EmbeddingClient]:
        space = self._space(connection, index_type)
        return space, self._client or self._client_of(space)

    def _client_of(self, space: Space) -> EmbeddingClient:
        client = self._active_client
        if client is None or client.fingerprint != space.fingerprint:
            self._active_client = client = client_of(space, query_store=self._query_store)
        return client
