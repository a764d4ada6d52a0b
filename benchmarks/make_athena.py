"""A made-up Athena download of any size, and the next release of it with 2 % changed."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from athena.athena_files import Download, write


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the files are written")
    parser.add_argument("--concepts", type=int, default=100_000, help="how many; a multiple of 200")
    parser.add_argument("--seed", type=int, default=1, help="another seed is another vocabulary")
    parser.add_argument("--release", type=int, choices=(0, 1), default=0, help="1: the next one, 2 % changed")
    chosen = parser.parse_args()
    began = time.perf_counter()
    rows = write(chosen.folder, Download(chosen.concepts, chosen.seed, chosen.release))
    size = sum(file.stat().st_size for file in chosen.folder.iterdir())
    counts = ", ".join(f"{count:,} {table}" for table, count in rows.items())
    print(f"{chosen.folder}: {counts}; {size / 1e9:.2f} GB in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
