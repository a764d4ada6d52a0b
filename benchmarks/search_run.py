"""Search benchmark runs: shared options, and data and a server for each number of dimensions."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ratios import Ratio, embedded_server, options, report
from search_data import Data, clustered, real
from threadpoolctl import threadpool_limits


def run(
    title: str,
    description: str | None,
    figures: Callable[[str, Data, argparse.Namespace], Iterable[Ratio]],
    *,
    dimensions: Sequence[int],
    queries: int,
    arguments: Callable[[argparse.ArgumentParser], object] = lambda parser: None,
    real_data: bool = False,
) -> None:
    """Report the figures of a server's connection string, the data and the chosen options.

    Args:
        title: of the report.
        description: of the command line.
        figures: what is measured.
        dimensions: default of --dimensions; each has its own data and server.
        queries: default of --queries.
        arguments: adds the benchmark's own options.
        real_data: whether --names and --terms may replace the synthetic data.
    """

    def all_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--rows", type=int, default=100_000)
        parser.add_argument("--dimensions", type=int, nargs="*", default=list(dimensions))
        parser.add_argument("--queries", type=int, default=queries)
        if real_data:
            add_real_data(parser)
        arguments(parser)

    chosen = options(description or "", all_arguments)
    logging.disable(logging.WARNING)  # no prefix is needed where vectors are given
    threadpool_limits(1)  # the other side of a ratio computes on one thread, as one search does
    ratios: list[Ratio] = []
    for data in _data(chosen):
        with embedded_server() as conninfo:
            ratios += figures(conninfo, data, chosen)
    report(title, ratios, chosen)


def add_real_data(parser: argparse.ArgumentParser) -> None:
    """Add the options --names and --terms."""
    parser.add_argument("--names", type=Path, help="vectors of a model, .npy, to be searched instead")
    parser.add_argument("--terms", type=Path, help="vectors of the terms to search for in them, .npy")


def _data(chosen: argparse.Namespace) -> Iterator[Data]:
    if getattr(chosen, "names", None):
        yield real(chosen.names, chosen.terms, None, chosen.queries)
    else:
        for dimensions in chosen.dimensions:
            yield clustered(chosen.rows, dimensions, chosen.queries)
