"""A real client of `omop-emb serve`: first answer, warm answers, typing, many clients, memory, equality."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import httpx
from psycopg.conninfo import conninfo_to_dict
from ratios import Ratio, embedded_server, options, report
from sqlalchemy import URL

from omop_emb.database import driver_connection, engine_scope, migrate, session_scope
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.indexing.build import build_index
from omop_emb.mapping import map_terms
from omop_emb.records import IndexType
from omop_emb.service import demo
from omop_emb.vocabulary import load_vocabulary

_COMMAND = "from omop_emb.cli.main import main; main()"


@dataclass
class Server:
    """A running server, and a client that has its token."""

    process: subprocess.Popen[str]
    client: httpx.Client
    started: float = field(default_factory=time.perf_counter)

    def search(self, term: str) -> httpx.Response:
        return self.client.get("/api/v1/search", params={"q": term})

    def complete(self, prefix: str) -> httpx.Response:
        return self.client.get("/api/v1/complete", params={"q": prefix})

    @property
    def memory_bytes(self) -> int:
        """What the process has of its own in memory; mapped files are the kernel's to take back."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("RssAnon:"))) * 1024

    @property
    def processor_seconds(self) -> float:
        """What the process has used; on a busy machine it says more than the clock."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serve() -> Iterator[Server]:
    process = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    started = time.perf_counter()
    assert process.stdout is not None
    link = urlsplit(process.stdout.readline().strip())
    token = parse_qs(link.query)["token"][0]
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    try:
        with httpx.Client(
            base_url=f"http://{link.netloc}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=120,
            trust_env=False,
            limits=limits,
        ) as client:
            yield Server(process, client, started)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def timed(ask: Callable[[str], httpx.Response], texts: Sequence[str]) -> list[float]:
    """Seconds of each answer, one after the other, sorted."""
    seconds = []
    for text in texts:
        began = time.perf_counter()
        answer = ask(text)
        seconds.append(time.perf_counter() - began)
        assert answer.status_code == 200, answer.text
    return sorted(seconds)


def share(seconds: list[float], part: float) -> float:
    """A percentile in milliseconds."""
    return 1000 * seconds[min(len(seconds) - 1, int(part * len(seconds)))]


def first_answer(term: str) -> tuple[float, float]:
    """Seconds from the start of the process to the first answer, and its processor seconds until then."""
    with serve() as server:
        assert server.search(term).status_code == 200
        return time.perf_counter() - server.started, server.processor_seconds


def processor_time(server: Server, before: float, requests: int) -> str:
    """What a request has cost the server since `before`."""
    return f"{1000 * (server.processor_seconds - before) / requests:.0f} ms of processor time each"


def crowd(server: Server, terms: Sequence[str], clients: int, seconds: float) -> tuple[list[float], int]:
    """Seconds of all answers to clients that ask without a pause, sorted, and how many were no answer."""
    until, times, failures = time.perf_counter() + seconds, [], [0] * clients

    def ask(number: int) -> None:
        for term in islice(cycle(terms), number * 7, None):
            began = time.perf_counter()
            if began > until:
                return
            if server.search(term).status_code == 200:
                times.append(time.perf_counter() - began)
            else:
                failures[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(times), sum(failures)


def memory_growth(server: Server, terms: Sequence[str], requests: int) -> Ratio:
    """Growth of the server's memory over many requests, after some that fill its caches."""
    timed(server.search, list(islice(cycle(terms), requests // 10)))
    before = server.memory_bytes
    timed(server.search, list(islice(cycle(terms), requests)))
    after = server.memory_bytes
    detail = f"{before / 1e6:.0f} MB, then {after / 1e6:.0f} MB"
    return Ratio(
        f"memory after {requests:,} requests", 100 * (after / before - 1), at_most=5, detail=detail, unit=" %"
    )


def differences(server: Server, terms: Sequence[str]) -> Callable[[], int]:
    """Asks for the mapping of the terms; what comes back counts those that map_terms() maps otherwise."""
    answer = server.client.post("/api/v1/map", json={"terms": list(terms)})
    assert answer.status_code == 200, answer.text
    served = [
        (one["decision"], one["probability"], [(c["concept_id"], c["score"]) for c in one["candidates"]])
        for one in answer.json()["terms"]
    ]

    def compare() -> int:
        with engine_scope() as engine, session_scope(engine) as session:
            mapped = map_terms(session, list(terms))
        own = [
            (one.decision.value, one.probability, [(c.concept_id, c.score) for c in one.candidates])
            for one in mapped
        ]
        return sum(mine != theirs for mine, theirs in zip(own, served, strict=True))

    return compare


def read_terms(path: Path | None) -> list[str]:
    if path is None:
        return [term.source_term for term in demo.terms()]
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t" if path.suffix == ".tsv" else ",")
        names = [row.get("name") or row.get("source_term") or row.get("source_name") or "" for row in rows]
    return list(dict.fromkeys(filter(None, names)))


@contextmanager
def sample_database() -> Iterator[None]:
    """A server of its own with the sample vocabulary, which the variables lead to."""
    with embedded_server() as conninfo:
        parts = {name: str(value) for name, value in conninfo_to_dict(conninfo).items()}
        database = parts.pop("dbname", None)
        url = URL.create("postgresql", database=database, query=parts).render_as_string()
        with mock.patch.dict(os.environ, OMOP_EMB_DATABASE_URL=url):
            with engine_scope() as engine:
                with session_scope(engine) as session:
                    migrate(driver_connection(session))
                    load_vocabulary(driver_connection(session), demo.SAMPLE)
                client = EmbeddingClient(document_prefix="", query_prefix="", warn=False)
                build_index(engine, client, index_type=IndexType.FLAT)
            yield


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--here", action="store_true", help="the database of the variables, instead of one with the sample"
    )
    parser.add_argument("--terms", type=Path, help="a CSV or TSV with a column name or source_term")
    parser.add_argument("--warm", type=int, default=200, help="terms that are asked for one by one")
    parser.add_argument("--clients", type=int, default=32, help="clients at once")
    parser.add_argument("--seconds", type=float, default=60, help="for which they ask")
    parser.add_argument("--requests", type=int, default=20_000, help="requests between measures of memory")
    parser.add_argument("--equal", type=int, default=1_000, help="terms that map_terms() maps too")


def main() -> None:
    chosen = options(__doc__ or "", add_arguments)
    terms = read_terms(chosen.terms)
    with nullcontext() if chosen.here else sample_database():
        first_answer(terms[0])  # makes the index files that are kept
        first, first_processor = min(first_answer(terms[0]) for _ in range(chosen.rounds))
        with serve() as server:
            timed(server.search, terms[:10])
            before = server.processor_seconds
            warm = timed(server.search, list(islice(cycle(terms), chosen.warm)))
            warm_cost = processor_time(server, before, chosen.warm)
            prefixes = [term[:end] for term in terms[: chosen.warm // 4] for end in (2, 3, 5, 8)]
            before = server.processor_seconds
            typing = timed(server.complete, prefixes)
            typing_cost = processor_time(server, before, len(prefixes))
            before = server.processor_seconds
            crowded, failed = crowd(server, terms, chosen.clients, chosen.seconds)
            crowd_cost = processor_time(server, before, len(crowded))
            memory = memory_growth(server, terms, chosen.requests) if chosen.requests else None
            compare = differences(server, terms[: chosen.equal])
        different = compare()
    many = f"{chosen.clients} clients for {chosen.seconds:g} s"
    rate = f"{len(crowded) / chosen.seconds:.0f} answers a second, {crowd_cost}"
    ratios = [
        Ratio(
            "first answer after start",
            first,
            at_most=3,
            unit=" s",
            detail=f"{first_processor:.1f} s of processor time",
        ),
        Ratio("one term, warm: p50", share(warm, 0.5), at_most=60, unit=" ms", detail=warm_cost),
        Ratio("one term, warm: p95", share(warm, 0.95), at_most=150, unit=" ms"),
        Ratio("type-ahead: p95", share(typing, 0.95), at_most=30, unit=" ms", detail=typing_cost),
        Ratio(f"{many}: p95", share(crowded, 0.95), at_most=2000, detail=rate, unit=" ms"),
        Ratio(f"{many}: errors", failed, at_most=0, unit=""),
        *([memory] if memory else []),
        Ratio(
            "answers unlike map's",
            different,
            at_most=0,
            detail=f"of {len(terms[: chosen.equal]):,} terms",
            unit="",
        ),
    ]
    report("serve", ratios, chosen)


if __name__ == "__main__":
    main()
