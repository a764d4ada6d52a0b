"""Benchmark ratios: sides measured in interleaved rounds, their medians as a table and as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any


@dataclass(frozen=True)
class Ratio:
    """One measured figure and its bound; `detail` shows the medians that it comes from."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None
    detail: str = ""
    unit: str = "x"

    @property
    def is_met(self) -> bool:
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    @property
    def bound(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"


def interleaved(
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    pick: Callable[[list[float]], float] = statistics.median,
    **sides: Callable[[], object],
) -> dict[str, float]:
    """The median seconds of each side; every round runs all sides, every second round in reversed order.

    A side may return a float: the seconds that it measured itself, without its preparations. Use
    clock=time.process_time for client work on a shared machine, and pick=min for work of milliseconds, to
    which other processes can only add.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in sorted(sides, reverse=number % 2 == 1):
            began = clock()
            measured = sides[name]()
            seconds[name].append(measured if isinstance(measured, float) else clock() - began)
    return {name: pick(values) for name, values in seconds.items()}


def options(description: str, arguments: Callable[[argparse.ArgumentParser], object]) -> argparse.Namespace:
    """The script's command line: its own arguments, --rounds and --json."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    arguments(parser)
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of each side of a ratio")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser.parse_args()


def report(title: str, ratios: Sequence[Ratio], chosen: argparse.Namespace) -> None:
    """Print the ratios as a table, and write them as JSON if --json is given."""
    machine = _machine()
    print(f"\n{title}: {machine['processor']}, {machine['cores']} cores, {machine['date']}")
    width = max(len(ratio.name) for ratio in ratios)
    for ratio in ratios:
        state = "" if not ratio.bound else "met" if ratio.is_met else "MISSED"
        shown = f"{ratio.value:>9.3g}{ratio.unit:<3} {ratio.bound:>8}  {state:<6}"
        print(f"{ratio.name:<{width}}  {shown}  {ratio.detail}")
    if chosen.json is not None:
        rows = [{**asdict(ratio), "bound": ratio.bound, "is_met": ratio.is_met} for ratio in ratios]
        settings = {name: str(value) for name, value in vars(chosen).items()}
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(
            json.dumps({"title": title, "machine": machine, "options": settings, "ratios": rows}, indent=1)
        )


def _machine() -> dict[str, Any]:
    processor = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - wherever git is
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
    }


@contextmanager
def embedded_server() -> Iterator[str]:
    """The connection string of a new embedded server, which is removed after the block with its cache."""
    import shutil
    from unittest import mock

    from omop_emb.server import supervisor

    folder = Path(mkdtemp(prefix="omop-emb-bench-"))
    folder.chmod(0o755)  # the server's own user must enter it
    try:
        with mock.patch.dict(os.environ, XDG_CACHE_HOME=str(folder / "cache")):
            yield supervisor.ensure_running(folder / "data")
    finally:
        supervisor.stop(folder / "data")
        shutil.rmtree(folder, ignore_errors=True)
