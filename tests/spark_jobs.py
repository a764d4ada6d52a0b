"""Spark jobs of tests: a job in a process of its own, on a cluster that the test starts, with kills in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

_LOOPBACK = "127.0.0.1"
_PATIENCE_SECONDS = 1_500  # on machines that are busy with other things


def skip_without_spark() -> None:
    """Skip the test where Spark cannot run."""
    pytest.importorskip("pyspark", reason="pyspark is not installed: pip install '.[spark]'")
    if shutil.which("java") is None:
        pytest.skip("no Java here: apt-get install openjdk-17-jre-headless")


def environment(folder: Path) -> dict[str, str]:
    """Variables for Spark, with a SPARK_HOME in the folder: workers write below it."""
    import pyspark

    home = folder / "spark"
    if not home.exists():
        home.mkdir()
        for name in ("bin", "jars"):
            (home / name).symlink_to(Path(pyspark.__file__).parent / name)
    return {
        **os.environ,
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": _LOOPBACK,
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        "SPARK_DAEMON_MEMORY": "256m",
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }


@contextmanager
def started(command: list[str], folder: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process, ended with all that it has started when the block ends."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=environment(folder), stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def standalone_cluster(folder: Path, workers: int) -> Iterator[tuple[str, list[int]]]:
    """A master on loopback with its workers: its URL, and the workers' process ids."""
    spark, log = str(Path(environment(folder)["SPARK_HOME"]) / "bin/spark-class"), folder / "cluster.txt"
    loopback = ["--host", _LOOPBACK, "--port", "0", "--webui-port", "0"]
    with ExitStack() as stack:
        master = [spark, "org.apache.spark.deploy.master.Master", *loopback]
        stack.enter_context(started(master, folder, log))
        (url,) = _wait_for(log, r"Starting Spark master at (\S+)", 1)
        processes = []
        for number in range(workers):
            command = [spark, "org.apache.spark.deploy.worker.Worker", *loopback, "--cores", "1"]
            command += ["--memory", "1g", "--work-dir", str(folder / f"spark/work-{number}"), url]
            processes.append(stack.enter_context(started(command, folder, log)).pid)
        _wait_for(log, "Successfully (registered) with master", workers)
        yield url, processes


def _wait_for(log: Path, pattern: str, count: int) -> list[str]:
    end = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end:
        found = re.findall(pattern, log.read_text(errors="replace")) if log.exists() else []
        if len(found) >= count:
            return found
        time.sleep(0.1)
    raise AssertionError(log.read_text(errors="replace")[-6_000:])


def run_jobs(folder: Path, master: str, *jobs: dict[str, Any]) -> list[Any]:
    """The answers of jobs, each {"job": a name in JOBS, …}, which one session of a new process runs."""
    said, answers, log = folder / "jobs.json", folder / "answers.json", folder / "log.txt"
    said.write_text(json.dumps([master, jobs]))
    command = [sys.executable, "-m", "tests.spark_jobs", str(said), str(answers)]
    with started(command, folder, log) as process:
        code = process.wait(_PATIENCE_SECONDS)
    assert code == 0, log.read_text(errors="replace")[-6_000:]
    listed: list[Any] = json.loads(answers.read_text())
    return listed


# What follows runs in the job's own process.


def _map(spark: Any, bundle: str, names: list[str], kill: list[int] | None) -> dict[str, Any]:
    from omop_emb.spark import Counts, map_terms

    counts = Counts(spark)
    rows = spark.createDataFrame(list(enumerate(names)), "row int, name string")
    mapped = map_terms(rows, bundle=bundle, partitions=6, counts=counts)
    found, failed = _with_a_kill(spark, mapped.collect, kill, "space-0.arrays", lambda: counts.done.value > 0)
    return {"rows": [row.asDict() for row in found], "failed_tasks": failed, "counted": counts.done.value}


