"""Mapping a file, from CSV to Usagi's CSV: beside embedding its terms alone, and the memory that it takes."""

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

_MAP = "from omop_emb.cli.main import main; main()"
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
    """What a process of our own took: seconds by the clock and of processors, bytes at its peak."""

    seconds: float
    processor: float
    peak: int


def run(arguments: list[str], environment: dict[str, str], output: Path = Path(os.devnull)) -> Cost:
    began = time.perf_counter()
    with (
        output.open("wb") as stdout,
        subprocess.Popen(
            [sys.executable, "-c", *arguments], env=environment, stdout=stdout, stderr=subprocess.DEVNULL
        ) as process,
    ):
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (0, 3), process.returncode
    return Cost(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def made_terms(path: Path, count: int, folder: Path) -> None:
    """Names of a vocabulary, shortened and misspelt so that none is quite itself."""
    with (folder / "CONCEPT.csv").open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        names = [row["concept_name"] for row in rows]
    draw = random.Random(1)  # noqa: S311 - a sample, not a secret
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["code", "name", "frequency"])
        for number in range(count):
            words = draw.choice(names).upper().split()
            place = draw.randrange(len(words))
            words[place] = words[place][: max(3, len(words[place]) - 2)]
            writer.writerow([number, f"{' '.join(words)} {draw.choice('ABCDEFGH')}", draw.randrange(1, 1000)])


@contextmanager
def embedded(vocabulary_folder: Path, data: Path) -> Iterator[None]:
    """The embedded server of a data folder with that vocabulary in a space: made where it is not yet."""
    os.environ["OMOP_EMB_DATA_DIR"] = str(data)
    try:
        engine = database_engine()
        with session_scope(engine) as session:
            connection = driver_connection(session)
            migrations.migrate(connection)
            if reader.vocabulary_tables(connection) is None:
                loader.load_vocabulary(connection, vocabulary_folder)
            is_embedded = bool(registry.all_spaces(connection))
        if not is_embedded:
            client = EmbeddingClient(config.DEFAULT_MODEL, document_prefix="", query_prefix="")
            build_index(engine, client, index_type=IndexType.FLAT)
        engine.dispose()
        yield
    finally:
        supervisor.stop(data)


def measure(terms: Path, rounds: int, where: dict[str, str]) -> tuple[Cost, Cost, Cost]:
    """Embedding the terms, mapping them for the first time, and mapping them again: medians, interleaved."""
    found: dict[str, list[Cost]] = {"embed": [], "map": []}
    with TemporaryDirectory(prefix="omop-emb-bench-") as folder:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OMOP_EMB_")},
            **where,
            "XDG_CACHE_HOME": folder,  # nothing that was kept before
        }
        for number in range(rounds + 1):
            for side in sorted(found, reverse=number % 2 == 1):
                output = f"{folder}/mapped.usagi.csv"
                arguments = [_MAP, "map", str(terms), "-o", output] if side == "map" else [_EMBED, str(terms)]
                found[side].append(run(arguments, environment))

    def middle(costs: list[Cost]) -> Cost:
        return Cost(
            median(cost.seconds for cost in costs),
            median(cost.processor for cost in costs),
            max(cost.peak for cost in costs),
        )

    return middle(found["embed"]), found["map"][0], middle(found["map"][1:])


def quality(gold: Path, where: dict[str, str]) -> list[Ratio]:
    """What `evaluate` finds of mapping known terms, and `calibrate` of a site's own ranker, which stays."""
    made = []
    with TemporaryDirectory(prefix="omop-emb-bench-") as folder:
        output = Path(folder) / "figures.json"
        for command, options_ in (("evaluate", []), ("calibrate", ["--site", "benchmark", "--no-remember"])):
            cost = run(
                [_MAP, command, str(gold), "--format", "json", *options_], {**os.environ, **where}, output
            )
            rows = json.loads(output.read_text())
            if command == "evaluate":
                ranked = [row for row in rows if row["by"] == "all" and row["ranking"] == "ranker"]
                found = {row["metric"]: row["value"] for row in ranked}
            else:
                found = rows[-1]  # the strongest that was trained
            detail = f"recall@10 {found['recall@10']:.3f}; {cost.seconds:.0f} s, {cost.peak / 1e9:.2f} GB"
            made.append(Ratio(f"{command}: recall@1", found["recall@1"], detail=detail, unit=""))
    return made


def ratios(embed: Cost, first: Cost, again: Cost, count: int, *, bounded: bool) -> list[Ratio]:
    """Bounds hold for 10,000 terms on 300,000 concepts, and for nothing else."""
    cores = len(os.sched_getaffinity(0))
    made = []
    for name, mapped in (("first run", first), ("further runs", again)):
        clock = f"map {mapped.seconds:.1f} s, embedding alone {embed.seconds:.1f} s, {count:,} terms"
        processor = f"map {mapped.processor:.1f} s, embedding alone {embed.processor:.1f} s, {cores} cores"
        by_core = (mapped.processor - 2 * embed.processor) / cores
        made += [
            Ratio(
                f"{name}: by the clock, beyond twice embedding",
                mapped.seconds - 2 * embed.seconds,
                at_most=30 if bounded else None,
                detail=clock,
                unit=" s",
            ),
            Ratio(
                f"{name}: of processors a core, beyond twice embedding", by_core, detail=processor, unit=" s"
            ),
            Ratio(f"{name}: peak memory", mapped.peak / 1e9, at_most=1.5 if bounded else None, unit=" GB"),
        ]
    return made


def main() -> None:
    def arguments(parser: ArgumentParser) -> None:
        parser.add_argument(
            "--vocabulary", type=Path, default=demo.SAMPLE, help="a folder as Athena delivers it"
        )
        parser.add_argument(
            "--data", type=Path, help="keep the embedded vocabulary in this folder, or find it there"
        )
        parser.add_argument("--database-url", help="a database with a vocabulary that is embedded already")
        parser.add_argument(
            "--terms", type=Path, help="a CSV with a column name or source_name, to map in it"
        )
        parser.add_argument(
            "--gold",
            type=Path,
            help="terms whose concepts are known: evaluated, and learned from by the site 'benchmark'",
        )
        parser.add_argument("--count", type=int, default=2_000, help="terms made of the vocabulary otherwise")

    chosen = options(__doc__ or "", arguments)
    with TemporaryDirectory(prefix="omop-emb-bench-") as folder:
        Path(folder).chmod(0o755)  # the server's own user must enter it
        terms = chosen.terms
        if terms is None:
            terms = Path(folder) / "terms.csv"
            made_terms(terms, chosen.count, chosen.vocabulary)
        with terms.open(encoding="utf-8", newline="") as lines:
            count = sum(1 for _ in csv.DictReader(lines))
        if chosen.database_url is not None:
            where = {"OMOP_EMB_DATABASE_URL": chosen.database_url}
            ready: AbstractContextManager[None] = nullcontext()
        else:
            data = (chosen.data or Path(folder) / "data").resolve()
            where, ready = {"OMOP_EMB_DATA_DIR": str(data)}, embedded(chosen.vocabulary, data)
        with ready:
            measured = measure(terms, chosen.rounds, where)
            found = [] if chosen.gold is None else quality(chosen.gold, where)
    large = chosen.database_url is not None or chosen.vocabulary != demo.SAMPLE or chosen.data is not None
    report("mapping a file", [*ratios(*measured, count, bounded=large and count >= 10_000), *found], chosen)


if __name__ == "__main__":
    main()
