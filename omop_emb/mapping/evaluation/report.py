"""Evaluation report: one self-contained HTML page, and the same data as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from omop_emb.errors import InputError
from omop_emb.mapping.evaluation.comparison import GoldKey
from omop_emb.mapping.evaluation.evaluation_record import Evaluation
from omop_emb.mapping.evaluation.page import page_html
from omop_emb.safe_files.atomic_file import atomic_write
from omop_emb.safe_files.foreign_errors import foreign_errors
from omop_emb.safe_files.foreign_text import parse_json, read_bytes

_MOST_BYTES = 1 << 30
_MOST_RANK = 10**9
PAGE, DATA = "report.html", "report.json"


def write_report(evaluation: Evaluation, folder: str | Path) -> tuple[Path, Path]:
    """Write the page and the data into a folder, which is created if it does not exist; returns their paths.

    Raises:
        InputError: the folder's name, or one above it, is that of a file.
    """
    folder = Path(folder)
    check_report_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    page, data = folder / PAGE, folder / DATA
    with atomic_write(page) as out:
        out.write(page_html(evaluation, data.name).encode())
    with atomic_write(data) as out:
        out.write(json.dumps(evaluation.to_json(), ensure_ascii=False, indent=1).encode())
    return page, data


def check_report_folder(folder: Path) -> None:
    """Raise InputError if a report cannot be written into a folder, which need not exist."""
    above = next(one for one in (folder, *folder.resolve().parents) if one.exists())
    if not above.is_dir():
        raise InputError(f"{above} is a file, but a report is a folder: choose another name")


def read_ranks(report: Path) -> dict[GoldKey, int]:
    """The ranker's ranks of findable terms from an earlier report, or its folder, for compare_ranks()."""
    path = report / DATA if report.is_dir() else report
    what = f"is not the {DATA} of omop-emb evaluate --report"
    data = parse_json(read_bytes(path, _MOST_BYTES), path, what)
    with foreign_errors(path, what):
        return {
            (str(term["source"]), str(term["code"]), str(term["name"])): _rank(term["ranks"]["ranker"])
            for term in data["terms"]
            if term["findable"]
        }


def _rank(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < _MOST_RANK:
        raise ValueError("a rank")
    return value
