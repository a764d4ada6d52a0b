"""A Qdrant server in process: its REST interface for the requests that are used, over its real engine.

The engine is qdrant-edge, one shard for each collection; the official client talks to it over a socket.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import qdrant_edge as edge

_DISTANCES = {"Dot": edge.Distance.Dot, "Cosine": edge.Distance.Cosine}
_TYPES = {"float16": edge.VectorStorageDatatype.Float16, "float32": edge.VectorStorageDatatype.Float32}
_SCHEMAS = {
    "integer": edge.PayloadSchemaType.Integer,
    "keyword": edge.PayloadSchemaType.Keyword,
}
_NO_CHANGE = {"optimizer_status": "ok", "segments_count": 1, "payload_schema": {}}


_MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder of our own in it


class RefusalError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)


@dataclass
class Collection:
    """A shard, and what the server keeps beside it."""

    shard: edge.EdgeShard
    folder: str
    vectors: dict[str, Any]
    metadata: dict[str, Any]


@dataclass
class QdrantServer:
    """The state of a server, and what was sent to it.

    Attributes:
        key: the key that requests need; "" for none.
        keeps_metadata: False for a server older than collections' metadata.
        requests: method and path of each request, in order.
        bodies: what each of them held.
        before: called with each request before it is done; raises to refuse it.
        query_seconds: how long the engine has taken for queries so far.
        colour: the status that collections report.
        graph: m and ef_construct of new collections, and an index for any number of rows; None for a server's
            own, which has an index from 10,000 kB on.
    """

    url: str = ""
    key: str = ""
    keeps_metadata: bool = True
    colour: str = "green"
    query_seconds: float = 0.0
    graph: tuple[int, int] | None = None
    collections: dict[str, Collection] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    before: Callable[[str, str], None] | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def address(self) -> str:
        """As omop-emb writes it."""
        return "qdrant+" + self.url

    def optimize(self, alias: str) -> None:
        """Build the indexes of a collection, as a server does by itself."""
        self.collections[self.aliases.get(alias, alias)].shard.optimize()

    def lose_a_row(self, name: str) -> None:
        """Delete one of a collection's rows."""
        shard = self.collections[name].shard
        [first], _ = shard.scroll(edge.ScrollRequest(limit=1))
        shard.update(edge.UpdateOperation.delete_points([first.id]))

    def reset(self) -> None:
        """Forget everything."""
        for name in list(self.collections):
            self._delete(name)
        self.aliases.clear()
        self.requests.clear()
        self.bodies.clear()
        self.key, self.keeps_metadata, self.before, self.colour, self.graph = "", True, None, "green", None

    def answer(self, method: str, path: str, key: str, body: Any) -> Any:
        """The result of a request."""
        self.requests.append((method, path))
        self.bodies.append(body)
        if self.before is not None:
            self.before(method, path)
        with self._lock:
            if self.key and key != self.key:
                raise RefusalError(401, "Must provide an API key or an Authorization bearer token")
            match method, path.strip("/").split("/"):
                case "GET", ["aliases"]:
                    return {"aliases": [self._alias(name) for name in self.aliases]}
                case "POST", ["collections", "aliases"]:
                    return self._change_aliases(body["actions"])
                case "GET", ["collections"]:
                    return {"collections": [{"name": name} for name in self.collections]}
                case "PUT", ["collections", name]:
                    return self._create(name, body)
                case "DELETE", ["collections", name]:
                    return self._delete(name)
                case "GET", ["collections", name]:
                    return self._info(self._collection(name))
                case "PATCH", ["collections", name]:
                    self._collection(name).metadata.update(body["metadata"])
                    return True
                case "PUT", ["collections", name, "index"]:
                    operation = edge.UpdateOperation.create_field_index(
                        body["field_name"], _SCHEMAS[body["field_schema"]]
                    )
                    self._collection(name).shard.update(operation)
                    return {"operation_id": 1, "status": "completed"}
                case "PUT", ["collections", name, "points"]:
                    points = [edge.Point(p["id"], p["vector"], p["payload"]) for p in body["points"]]
                    self._collection(name).shard.update(edge.UpdateOperation.upsert_points(points))
                    return {"operation_id": 1, "status": "completed"}
                case "POST", ["collections", name, "points", "count"]:
                    return {"count": self._collection(name).shard.count(edge.CountRequest(exact=True))}
                case "POST", ["collections", name, "points", "query", "batch"]:
                    return [self._query(self._collection(name), request) for request in body["searches"]]
        raise RefusalError(404, f"no such request here: {method} {path}")

    def _collection(self, name: str) -> Collection:
        try:
            return self.collections[self.aliases.get(name, name)]
        except KeyError:
            raise RefusalError(404, f"Not found: Collection `{name}` doesn't exist!") from None

    def _alias(self, name: str) -> dict[str, str]:
        return {"alias_name": name, "collection_name": self.aliases[name]}

    def _change_aliases(self, actions: list[dict[str, Any]]) -> bool:
        for action in actions:
            if "create_alias" in action:
                said = action["create_alias"]
                self._collection(said["collection_name"])
                self.aliases[said["alias_name"]] = said["collection_name"]
            else:
                del self.aliases[action["delete_alias"]["alias_name"]]
        return True

    def _create(self, name: str, body: dict[str, Any]) -> bool:
        if name in self.collections:
            raise RefusalError(409, f"Wrong input: Collection `{name}` already exists!")
        folder = tempfile.mkdtemp(prefix="omop-emb-test-qdrant-", dir=_MEMORY if _MEMORY.is_dir() else None)
        vectors = {
            vector: edge.EdgeVectorParams(
                size=said["size"],
                distance=_DISTANCES[said["distance"]],
                datatype=_TYPES[said["datatype"]],
                hnsw_config=None if said.get("hnsw_config") is None else _graph(said["hnsw_config"]["m"]),
            )
            for vector, said in body["vectors"].items()
        }
        optimizers, graph = edge.EdgeOptimizersConfig(), None
        if self.graph is not None:
            optimizers, graph = edge.EdgeOptimizersConfig(indexing_threshold=1), _graph(*self.graph, 1)
        config = edge.EdgeConfig(vectors=vectors, optimizers=optimizers, hnsw_config=graph, wal_enabled=False)
        metadata = (body.get("metadata") or {}) if self.keeps_metadata else {}
        shard = edge.EdgeShard.create(folder, config)
        self.collections[name] = Collection(shard, folder, body["vectors"], dict(metadata))
        return True

    def _delete(self, name: str) -> bool:
        collection = self.collections.pop(name, None)
        if collection is not None:
            collection.shard.close()
            shutil.rmtree(collection.folder, ignore_errors=True)
        return collection is not None

    def _info(self, collection: Collection) -> dict[str, Any]:
        info = collection.shard.info()
        return {
            **_NO_CHANGE,
            "status": self.colour,
            "points_count": info.points_count,
            "indexed_vectors_count": info.indexed_vectors_count,
            "config": {
                "params": {"vectors": collection.vectors},
                "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000},
                "optimizer_config": {
                    "deleted_threshold": 0.2,
                    "vacuum_min_vector_number": 1000,
                    "default_segment_number": 0,
                    "flush_interval_sec": 5,
                },
                "metadata": collection.metadata,
            },
        }

    def _query(self, collection: Collection, asked: dict[str, Any]) -> dict[str, Any]:
        prefetch = asked.get("prefetch")
        request = edge.QueryRequest(
            limit=asked["limit"],
            query=_nearest(asked),
            prefetches=None
            if prefetch is None
            else [
                edge.Prefetch(
                    limit=prefetch["limit"],
                    query=_nearest(prefetch),
                    filter=_filter(prefetch.get("filter")),
                    params=_params(prefetch.get("params")),
                )
            ],
            with_vector=asked["with_vector"],
            with_payload=asked["with_payload"],
            filter=_filter(asked.get("filter")),
            params=_params(asked.get("params")),
        )
        began = time.perf_counter()
        points = collection.shard.query(request)
        self.query_seconds += time.perf_counter() - began
        return {
            "points": [
                {
                    "id": str(p.id),
                    "version": p.version,
                    "score": p.score,
                    "payload": p.payload,
                    "vector": p.vector,
                }
                for p in points
            ]
        }


