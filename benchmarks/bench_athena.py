"""A whole Athena download of any size: loaded, embedded at no cost, searched, mapped to, replaced."""

from __future__ import annotations

import json
import os
import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psycopg
from athena import bare_load, hashed_words
from athena.athena_files import Download, write
from athena.athena_terms import write_terms
from athena.measured_process import Cost, run_command
from ratios import Ratio, options, report

from omop_emb.server import supervisor

STEPS = ("load", "bare", "build", "dense", "map", "search", "next")
_MODEL = "hashed:words"


class Bench:
    """The steps, each of which needs those before it."""

    def __init__(self, folder: Path, chosen: Namespace) -> None:
        self.folder, self.chosen = folder, chosen
        self.data_dir = folder / "data"
        self.figures: dict[str, Any] = {}
        own = {name: value for name, value in os.environ.items() if not name.startswith("OMOP_EMB_")}
        self._environment = {
            **own,
            "PYTHONPATH": hashed_words.install(folder / "plugin"),
            "OMOP_EMB_DATA_DIR": str(self.data_dir),
            "OMOP_EMB_MODEL": _MODEL,
            "XDG_CACHE_HOME": str(folder / "cache"),
        }

    def run(self, name: str, *arguments: str, code: str | None = None) -> Cost:
        """Run a command and note its cost under a name."""
        given = {} if code is None else {"code": code}
        cost = run_command(
            list(arguments), self._environment, self.data_dir, self.folder / "log.txt", **given
        )
        disk = {place: _bytes(self.folder / place) for place in ("data", "cache")}
        self.figures[name] = {**asdict(cost), "output": "", "disk": disk}
        gigabytes = f"client {cost.client_bytes / 1e9:.2f} GB, server {cost.server_bytes / 1e9:.2f} GB"
        print(f"{name}: {cost.seconds:.1f} s ({cost.processor_seconds:.1f} s), {gigabytes}", flush=True)
        return cost

    def download(self, release: int) -> str:
        """The folder of a release, which is written if it is missing."""
        concepts = self.chosen.concepts
        folder = Path(self.chosen.downloads or self.folder) / f"{concepts}-release-{release}"
        if not folder.exists():
            write(folder, Download(concepts, release=release))
        return str(folder)

    def load(self) -> Iterator[Ratio]:
        path = self.download(0)
        supervisor.ensure_running(self.data_dir)
        yield from self._times("vocabulary load", self.run("load", "vocabulary", "load", path))

    def bare(self) -> Iterator[Ratio]:
        data_dir, load = self.data_dir, self.figures["load"]
        conninfo = supervisor.ensure_running(data_dir)
        seconds, processor = bare_load.seconds(conninfo, Path(self.download(0)), data_dir)
        clock = f"by the clock {load['seconds'] / seconds:.2f}, COPY {seconds:.0f} s"
        ratio = load["processor_seconds"] / processor
        yield Ratio("vocabulary load over bare COPY, processor time", ratio, at_most=1.3, detail=clock)

    def build(self) -> Iterator[Ratio]:
        self._estimate()
        cost = self.run("build", "index", "build", "--yes", "--index-type", self.chosen.index_type)
        yield from self._times("index build", cost, seconds=2400, client=1.0)
        planned, found = self.figures["estimate"], self._space_bytes()
        for part in ("table_bytes", "index_bytes"):
            if found[part]:
                yield Ratio(f"estimate over found, {part}", planned[part] / found[part])

    def dense(self) -> Iterator[Ratio]:
        found = json.loads(self.run("dense", self._terms(), code=_code("dense")).output)
        for name, bound in (("all", 300), ("domain", 200)):
            yield Ratio(
                f"search by vectors, {name}: p95", found[name]["p95"] * 1e3, at_most=bound, unit=" ms"
            )
            yield Ratio(
                f"search by vectors, {name}: recall at 10", found[name]["recall"], at_least=0.95, unit=""
            )

    def map(self) -> Iterator[Ratio]:
        for name, bound in (("map, first run", 240), ("map, next run", None)):
            output = self.folder / "mapped.usagi.csv"
            output.unlink(missing_ok=True)
            cost = self.run(name, "map", self._terms(), "-o", str(output))
            yield from self._times(name, cost, seconds=bound, client=8.0)

    def search(self) -> Iterator[Ratio]:
        cost = self.run("search", self._terms(), code=_code("find"))
        found = json.loads(cost.output)
        self.figures["search"]["answers"] = found
        for name, bound in (("all", 300), ("domain", 200)):
            yield Ratio(f"search, {name}: p95", found[name]["p95"] * 1e3, at_most=bound, unit=" ms")
        yield from self._times("search, opening", cost)

    def next(self) -> Iterator[Ratio]:
        path = self.download(1)
        yield from self._times("next release, load", self.run("next load", "vocabulary", "load", path))
        first, cost = self.figures["build"], self.run("next build", "index", "build", "--yes")
        yield from self._times("next release, build", cost)
        clock = f"by the clock {cost.seconds / first['seconds']:.2f}"
        ratio = cost.processor_seconds / first["processor_seconds"]
        yield Ratio("next release, build over the first, processor time", ratio, at_most=0.1, detail=clock)

    def _times(
        self, name: str, cost: Cost, seconds: float | None = None, client: float | None = None
    ) -> Iterator[Ratio]:
        processor = f"{cost.processor_seconds:.1f} s of processor time"
        yield Ratio(name, cost.seconds, at_most=seconds, unit=" s", detail=processor)
        shared = f"{cost.mapped_bytes / 1e9:.2f} GB of mapped files; server {cost.server_bytes / 1e9:.2f} GB"
        yield Ratio(
            f"{name}: client's memory", cost.client_bytes / 1e9, at_most=client, unit=" GB", detail=shared
        )

    def _estimate(self) -> None:
        arguments = ("estimate", "--index-type", self.chosen.index_type, "--no-measure", "--format", "json")
        planned = json.loads(self.run("estimate", *arguments).output)
        self.figures["estimate"].update(planned[0] if isinstance(planned, list) else planned)

    def _space_bytes(self) -> dict[str, int]:
        with psycopg.connect(supervisor.ensure_running(self.data_dir)) as connection:
            row = connection.execute(
                "select sum(pg_table_size(c.oid)) filter (where relkind = 'r'), "
                "sum(pg_relation_size(c.oid)) filter (where relkind = 'i' and relname like '%\\_hnsw%'), "
                "sum(pg_relation_size(c.oid)) filter (where relkind = 'i' and relname not like '%\\_hnsw%') "
                "from pg_class c where relnamespace = 'omop_emb'::regnamespace and relname like 'space\\_1%'"
            ).fetchone()
        assert row is not None
        table, graph, keys = (int(size or 0) for size in row)
        return {"table_bytes": table + keys, "index_bytes": graph}

    def _terms(self) -> str:
        path = self.folder / "terms.csv"
        if not path.exists():
            write_terms(path, Download(self.chosen.concepts), self.chosen.terms)
        return str(path)


