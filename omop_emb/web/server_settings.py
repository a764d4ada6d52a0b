"""Server settings: who may ask `omop-emb serve`, and how much."""

from __future__ import annotations

from dataclasses import dataclass, field

from omop_emb.machine import processors
from omop_emb.web.review.sign_in import SignIn

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
"""The names in a Host header that only this machine can mean."""


def default_workers() -> int:
    """A thread per CPU that this process may use, at least two."""
    return max(2, processors())


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request and all of them together may take.

    Attributes:
        workers: threads that search and map.
        queue: requests that may wait for a worker; one more is refused with 503.
        request_seconds: for an answer, waiting included; then 503.
        body_seconds: for a request's body to arrive; then 408.
        header_seconds: for a request's header to arrive; then the connection is closed.
        connections: open at once; one more closes the one that has waited longest without a request.
        uploads: files that may be received at once; one more is refused with 503.
        upload_bytes: of a file that is sent to be reviewed.
        upload_seconds: for such a file to arrive.
        body_bytes, header_bytes, query_bytes, json_depth: of one request.
    """

    workers: int = field(default_factory=default_workers)
    queue: int = 64
    request_seconds: float = 60.0
    body_seconds: float = 20.0
    header_seconds: float = 10.0
    connections: int = 512
    uploads: int = 4
    upload_bytes: int = 200_000_000
    upload_seconds: float = 600.0
    body_bytes: int = 1_000_000
    header_bytes: int = 32_000
    query_bytes: int = 8_000
    json_depth: int = 32


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """How a server is reached.

    Attributes:
        token: what a client must present; None asks for none.
        allowed_hosts: names in a Host header beside those of this machine, in lower case.
        allowed_origins: of pages on other hosts that may ask, such as "http://127.0.0.1:3333".
        site: whose approvals and ranker are used.
        accept_precision: reconciliation calls a match what reaches it, as --accept-precision of `map` does;
            None calls nothing a match.
        sign_in: how reviewers are known.
        live_memory: whether approvals of reviews are remembered at once, and open terms ranked again.
        port: on which the server listens; part of the cookie's name, as cookies ignore ports.
    """

    token: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    site: str = "default"
    accept_precision: float | None = None
    sign_in: SignIn = field(default_factory=SignIn)
    live_memory: bool = True
    port: int = 8077
    limits: Limits = field(default_factory=Limits)
