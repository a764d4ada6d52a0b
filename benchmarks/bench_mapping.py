"""Mapping a file from CSV to Usagi's CSV, compared with embedding its terms alone: time and peak memory."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from ratios import Ratio, options, report

from omop_emb import config, database_engine
from omop_emb.database import migrations
from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.indexing.build import build_index
from omop_emb.records import IndexType
from omop_emb.server import supervisor
from omop_emb.service import demo
from omop_emb.spaces import registry
from omop_emb.vocabulary import loader, reader

_COMMAND = "from omop_emb.cli.main import main; main()"
_EMBED = """
import csv, sys
from omop_emb import EmbeddingClient, EmbeddingRole
rows = csv.DictReader(open(sys.argv[1], encoding="utf-8", newline=""))
names = [row.get("name") or row["source_name"] for row in rows]
client = EmbeddingClient(document_prefix="", query_prefix="")
client.embeddings(list(dict.fromkeys(names)), embedding_role=EmbeddingRole.QUERY)
"""


@dataclass(frozen=True)
class Cost:
    """What a process took: clock and processor seconds, bytes at its peak."""

    seconds: float
    processor_seconds: float
    peak_bytes: int


def run(arguments: list[str], environment: dict[str, str], output: Path = Path(os.devnull)) -> Cost:
    started = time.perf_counter()
    with (
        output.open("wb") as stdout,
        subprocess.Popen(
            [sys.executable, "-c", *arguments], env=environment, stdout=stdout, stderr=subprocess.DEVNULL
        ) as process,
    ):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (0, 3), process.returncode
    return Cost(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def write_terms(path: Path, count: int, folder: Path) -> None:
    """Names of a vocabulary, shortened and misspelt so that none is exact."""
    with (folder / "CONCEPT.csv").open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        names = [row["concept_name"] for row in rows]
    draw = random.Random(1)  # noqa: S311 - a sample, not a secret
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["code", "name", "frequency"])
        for number in range(count):
            words = draw.choice(names).upper().split()
            index = draw.randrange(len(words))
            words[index] = words[index][: max(3, len(words[index]) - 2)]
            writer.writerow([number, f"{' '.join(words)} {draw.choice('ABCDEFGH')}", draw.randrange(1, 1000)])


@contextmanager
def embedded_server(vocabulary: Path, data_dir: Path) -> Iterator[None]:
    """The embedded server of a data folder with that vocabulary in a space; both are built if missing."""
    os.environ["OMOP_EMB_DATA_DIR"] = str(data_dir)
    try:
        engine = database_engine()
        with session_scope(engine) as session:
            connection = driver_connection(session)
            migrations.migrate(connection)
            if reader.vocabulary_tables(connection) is None:
                loader.load_vocabulary(connection, vocabulary)
            has_space = bool(registry.all_spaces(connection))
        if not has_space:
            client = EmbeddingClient(config.DEFAULT_MODEL, document_prefix="", query_prefix="")
            build_index(engine, client, index_type=IndexType.FLAT)
        engine.dispose()
        yield
    finally:
        supervisor.stop(data_dir)


def measure(terms: Path, rounds: int, database: dict[str, str]) -> tuple[Cost, Cost, Cost]:
    """Embedding the terms, mapping them for the first time and again: medians, interleaved."""
    costs: dict[str, list[Cost]] = {"embed": [], "map": []}
    with TemporaryDirectory(prefix="omop-emb-bench-") as folder:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OMOP_EMB_")},
            **database,
            "XDG_CACHE_HOME": folder,  # an empty cache
        }
        commands = {
            "embed": [_EMBED, str(terms)],
            "map": [_COMMAND, "map", str(terms), "-o", f"{folder}/mapped.usagi.csv"],
        }
        for number in range(rounds + 1):
            for side in sorted(costs, reverse=number % 2 == 1):
                costs[side].append(run(commands[side], environment))

    def typical(measured: list[Cost]) -> Cost:
        return Cost(
            median(cost.seconds for cost in measured),
            median(cost.processor_seconds for cost in measured),
            max(cost.peak_bytes for cost in measured),
        )

    return typical(costs["embed"]), costs["map"][0], typical(costs["map"][1:])


def quality(gold: Path, database: dict[str, str]) -> list[Ratio]:
    """The recall that `evaluate` measures, and `calibrate` for a site's own ranker, which stays stored."""
    ratios = []
    with TemporaryDirectory(prefix="omop-emb-bench-") as folder:
        output = Path(folder) / "figures.json"
        for command, arguments in (("evaluate", []), ("calibrate", ["--site", "benchmark", "--no-remember"])):
            cost = run(
                [_COMMAND, command, str(gold), "--format", "json", *arguments],
                {**os.environ, **database},
                output,
            )
            rows = json.loads(output.read_text())
            if command == "evaluate":
                ranked = [row for row in rows if row["by"] == "all" and row["ranking"] == "ranker"]
                figures = {row["metric"]: row["value"] for row in ranked}
            else:
                figures = rows[-1]  # the strongest ranker that was trained
            detail = (
                f"recall@10 {figures['recall@10']:.3f}; {cost.seconds:.0f} s, {cost.peak_bytes / 1e9:.2f} GB"
            )
            ratios.append(Ratio(f"{command}: recall@1", figures["recall@1"], detail=detail, unit=""))
    return ratios


