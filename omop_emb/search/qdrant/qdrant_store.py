"""Qdrant store: searches the published copy of a space, with the distances and ties of PostgreSQL's store.

Qdrant finds candidates; their vectors, which it keeps exactly as published, are ranked again in float64.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg

from omop_emb.arrays import Floats, Vectors
from omop_emb.errors import InputError, SpaceError, SpaceMismatchError
from omop_emb.records import ConceptMatch, IndexType, MetricType
from omop_emb.search import ranking
from omop_emb.search.options import SearchOptions
from omop_emb.search.planner import SearchMethod, SearchPlan
from omop_emb.search.qdrant.published_space import (
    FULL,
    SMALL,
    PublishedSpace,
    lets_nothing_through,
    passing_filter,
    read_published,
)
from omop_emb.search.qdrant.qdrant_server import URL_VARIABLE, QdrantAddress, open_client, qdrant_errors
from omop_emb.search.ranking import RankedRows
from omop_emb.search.search import SearchResult
from omop_emb.spaces import filters
from omop_emb.spaces.registry import Space

if TYPE_CHECKING:
    from qdrant_client import models

logger = logging.getLogger(__name__)

_SLACK = 24  # rows beyond k, so that a second request is rare
_MIN_CANDIDATES = 128  # that an index looks at, and that small vectors give to be ranked by whole ones
_CANDIDATES_PER_ROW = 4  # or so many for each row that is fetched, if that is more
_QUERIES = 16  # of one request: 16 answers of 34 vectors with 384 dimensions have 2 MB
_ATTEMPTS = 3
# Products of the query in half precision with rows nearly of unit length rank like any metric but for this:
# half precision puts a row's length off by at most 2^-11, and the query by as much.
_MARGIN = 3e-3


@dataclass(frozen=True)
class _Found:
    """What a query found."""

    ranked: RankedRows
    payloads: dict[tuple[int, str, int], dict[str, Any]]
    fetched: int
    fell_back: bool


class QdrantStore:
    """A Qdrant server with a published copy of the space that is searched.

    Threads may share it. Nothing is opened before the first search.

    Args:
        address: where the server is, and the collection or alias.
    """

    def __init__(self, address: QdrantAddress) -> None:
        self._address = address
        self._client = open_client(address)
        self._published: dict[str, PublishedSpace] = {}
        self._warned: set[tuple[str, str | None]] = set()

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
        """As search.search(), but of the published rows.

        The index is used unless the options ask for an exact search, or for a recall: Qdrant's is not known.

        Raises:
            InputError: the metric is L1.
            SpaceNotFoundError: nothing is published there.
            SpaceMismatchError: what is published was made by another model, or with other settings.
            SpaceError: it is incomplete.
            DatabaseError: the server cannot be reached.
        """
        if options.metric_type is MetricType.L1:
            raise InputError(f"Qdrant cannot rank by L1 here: choose another metric, or unset {URL_VARIABLE}")
        filters.filter_condition(connection, options.concept_filter)  # raises for an unknown value
        from qdrant_client.http.exceptions import UnexpectedResponse

        is_exact = options.exact or options.recall is not None or options.index_type is IndexType.FLAT
        with qdrant_errors(self._address):
            for attempt in range(_ATTEMPTS):
                try:
                    collection, published = self._collection(space)
                    started = time.perf_counter()
                    found = self._search_all(collection, published, queries, options, is_exact)
                    break
                except UnexpectedResponse as error:
                    # The alias was switched since it was read, and the earlier collection deleted.
                    if error.status_code != 404 or attempt == _ATTEMPTS - 1:
                        raise
        plan = SearchPlan(
            method=SearchMethod.QDRANT,
            reason=f"{URL_VARIABLE} is set" + (", and every row was compared" if is_exact else ""),
            queries=len(queries),
            ef_search=None if is_exact else _candidates(options.k + _SLACK),
            index=collection,
            fetched=sum(one.fetched for one in found),
            fell_back=sum(one.fell_back for one in found),
            milliseconds=(time.perf_counter() - started) * 1e3,
        )
        return SearchResult(matches=[_matches(one) for one in found], plan=plan, space=space.name)

    def _collection(self, space: Space) -> tuple[str, PublishedSpace]:
        """The collection that is asked, by its own name: an alias may be switched between two requests."""
        aliases = {alias.alias_name: alias.collection_name for alias in self._client.get_aliases().aliases}
        name = aliases.get(self._address.collection, self._address.collection)
        published = self._published.get(name)
        if published is None:
            published = read_published(self._client, name)
            if not published.is_complete:
                raise SpaceError(f"the Qdrant collection {name!r} is incomplete: publish the space again")
            self._published[name] = published
        if differences := published.fingerprint.differences(space.fingerprint):
            raise SpaceMismatchError(
                f"the Qdrant collection {name!r} holds vectors of another model than space {space.name!r}: "
                f"{', '.join(differences)}; publish that space, activate the other, or unset {URL_VARIABLE}"
            )
        held, known = published.vocabulary_release, space.vocabulary_release
        if held != known and (name, known) not in self._warned:
            self._warned.add((name, known))
            logger.warning(
                "the Qdrant collection %r holds %s, but space %r holds %s: run omop-emb index publish",
                name,
                held or "no whole release",
                space.name,
                known or "no whole release",
            )
        return name, published

    def _search_all(
        self,
        collection: str,
        published: PublishedSpace,
        queries: Vectors,
        options: SearchOptions,
        is_exact: bool,
    ) -> list[_Found]:
        if lets_nothing_through(options.concept_filter):
            return [_Found(ranking.NO_ROWS, {}, 0, False)] * len(queries)
        asked = _Asked(self._client, collection, published, options)
        found = []
        limit = options.k + _SLACK
        for start in range(0, len(queries), _QUERIES):
            part = queries[start : start + _QUERIES]
            for query, points in zip(part, asked(part, limit, is_exact), strict=True):
                found.append(_nearest(asked, query, points, options, is_exact))
        return found


class _Asked:
    """Requests for the rows nearest to queries, in one collection and with one filter."""

    def __init__(
        self, client: Any, collection: str, published: PublishedSpace, options: SearchOptions
    ) -> None:
        self._client, self._collection, self._published = client, collection, published
        self._filter = passing_filter(options.concept_filter)

    def __call__(self, queries: Vectors, limit: int, is_exact: bool) -> list[list[models.ScoredPoint]]:
        """The points of each query, nearest first, at most `limit`."""
        requests = [self._request(query.tolist(), limit, is_exact) for query in queries]
        answers = self._client.query_batch_points(self._collection, requests=requests)
        return [answer.points for answer in answers]

    def _request(self, query: list[float], limit: int, is_exact: bool) -> models.QueryRequest:
        from qdrant_client import models

        request = models.QueryRequest(
            query=query, using=FULL, limit=limit, with_payload=True, with_vector=[FULL]
        )
        small = self._published.small
        if is_exact or small is None:
            ef = None if is_exact else _candidates(limit)
            request.filter, request.params = self._filter, models.SearchParams(exact=is_exact, hnsw_ef=ef)
            return request
        candidates = _candidates(limit)
        request.prefetch = models.Prefetch(
            query=query[:small],
            using=SMALL,
            limit=candidates,
            filter=self._filter,
            params=models.SearchParams(hnsw_ef=candidates),
        )
        return request


def _candidates(limit: int) -> int:
    return max(_MIN_CANDIDATES, limit * _CANDIDATES_PER_ROW)


def _nearest(
    asked: _Asked, query: Floats, points: list[models.ScoredPoint], options: SearchOptions, is_exact: bool
) -> _Found:
    """The k nearest rows among the points, and among more of them until no other can matter."""
    limit, fetched, fell_back = options.k + _SLACK, len(points), False
    while True:
        payloads = [point.payload or {} for point in points]
        keys = [(entry["concept_id"], entry["text_kind"], entry["text_hash"]) for entry in payloads]
        ranked, nearest_left = ranking.NO_ROWS, -np.inf
        if points:
            vectors = np.array([_vector(point) for point in points], np.float64)
            ranked, _ = ranking.rank_few_rows(keys, vectors, query, options.metric_type)
            nearest_left = float((vectors @ query.astype(np.float64)).min())
        has_enough = len(ranked) >= options.k
        is_enough = has_enough and ranked.similarities[options.k - 1] > nearest_left + _MARGIN
        if is_enough or len(points) < limit:
            if has_enough or is_exact:
                of_keys = dict(zip(keys, payloads, strict=True))
                return _Found(ranked.nearest(options.k), of_keys, fetched, fell_back)
            # The index gave too few: only comparing all rows tells whether more exist.
            is_exact = fell_back = True
        else:
            limit *= 4
        [points] = asked(query[None], limit, is_exact)
        fetched += len(points)


def _vector(point: models.ScoredPoint) -> Any:
    assert isinstance(point.vector, dict)  # noqa: S101 - each request asks for a named vector
    return point.vector[FULL]


def _matches(found: _Found) -> list[ConceptMatch]:
    rows = found.ranked
    keys = zip(rows.concept_ids.tolist(), rows.text_kinds.tolist(), rows.text_hashes.tolist(), strict=True)
    matches = []
    for (concept_id, kind, text_hash), distance, similarity in zip(
        keys, rows.distances.tolist(), rows.similarities.tolist(), strict=True
    ):
        said = found.payloads[concept_id, kind.decode(), text_hash]
        matches.append(
            ConceptMatch(
                concept_id,
                said["concept_name"],
                said["domain_id"],
                said["vocabulary_id"],
                said["concept_class_id"],
                said["standard_concept"],
                said["concept_code"],
                said["text"],
                distance,
                similarity,
            )
        )
    return matches
