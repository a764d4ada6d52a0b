"""One run of a search benchmark: options that all share, synthetic data and a server for each dimensions."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterable, Sequence

from ratios import Ratio, embedded_server, options, report
from search_data import Data, clustered
from threadpoolctl import threadpool_limits


def run(
    title: str,
    description: str | None,
    figures: Callable[[str, Data, argparse.Namespace], Iterable[Ratio]],
    *,
    dimensions: Sequence[int],
    queries: int,
    arguments: Callable[[argparse.ArgumentParser], object] = lambda parser: None,
) -> None:
    """Report the figures of a server's connection string, the data and the chosen options.

    Args:
        title: of the report.
        description: of the command line.
        figures: what is measured.
        dimensions: default of --dimensions; each has data and a server of its own.
        queries: default of --queries.
        arguments: adds the benchmark's own options.
    """

    def every(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--rows", type=int, default=100_000)
        parser.add_argument("--dimensions", type=int, nargs="*", default=list(dimensions))
        parser.add_argument("--queries", type=int, default=queries)
        arguments(parser)

    chosen = options(description or "", every)
    logging.disable(logging.WARNING)  # no prefix is needed where vectors are given
    threadpool_limits(1)
    ratios: list[Ratio] = []
    for number in chosen.dimensions:
        data = clustered(chosen.rows, number, chosen.queries)
        with embedded_server() as conninfo:
            ratios += figures(conninfo, data, chosen)
    report(title, ratios, chosen)
