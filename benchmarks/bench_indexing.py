"""Indexing benchmark: loads and builds beside the ORM, raw COPY, the model alone and CREATE INDEX."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import ratios
import waiting_builder
from databases import clustered, database, driver, drop_spaces, timed
from loading import measure_loads
from psycopg import sql
from ratios import Ratio
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from omop_emb import EmbeddingClient, EmbeddingInterface, EmbeddingRole, IndexType, config
from omop_emb.database.engine import driver_connection
from omop_emb.indexing.build import build_index
from omop_emb.search.build_hnsw import create_index
from omop_emb.service import demo
from omop_emb.spaces import registry
from omop_emb.vocabulary import loader

_MEGABYTE = 1_000_000


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", nargs="*", choices=list(PARTS), default=list(PARTS), help="parts to measure"
    )
    parser.add_argument("--rows", type=int, default=100_000, help="vectors to load")
    parser.add_argument(
        "--dimensions", type=int, default=768, help="of the vectors that are loaded and indexed"
    )
    parser.add_argument(
        "--clock",
        choices=["wall", "processor"],
        default="wall",
        help="clock for loads; processor adds up client and server, for a busy machine",
    )
    parser.add_argument("--orm-rows", type=int, default=5_000, help="vectors to load by the ORM")
    parser.add_argument("--index-rows", type=int, default=30_000, help="vectors in the HNSW index")
    parser.add_argument(
        "--concepts", type=int, default=350_000, help="concepts of the memory benchmark, which doubles them"
    )
    parser.add_argument(
        "--shared-concepts", type=int, default=60_000, help="concepts that one and two builders embed"
    )
    parser.add_argument("--wait-seconds", type=float, default=0.25, help="of a batch of 64, 8 at a time")
    parser.add_argument(
        "--vocabulary", type=Path, help="a folder as Athena delivers it, for memory and throughput too"
    )


def write_vocabulary(folder: Path, concepts: int) -> None:
    """Write distinct concept names of ordinary length."""
    words = [
        f"{a}{b}" for a in ("cardi", "neur", "hepat", "ren", "derm") for b in ("al", "itis", "oma", "ic")
    ]
    header = (
        "concept_id concept_name domain_id vocabulary_id concept_class_id standard_concept concept_code "
        "valid_start_date valid_end_date invalid_reason"
    )
    with (folder / "CONCEPT.csv").open("w") as file:
        file.write(header.replace(" ", "\t") + "\n")
        for n in range(1, concepts + 1):
            name = f"{words[n % 20]} {words[n // 20 % 20]} disorder of the {words[n // 400 % 20]} region {n}"
            file.write(f"{n}\t{name}\tCondition\tSNOMED\tDisorder\tS\tC{n}\t19700101\t20991231\t\n")


def load_vocabulary(engine: Engine, folder: Path) -> None:
    with driver(engine) as connection:
        loader.load_vocabulary(connection, folder)


def measure_model(conninfo: str, chosen: argparse.Namespace) -> list[Ratio]:
    client = EmbeddingClient(config.DEFAULT_MODEL, document_prefix="", query_prefix="")
    with database(conninfo) as engine:
        load_vocabulary(engine, demo.SAMPLE)
        report = build_index(engine, client, index_type=IndexType.FLAT)
        with driver(engine) as connection:
            query = "select distinct text from omop_emb.space_1_text"
            texts = [text for (text,) in connection.execute(query)]
        assert report.embedded_texts == len(texts)

        def build() -> float:
            drop_spaces(engine)
            return timed(lambda: build_index(engine, client, index_type=IndexType.FLAT))

        median = ratios.interleaved(
            chosen.rounds,
            build=build,
            model=lambda: client.embeddings(texts, embedding_role=EmbeddingRole.DOCUMENT),
        )
    return [
        Ratio(
            f"index build of {len(texts):,} texts, over the local model alone",
            median["model"] / median["build"],
            at_least=0.93,
            detail=f"{len(texts) / median['build']:,.0f} over {len(texts) / median['model']:,.0f} texts/s",
        )
    ]


def measure_hnsw(conninfo: str, chosen: argparse.Namespace) -> list[Ratio]:
    rows = chosen.index_rows
    vectors = clustered(rows, chosen.dimensions)
    interface = EmbeddingInterface(waiting_builder.client(dimensions=chosen.dimensions))
    with database(conninfo) as engine:
        with Session(engine) as session:
            interface.upsert_concept_embeddings(
                session=session,
                index_type=IndexType.FLAT,
                concept_ids=range(1, rows + 1),
                concept_texts=[f"concept {n}" for n in range(1, rows + 1)],
                embeddings=vectors,
            )
            session.commit()
        with driver(engine) as connection:
            space = registry.active_space(connection)
            connection.execute(sql.SQL("analyze {}").format(space.tables.rows))

        def timed_and_undone(make: Callable[[psycopg.Connection[Any]], object]) -> float:
            with engine.connect() as opened:
                connection = driver_connection(opened)
                seconds = timed(lambda: make(connection))
                connection.rollback()
            return seconds

        def raw(connection: psycopg.Connection[Any]) -> None:
            for name, value in (
                ("maintenance_work_mem", "2GB"),
                ("max_parallel_maintenance_workers", str(max(0, (os.cpu_count() or 1) - 1))),
            ):
                connection.execute("select set_config(%s, %s, true)", (name, value))
            connection.execute(
                sql.SQL("create index on {} using hnsw (embedding halfvec_cosine_ops)").format(
                    space.tables.rows
                )
            )

        median = ratios.interleaved(
            chosen.rounds,
            ours=lambda: timed_and_undone(
                lambda c: create_index(c, space, rows, domain=None, name="bench_hnsw")
            ),
            raw=lambda: timed_and_undone(raw),
        )
    return [
        Ratio(
            f"HNSW index of {rows:,} x {chosen.dimensions}, over raw CREATE INDEX",
            median["ours"] / median["raw"],
            at_most=1.1,
            detail=f"{median['ours']:.1f} over {median['raw']:.1f} s",
        )
    ]


def measure_memory(conninfo: str, chosen: argparse.Namespace) -> list[Ratio]:
    builds = []
    for concepts in (chosen.concepts, 2 * chosen.concepts):
        with database(conninfo) as engine, TemporaryDirectory() as folder:
            write_vocabulary(Path(folder), concepts)
            load_vocabulary(engine, Path(folder))
            builds.append(_build_waiting(engine))
    (seconds, (first,)), (_, (second,)) = builds
    peaks = [report["peak_bytes"] / _MEGABYTE for report in (first, second)]
    results = [
        Ratio(
            f"peak memory of index build, {chosen.concepts:,} concepts",
            peaks[0],
            at_most=300,
            unit="MB",
            detail=f"the whole process; {first['texts'] / seconds:,.0f} texts/s, the model costs nothing",
        ),
        Ratio(
            f"the same with {2 * chosen.concepts:,}, over that",
            peaks[1] / peaks[0],
            at_most=1.05,
            detail=f"{peaks[1]:.0f} over {peaks[0]:.0f} MB",
        ),
    ]
    if chosen.vocabulary is not None:
        with database(conninfo) as engine:
            load_vocabulary(engine, chosen.vocabulary)
            seconds, (report,) = _build_waiting(engine)
        results.append(
            Ratio(
                f"peak memory with {chosen.vocabulary.name}, {report['texts']:,} texts",
                report["peak_bytes"] / _MEGABYTE,
                at_most=300,
                unit="MB",
                detail=f"{report['texts'] / seconds:,.0f} texts/s, {seconds:.0f} s in all",
            )
        )
    return results


def _build_waiting(engine: Engine, builders: int = 1, **options: Any) -> tuple[float, list[dict[str, float]]]:
    return waiting_builder.built_by(builders, engine.url.render_as_string(hide_password=False), **options)


def measure_builders(conninfo: str, chosen: argparse.Namespace) -> list[Ratio]:
    with database(conninfo) as engine, TemporaryDirectory() as folder:
        write_vocabulary(Path(folder), chosen.shared_concepts)
        load_vocabulary(engine, Path(folder))

        def build(builders: int) -> float:
            drop_spaces(engine)
            seconds, reports = _build_waiting(engine, builders, seconds=chosen.wait_seconds)
            assert sum(report["texts"] for report in reports) == chosen.shared_concepts
            return seconds

        median = ratios.interleaved(chosen.rounds, one=lambda: build(1), two=lambda: build(2))
    return [
        Ratio(
            f"two builders of {chosen.shared_concepts:,} texts, over one",
            median["one"] / median["two"],
            at_least=1.8,
            detail=f"{median['one']:.1f} over {median['two']:.1f} s; a batch waits {chosen.wait_seconds} s",
        )
    ]


PARTS: dict[str, Callable[[str, argparse.Namespace], list[Ratio]]] = {
    "loads": measure_loads,
    "model": measure_model,
    "hnsw": measure_hnsw,
    "memory": measure_memory,
    "builders": measure_builders,
}


def main() -> None:
    chosen = ratios.options(__doc__ or "", arguments)
    with ratios.embedded_server() as conninfo:
        measured: list[Ratio] = []
        for part in chosen.only:
            print(f"measuring {part}", file=sys.stderr)
            measured += PARTS[part](conninfo, chosen)
    ratios.report("indexing", measured, chosen)


if __name__ == "__main__":
    main()