def time_ratios(embed: Cost, first: Cost, further: Cost, count: int, *, bounded: bool) -> list[Ratio]:
    """Seconds beyond twice embedding; `bounded` is for 10,000 terms on 300,000 concepts only."""
    cores = len(os.sched_getaffinity(0))
    ratios = []
    for name, mapped in (("first run", first), ("further runs", further)):
        clock = f"map {mapped.seconds:.1f} s, embedding alone {embed.seconds:.1f} s, {count:,} terms"
        processor = (
            f"map {mapped.processor_seconds:.1f} s, embedding alone {embed.processor_seconds:.1f} s, "
            f"{cores} cores"
        )
        ratios += [
            Ratio(
                f"{name}: clock time beyond twice embedding",
                mapped.seconds - 2 * embed.seconds,
                at_most=30 if bounded else None,
                detail=clock,
                unit=" s",
            ),
            Ratio(
                f"{name}: processor time per core beyond twice embedding",
                (mapped.processor_seconds - 2 * embed.processor_seconds) / cores,
                detail=processor,
                unit=" s",
            ),
            Ratio(
                f"{name}: peak memory", mapped.peak_bytes / 1e9, at_most=1.5 if bounded else None, unit=" GB"
            ),
        ]
    return ratios


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--vocabulary", type=Path, default=demo.SAMPLE, help="a folder as Athena delivers it")
    parser.add_argument("--data", type=Path, help="keep the embedded vocabulary in this folder, and reuse it")
    parser.add_argument("--database-url", help="a database whose vocabulary is already embedded")
    parser.add_argument("--terms", type=Path, help="a CSV with a column name or source_name, to map")
    parser.add_argument(
        "--gold", type=Path, help="terms with known concepts, to evaluate and to train the site 'benchmark'"
    )
    parser.add_argument("--count", type=int, default=2_000, help="terms to generate if --terms is not given")


def main() -> None:
    chosen = options(__doc__ or "", add_arguments)
    with TemporaryDirectory(prefix="omop-emb-bench-") as folder:
        Path(folder).chmod(0o755)  # the server runs as another user
        terms = chosen.terms
        if terms is None:
            terms = Path(folder) / "terms.csv"
            write_terms(terms, chosen.count, chosen.vocabulary)
        with terms.open(encoding="utf-8", newline="") as lines:
            count = sum(1 for _ in csv.DictReader(lines))
        if chosen.database_url is not None:
            database = {"OMOP_EMB_DATABASE_URL": chosen.database_url}
            server: AbstractContextManager[None] = nullcontext()
        else:
            data_dir = (chosen.data or Path(folder) / "data").resolve()
            database = {"OMOP_EMB_DATA_DIR": str(data_dir)}
            server = embedded_server(chosen.vocabulary, data_dir)
        with server:
            embed, first, further = measure(terms, chosen.rounds, database)
            figures = [] if chosen.gold is None else quality(chosen.gold, database)
    large = chosen.database_url is not None or chosen.vocabulary != demo.SAMPLE or chosen.data is not None
    times = time_ratios(embed, first, further, count, bounded=large and count >= 10_000)
    report("mapping a file", [*times, *figures], chosen)


if __name__ == "__main__":
    main()
