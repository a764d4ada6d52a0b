"""Metrics: counters and times for Prometheus, without terms, ids or addresses in their labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from omop_emb.web.worker_pool import WorkerPool

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2, 5, 10, 30, 60)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self, pool: WorkerPool, times_read: Callable[[], int]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter(
            "omop_emb_requests",
            "Requests, by method, route and status.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "omop_emb_request_seconds",
            "Time to answer a request.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._gauge("omop_emb_workers", "Threads that search and map.").set(pool.workers)
        self._gauge("omop_emb_workers_busy", "Threads at work.").set_function(lambda: pool.running)
        self._gauge("omop_emb_queue", "Requests that wait for a thread.").set_function(lambda: pool.waiting)
        self._gauge("omop_emb_queue_limit", "Requests that may wait.").set(pool.queue)
        self._gauge("omop_emb_refused", "Requests refused because too many waited.").set_function(
            lambda: pool.refused
        )
        self._gauge(
            "omop_emb_search_reads", "Times that vocabulary, vectors and approvals were read anew."
        ).set_function(times_read)

    def _gauge(self, name: str, documentation: str) -> Gauge:
        return Gauge(name, documentation, registry=self._registry)

    def count(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