def _code(name: str) -> str:
    return f"from athena import timed_searches; timed_searches.{name}()"


def _bytes(folder: Path) -> int:
    size = 0
    for file in folder.rglob("*"):
        try:
            size += file.stat().st_size if file.is_file() else 0
        except OSError:
            continue  # removed meanwhile
    return size


@contextmanager
def _folder(chosen: Namespace) -> Iterator[Path]:
    """A new folder for everything, which is removed afterwards."""
    folder = Path(mkdtemp(prefix="omop-emb-bench-", dir=chosen.folder))
    folder.chmod(0o755)  # the server's own user must enter it
    try:
        yield folder
    finally:
        supervisor.stop(folder / "data")
        if not chosen.keep:
            shutil.rmtree(folder, ignore_errors=True)


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--concepts", type=int, default=100_000, help="a multiple of 200")
    parser.add_argument("--terms", type=int, default=10_000, help="how many are mapped")
    parser.add_argument("--index-type", choices=("hnsw", "flat"), default="hnsw")
    parser.add_argument("--steps", nargs="*", choices=STEPS, default=STEPS)
    parser.add_argument("--folder", help="where to work, on a disk with 4 kB a concept; default: as tempfile")
    parser.add_argument("--downloads", help="a folder where downloads are kept for later runs")
    parser.add_argument("--keep", action="store_true", help="leave the database and the files there")


def main() -> None:
    chosen = options(__doc__ or "", _arguments)
    with _folder(chosen) as folder:
        bench = Bench(folder, chosen)
        ratios: list[Ratio] = []
        for step in STEPS:
            if step in chosen.steps:
                ratios += getattr(bench, step)()
        chosen.costs = json.dumps(bench.figures)
    report(f"an Athena download of {chosen.concepts:,} concepts", ratios, chosen)


if __name__ == "__main__":
    main()