def _embed(spark: Any, vocabulary: str, path: str, release: str, domain: str) -> Any:
    from omop_emb import ConceptFilter, EmbeddingClient
    from omop_emb.spaces.recipe import Recipe
    from omop_emb.spark import embed_concepts

    def table(name: str) -> Any:
        return spark.read.csv(f"{vocabulary}/{name}.csv", sep="\t", header=True, quote="", escape="")

    def work() -> Any:
        return embed_concepts(
            table("CONCEPT"),
            path,
            synonyms=table("CONCEPT_SYNONYM"),
            vocabulary_release=release,
            recipe=Recipe(
                concept_filter=ConceptFilter(domains=(domain,), standard_only=True, valid_only=True)
            ),
            client=EmbeddingClient("local:all-MiniLM-L6-v2", document_prefix="", query_prefix=""),
        )

    found, failed = _with_a_kill(spark, work, None, "onnxruntime", lambda: True)
    return {"rows": found.metadata.rows, "rejected": found.rejected, "failed_tasks": failed}


def _refuse(spark: Any, folder: str) -> list[str]:
    """What embed_concepts() says of concepts that it cannot embed."""
    from omop_emb.errors import InputError
    from omop_emb.spark import Recipe, embed_concepts

    names = (
        "concept_name domain_id vocabulary_id concept_class_id standard_concept concept_code invalid_reason"
    )
    row = (1, "Gout", "Condition", "SNOMED", "Disorder", "S", "C1", None)
    concepts = spark.createDataFrame([row], f"concept_id int, {names.replace(' ', ' string, ')} string")
    names_only, path = Recipe(texts="name"), Path(folder) / "refused.parquet"
    messages = []
    for frame, recipe, name in (
        (concepts.drop("domain_id"), names_only, "x.parquet"),
        (concepts.union(concepts), names_only, "x.parquet"),
        (concepts, None, "x.parquet"),
        (concepts.where("concept_id = 2"), names_only, "x.parquet"),
        (concepts, names_only, "x.csv"),
    ):
        try:
            embed_concepts(frame, path.with_name(name), recipe=recipe, vocabulary_release=None)
        except InputError as error:
            messages.append(str(error))
    return messages


JOBS: dict[str, Callable[..., Any]] = {"map": _map, "embed": _embed, "refuse": _refuse}


def _with_a_kill(
    spark: Any, work: Callable[[], Any], kill: list[int] | None, file: str, is_time: Callable[[], bool]
) -> tuple[Any, int]:
    """What the work gives, and how many tasks failed, after a kill -9 in the middle of a task.

    Killed is a Python worker that has mapped a file of that name, and another one if no task failed; or, of
    the process groups `kill`, once the one that this Python worker belongs to, as if a machine went away.
    """
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    before = _failed_tasks(spark)
    thread.start()
    next_kill = 0.0
    while thread.is_alive():
        if is_time() and time.monotonic() > next_kill and _failed_tasks(spark) == before:
            for process, folder in _workers_with(file)[:1]:
                if kill is None:
                    os.kill(process, signal.SIGKILL)
                else:
                    os.killpg(kill[int(folder.partition("/work-")[2][0])], signal.SIGKILL)
                next_kill = time.monotonic() + (5 if kill is None else _PATIENCE_SECONDS)
        time.sleep(0.02)
    thread.join()
    assert answers, "the job failed"
    return answers[0], _failed_tasks(spark) - before


def _failed_tasks(spark: Any) -> int:
    tracker = spark.sparkContext.statusTracker()
    jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(None)]
    stages = {stage for job in jobs if job for stage in job.stageIds}
    return sum(info.numFailedTasks for info in map(tracker.getStageInfo, stages) if info)


def _workers_with(file: str) -> list[tuple[int, str]]:
    """Python workers of this job's cluster that have mapped a file of that name, each with its folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            folder = str((path / "cwd").readlink())
            if (
                folder.startswith(os.environ["SPARK_HOME"])
                and b"pyspark.daemon" in (path / "cmdline").read_bytes()
            ):
                if file in (path / "maps").read_text():
                    found.append((int(path.name), folder))
    return found


def _main(said: str, answers: str) -> None:
    from pyspark.sql import SparkSession

    master, jobs = json.loads(Path(said).read_text())
    spark = (
        SparkSession.builder.master(master)
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "512m")
        .config("spark.executor.memory", "512m")
        .config("spark.sql.shuffle.partitions", "4")
        .getOrCreate()
    )
    listed = [JOBS[job.pop("job")](spark, **job) for job in jobs]
    Path(answers).write_text(json.dumps(listed))
    spark.stop()


if __name__ == "__main__":
    _main(*sys.argv[1:])