def _graph(m: int, ef_construct: int = 100, full_scan_threshold: int = 10_000) -> edge.HnswIndexConfig:
    return edge.HnswIndexConfig(m=m, ef_construct=ef_construct, full_scan_threshold=full_scan_threshold)


def _nearest(asked: dict[str, Any]) -> Any:
    query = asked["query"]
    return edge.Query.Nearest(query["nearest"] if isinstance(query, dict) else query, using=asked["using"])


def _params(said: dict[str, Any] | None) -> edge.SearchParams | None:
    if said is None:
        return None
    return edge.SearchParams(hnsw_ef=said.get("hnsw_ef"), exact=bool(said.get("exact")))


def _filter(said: dict[str, Any] | None) -> edge.Filter | None:
    if said is None:
        return None
    conditions: list[Any] = []
    for condition in said["must"]:
        match = condition["match"]
        what = edge.MatchAny(match["any"]) if "any" in match else edge.MatchValue(match["value"])
        conditions.append(edge.FieldCondition(condition["key"], match=what))
    return edge.Filter(must=conditions)


def _handler(server: QdrantServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet, or the second waits for the first one's acknowledgement

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            try:
                key = self.headers.get("api-key", "")
                status, result = 200, server.answer(self.command, urlsplit(self.path).path, key, body)
                answer = {"result": result, "status": "ok", "time": 0.0}
            except RefusalError as refusal:
                status, answer = refusal.status, {"status": {"error": str(refusal)}, "time": 0.0}
            sent = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - names of the base class

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


class _Listening(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that was killed."""


@contextmanager
def qdrant_server() -> Iterator[QdrantServer]:
    """A server with nothing in it, on a port of its own."""
    state = QdrantServer()
    with _Listening(("127.0.0.1", 0), _handler(state)) as listening:
        state.url = f"http://127.0.0.1:{listening.server_address[1]}"
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            listening.shutdown()
            thread.join()
            state.reset()
