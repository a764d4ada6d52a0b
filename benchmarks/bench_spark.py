"""Mapping with Spark, compared with `omop-emb map`: rate, processor time, start-up, equal answers."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np
import pandas as pd
from databases import database, driver
from ratios import Ratio, embedded_server, options, report
from sqlalchemy.orm import Session

sys.path.insert(0, str(Path(__file__).parents[1]))
from omop_emb import EmbeddingClient, IndexType
from omop_emb.indexing.build import build_index
from omop_emb.service import demo
from omop_emb.service.bundle import make_bundle
from omop_emb.spark import map_terms
from omop_emb.vocabulary import loader
from tests.local_names import local_names
from tests.spark_jobs import environment
from tests.tiny_models import spelling_folder

_COMMAND = "from omop_emb.cli.main import main; main()"
_ANSWER = ["row", "concept_id", "decision"]
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Clock and processor seconds of a piece of work, with what its processes did."""

    seconds: float
    processor: float


def processor_seconds() -> float:
    """Of this process, its descendants, and those of them that have ended and were waited for."""
    parent, used = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parent[int(path.name)] = int(fields[1])
        used[int(path.name)] = sum(map(int, fields[11:15])) / _TICKS

    def is_ours(process: int) -> bool:
        while process not in (0, os.getpid()):
            process = parent.get(process, 0)
        return process != 0

    return sum(seconds for process, seconds in used.items() if is_ours(process))


def cost(name: str, work: Callable[[], object]) -> Cost:
    began, used = time.perf_counter(), processor_seconds()
    work()
    result = Cost(time.perf_counter() - began, processor_seconds() - used)
    print(f"{name}: {result.seconds:.1f} s, {result.processor:.1f} s of processors", file=sys.stderr)
    return result


def run_map(url: str, terms: Path, output: Path) -> pd.DataFrame:
    command = [sys.executable, "-c", _COMMAND, "map", str(terms), "-o", str(output)]
    subprocess.run(command, check=True, env={**os.environ, "OMOP_EMB_DATABASE_URL": url}, capture_output=True)
    return pd.read_csv(output, usecols=_ANSWER).sort_values("row", ignore_index=True)[_ANSWER]


@contextmanager
def spark_session(folder: Path, workers: int) -> Iterator[object]:
    from pyspark.sql import SparkSession

    with mock.patch.dict(os.environ, environment(folder)):
        builder = SparkSession.builder.master(f"local-cluster[{workers},1,2048]")
        for name, value in {
            "spark.ui.enabled": "false",
            "spark.executor.memory": "1g",
            "spark.sql.shuffle.partitions": str(4 * workers),
        }.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        try:
            yield session
        finally:
            session.stop()


def write_terms(path: Path, names: list[str], repeats: int) -> None:
    order = np.random.default_rng(1).permutation(np.repeat(np.arange(len(names)), repeats))
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["row", "name"])
        writer.writerows((row, names[number]) for row, number in enumerate(order))


def main() -> None:
    def arguments(parser: ArgumentParser) -> None:
        parser.add_argument("--vocabulary", type=Path, default=demo.SAMPLE, help="folder of Athena's files")
        parser.add_argument("--distinct", type=int, default=2_000, help="terms that differ")
        parser.add_argument("--repeats", type=int, default=5, help="rows of each of them")
        parser.add_argument("--workers", type=int, default=2, help="of Spark, one core each")
        parser.add_argument(
            "--packaged", action="store_true", help="the packaged model, not a made-up fast one"
        )

    chosen = options(__doc__, arguments)
    with TemporaryDirectory() as name, embedded_server() as conninfo, database(conninfo) as engine:
        folder = Path(name)
        model = "all-MiniLM-L6-v2" if chosen.packaged else str(spelling_folder(folder / "model"))
        with driver(engine) as connection:
            loader.load_vocabulary(connection, chosen.vocabulary)
        client = EmbeddingClient(f"local:{model}", document_prefix="", query_prefix="")
        build_index(engine, client, index_type=IndexType.FLAT)
        url = engine.url.render_as_string(hide_password=False)
        names = local_names(chosen.distinct, chosen.vocabulary)
        small, large = folder / "small.csv", folder / "large.csv"
        write_terms(small, names[:2], 1)
        write_terms(large, names, chosen.repeats)
        run_map(url, small, folder / "first.csv")  # what a first run writes into the cache
        answers = {}
        map_small = cost("map, 2 terms", lambda: run_map(url, small, folder / "small-mapped.csv"))
        map_large = cost("map", lambda: answers.update(map=run_map(url, large, folder / "mapped.csv")))
        with Session(engine) as session:
            bundled = cost("bundle make", lambda: make_bundle(session, folder / "bundle"))
        began = time.perf_counter()
        with spark_session(folder, chosen.workers) as spark:
            started = time.perf_counter() - began

            def run_spark(terms: Path) -> pd.DataFrame:
                frame = spark.read.csv(
                    str(terms), header=True, quote='"', escape='"', schema="row int, name string"
                )
                mapped = map_terms(frame, bundle=str(folder / "bundle"), partitions=8 * chosen.workers)
                output = folder / f"spark-{terms.stem}"
                mapped.write.parquet(str(output))
                return pd.read_parquet(output, columns=_ANSWER).sort_values("row", ignore_index=True)[_ANSWER]

            spark_small = cost("Spark, 2 terms", lambda: run_spark(small))
            spark_large = cost("Spark", lambda: answers.update(spark=run_spark(large)))
    rows = chosen.distinct * chosen.repeats
    mapped, by_spark = answers["map"], answers["spark"]
    assert len(mapped) == len(by_spark) == rows
    both = mapped.merge(by_spark, on="row", suffixes=("", "_spark"))
    same = (both["concept_id"].fillna(0) == both["concept_id_spark"].fillna(0)) & (
        both["decision"] == both["decision_spark"]
    )

    def shown(side: Cost) -> str:
        return (
            f"{side.seconds:.0f} s, {side.processor:.0f} s of processors, {rows / side.seconds:,.0f} rows/s"
        )

    report(
        "Mapping with Spark",
        [
            Ratio("rows with the same answer", float(same.mean()), at_least=1, unit=""),
            Ratio(
                "clock: Spark over map",
                spark_large.seconds / map_large.seconds,
                detail=f"{shown(spark_large)}; map {shown(map_large)}",
            ),
            Ratio(
                "processors: Spark over map",
                spark_large.processor / map_large.processor,
                detail=f"{chosen.distinct / spark_large.processor:,.0f} distinct terms a processor second; "
                f"map {chosen.distinct / map_large.processor:,.0f}",
            ),
            Ratio("start of the session", started, unit=" s"),
            Ratio(
                "first job, of 2 terms",
                spark_small.seconds,
                unit=" s",
                detail=f"{spark_small.processor:.1f} s of processors; map {map_small.seconds:.1f} s, "
                f"{map_small.processor:.1f} s",
            ),
            Ratio(
                "bundle make", bundled.seconds, unit=" s", detail=f"{bundled.processor:.1f} s of processors"
            ),
        ],
        chosen,
    )


if __name__ == "__main__":
    main()
