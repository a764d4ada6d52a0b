"""Measured processes: a command of ours beside a server, with the time and the peak memory of both."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_COMMAND = "from omop_emb.cli.main import main; main()"
_SECONDS_BETWEEN_SAMPLES = 0.5


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        seconds: by the clock, in which a shared machine counts other jobs too.
        processor_seconds: of the command and the server together.
        client_bytes: the command's own memory at its peak, without files that it maps.
        mapped_bytes: the files that it had mapped and read at its peak, which processes share.
        server_bytes: the server's memory at its peak: shared memory once, and each process's own.
        output: what it wrote to stdout.
    """

    seconds: float
    processor_seconds: float
    client_bytes: int
    mapped_bytes: int
    server_bytes: int
    output: str


def run_command(
    arguments: list[str], environment: dict[str, str], data_dir: Path, log: Path, *, code: str = _COMMAND
) -> Cost:
    """Run `omop-emb` or other code of ours; what it says on stderr goes to the log."""
    peaks = {"client": 0, "mapped": 0, "server": 0}
    began, server_began = time.perf_counter(), server_processor_seconds(data_dir)
    with (
        log.open("a") as errors,
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        done = threading.Event()

        def watch() -> None:
            while not done.wait(_SECONDS_BETWEEN_SAMPLES):
                own = _status(process.pid)
                peaks["client"] = max(peaks["client"], own.get("RssAnon", 0) + own.get("RssShmem", 0))
                peaks["mapped"] = max(peaks["mapped"], own.get("RssFile", 0))
                peaks["server"] = max(peaks["server"], _server_bytes(data_dir))

        watcher = threading.Thread(target=watch)
        watcher.start()
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        done.set()
        watcher.join()
    if process.returncode not in (0, 3):
        raise SystemExit(f"omop-emb {' '.join(arguments)} failed ({process.returncode}): see {log}")
    processor = usage.ru_utime + usage.ru_stime + server_processor_seconds(data_dir) - server_began
    return Cost(seconds, processor, peaks["client"], peaks["mapped"], peaks["server"], output)


def _status(process_id: int) -> dict[str, int]:
    """A process's kinds of memory in bytes; {} if it has ended."""
    try:
        lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    except OSError:
        return {}
    return {
        name: int(value.split()[0]) * 1024
        for name, _, value in (line.partition(":") for line in lines)
        if name.startswith("Rss")
    }


def server_processor_seconds(data_dir: Path) -> float:
    """Processor time of the server's processes until now, those that have ended too."""
    ticks = 0
    for process_id in _server_processes(data_dir):
        fields = _stat(process_id)
        is_leader = ticks == 0
        ticks += sum(map(int, fields[11 : 15 if is_leader else 13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(process_id: int | str) -> list[str]:
    """A process's state, parent and counters; zeros if it has ended."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["0"] * 20


def _server_bytes(data_dir: Path) -> int:
    statuses = [_status(process_id) for process_id in _server_processes(data_dir)]
    shared = max((status.get("RssShmem", 0) for status in statuses), default=0)
    return shared + sum(status.get("RssAnon", 0) for status in statuses)


def _server_processes(data_dir: Path) -> Iterator[int]:
    """The server's first process and those that it started."""
    files = list(data_dir.rglob("postmaster.pid"))
    if not files:
        return
    leader = int(files[0].read_text().split()[0])
    yield leader
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and int(_stat(entry)[1]) == leader:
            yield int(entry)
