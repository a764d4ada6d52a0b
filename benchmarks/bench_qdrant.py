"""A space and its copy in Qdrant: recall, time of a search, and bytes, of the same rows and queries.

The server is that of the tests: Qdrant's engine in process, behind an HTTP server in Python, asked by the
official client. The engine's own time is given too. --url measures a server of yours, but not its size.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from statistics import median, quantiles
from unittest import mock

import numpy as np
from psycopg import sql
from ratios import Ratio
from search_data import Data, K, _url, nearest, recall, searched
from search_run import run

from omop_emb import ConceptFilter, IndexType, database_engine
from omop_emb.database.engine import driver_connection
from omop_emb.embeddings.models import named_model
from omop_emb.indexing import publish
from omop_emb.search.options import SearchOptions
from omop_emb.search.qdrant.qdrant_server import QdrantAddress
from omop_emb.search.qdrant.qdrant_store import QdrantStore
from omop_emb.search.stores import PostgresStore, Store

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.qdrant_server import QdrantServer, qdrant_server

_DOMAINS = np.array(["Condition", "Drug", "Measurement", "Procedure"])
_SEARCHES: dict[str, dict[str, object]] = {
    "": {},
    ", by domain": {"concept_filter": ConceptFilter(domains=("Drug",))},
    ", exact": {"exact": True},
}


def main() -> None:
    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--small", type=int, default=256, help="numbers of the small vectors")
        parser.add_argument("--url", help="of a Qdrant server, qdrant+http://HOST:PORT")

    run("search, a copy in Qdrant", __doc__, _figures, dimensions=[384], queries=100, arguments=arguments)


def _figures(conninfo: str, data: Data, chosen: argparse.Namespace) -> Iterator[Ratio]:
    domains = _DOMAINS[np.arange(len(data.rows)) % len(_DOMAINS)]
    server = nullcontext() if chosen.url else qdrant_server()
    with searched(conninfo, data, IndexType.HNSW, domains=domains) as built, server as state:
        connection = driver_connection(built.session)
        # A copy takes them from the texts, which searches of the space itself do not look at.
        update = sql.SQL("update {} set domain_id = (%s::text[])[1 + concept_id %% 4]")
        connection.execute(update.format(built.space.tables.texts), [list(_DOMAINS)])
        built.session.commit()

        def each(store: Store, **options: object) -> tuple[list[float], float]:
            """The milliseconds of each query, and the recall."""
            found, taken = [], []
            for query in data.queries:
                began = time.perf_counter()
                result = store.search(connection, built.space, query[None], SearchOptions(k=K, **options))  # type: ignore[arg-type] # as given below
                taken.append((time.perf_counter() - began) * 1e3)
                found += result.matches
            has_filter = options.get("concept_filter") is not None
            passing = np.flatnonzero(domains == "Drug") if has_filter else None
            return taken, recall(found, nearest(data, data.queries, passing))

        def measured(name: str, store: Store) -> Iterator[Ratio]:
            for what, options in _SEARCHES.items():
                before = 0.0 if state is None else state.query_seconds
                taken, share = each(store, **options)
                detail = f"p95 {quantiles(taken, n=20)[18]:.1f} ms, recall at {K} {share:.3f}"
                if state is not None and state.query_seconds > before:
                    alone = (state.query_seconds - before) / len(taken) * 1e3
                    detail += f", the engine alone {alone:.1f} ms on average"
                yield Ratio(f"{data.name}: {name}{what}, p50", median(taken), unit="ms", detail=detail)

        yield from measured("pgvector", PostgresStore())
        row = connection.execute(
            "select pg_total_relation_size(%(rows)s) + pg_total_relation_size(%(rows)s || '_text')",
            {"rows": f"omop_emb.space_{built.space.space_id}"},
        ).fetchone()
        assert row is not None
        yield Ratio(f"{data.name}: pgvector, bytes per row", row[0] / len(data.rows), unit="")
        yield Ratio(f"{data.name}: pgvector, indexed and measured", built.seconds, unit="s")
        for small in (None, chosen.small):
            url = chosen.url if state is None else state.address
            name = "Qdrant" if small is None else f"Qdrant, {small} first"
            yield from _copied(conninfo, data, built.space.name, url, small, state, name, measured)


def _copied(
    conninfo: str,
    data: Data,
    space: str,
    url: str,
    small: int | None,
    state: QdrantServer | None,
    name: str,
    measured: Callable[[str, Store], Iterator[Ratio]],
) -> Iterator[Ratio]:
    """The figures of one copy."""
    engine = database_engine(_url(conninfo))
    began = time.perf_counter()
    # The rows are of no model: let them be cut as those of one that may be.
    known = mock.patch.object(publish, "find_model", return_value=named_model("nomic-embed-text:v1.5"))
    with known:
        publication = publish.publish_index(engine, space, url, small=small)
    engine.dispose()
    yield Ratio(f"{data.name}: {name}, copied", time.perf_counter() - began, unit="s")
    if state is not None:
        began = time.perf_counter()
        state.optimize(publication.collection)
        yield Ratio(f"{data.name}: {name}, indexed", time.perf_counter() - began, unit="s")
    yield from measured(name, QdrantStore(QdrantAddress.parse(url)))
    if state is not None:
        collection = state.collections[publication.collection]
        collection.shard.flush()
        files = (file for file in Path(collection.folder).rglob("*") if file.is_file())
        size = sum(file.stat().st_blocks * 512 for file in files)
        yield Ratio(f"{data.name}: {name}, bytes per row", size / len(data.rows), unit="")


if __name__ == "__main__":
    main()
