"""Terms in their own language: gold terms with the text that a hospital wrote, and a vocabulary for them.

usage: language_terms.py DATA_FOLDER OUTPUT_FOLDER [--others 30000]

DATA_FOLDER holds vocab/ (Athena's layout) and gold/*.tsv. OUTPUT_FOLDER becomes a vocabulary in Athena's
layout that has every target of these terms, so many other standard concepts drawn at random, and all that is
not standard: small enough to be embedded by two models in minutes. Then, with a database of its own:

    omop-emb vocabulary load OUTPUT_FOLDER
    omop-emb index build
    OMOP_EMB_MODEL=local:multilingual-e5-small omop-emb index build --name multilingual
    language_quality.py DATA_FOLDER --also-space multilingual
"""

from __future__ import annotations

import argparse
import csv
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

LANGUAGES = {"finomop": "Finnish", "amstel": "Dutch", "abucasis": "Spanish", "korea": "Korean"}
"""The language that a family's texts were written in."""

_SEED = 7


@dataclass(frozen=True, slots=True)
class LanguageTerm:
    """A term as it was written and as people translated it, with the concepts that they chose."""

    set_name: str
    language: str
    original: str
    english: str
    domain: str | None
    targets: frozenset[int]


def read_language_terms(folder: Path, *, per_set: int | None = None) -> list[LanguageTerm]:
    """Findable terms whose original is given and differs from the English; at most so many of each set."""
    csv.field_size_limit(10**9)
    terms: list[LanguageTerm] = []
    for path in sorted(folder.glob("*.tsv")):
        language = LANGUAGES.get(path.stem.split("_")[0])
        if language is None:
            continue
        with path.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t"))
        of_set = [
            LanguageTerm(
                set_name=path.stem,
                language=language,
                original=row["source_term_original"].strip(),
                english=row["source_term"].strip(),
                domain=row["gold_domain"] or None,
                targets=frozenset(int(part) for part in row["target_concept_ids"].split("|") if part),
            )
            for row in rows
            if int(row["n_targets_standard_in_vocab"] or 0) > 0
        ]
        of_set = [term for term in of_set if term.original and term.english and term.original != term.english]
        random.Random(f"{_SEED} {path.stem}").shuffle(of_set)  # noqa: S311 - a sample, not a secret
        terms += of_set[:per_set]
    return terms


def write_vocabulary(data: Path, output: Path, others: int) -> int:
    """A part of data/vocab that has all targets; returns its number of standard concepts."""
    targets = {str(target) for term in read_language_terms(data / "gold") for target in term.targets}
    output.mkdir(parents=True, exist_ok=True)
    header, *lines = (data / "vocab" / "CONCEPT.csv").read_text(encoding="utf-8").splitlines()
    standard = header.split("\t").index("standard_concept")
    is_standard = [line.split("\t")[standard] == "S" for line in lines]
    rest = [
        number
        for number, line in enumerate(lines)
        if is_standard[number] and line.partition("\t")[0] not in targets
    ]
    drawn = set(random.Random(_SEED).sample(rest, min(others, len(rest))))  # noqa: S311 - a sample
    dropped = set(rest) - drawn
    kept = [line for number, line in enumerate(lines) if number not in dropped]
    ids = {line.partition("\t")[0] for line in kept}
    _write(output / "CONCEPT.csv", [header, *kept])
    for path in sorted((data / "vocab").glob("*.csv")):
        if path.name in ("CONCEPT_SYNONYM.csv", "CONCEPT_RELATIONSHIP.csv", "CONCEPT_ANCESTOR.csv"):
            columns = 1 if "SYNONYM" in path.name else 2
            header, *lines = path.read_text(encoding="utf-8").splitlines()
            _write(path=output / path.name, lines=[header, *(x for x in lines if _inside(x, ids, columns))])
        elif path.name != "CONCEPT.csv":
            shutil.copy(path, output / path.name)
    return sum(is_standard) - len(dropped)


def _inside(line: str, ids: set[str], columns: int) -> bool:
    return all(value in ids for value in line.split("\t", columns)[:columns])


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Write the vocabulary and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--others", type=int, default=30_000)
    arguments = parser.parse_args()
    count = write_vocabulary(arguments.data, arguments.output, arguments.others)
    print(f"{count:,} standard concepts in {arguments.output}")


if __name__ == "__main__":
    main()
