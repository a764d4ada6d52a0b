"""Writing commands: one line each, with what was run before and what of a killed run may stay."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omop_emb.service import demo
from tests.tiny_models import layer_folder

_EVERY_NTH_CONCEPT = 6


@dataclass(frozen=True)
class WritingCommand:
    """A command that is killed.

    Attributes:
        line: the command, as typed in the folder of write_inputs(), without the program's name; or a step.
        before: commands that were run before, undisturbed.
        base: "ready" (two spaces, approvals, a ranker), "loaded" (a vocabulary alone) or "empty".
        resumes: what a killed run has committed may stay, because the next run goes on from there.
        cold: nothing is in the cache folder.
        model: the variable OMOP_EMB_MODEL.
    """

    line: str
    before: tuple[str, ...] = ()
    base: str = "ready"
    resumes: bool = False
    cold: bool = False
    model: str | None = None


_MAP = "map terms.csv -o"
_STCM = "--source-vocabulary-id LOCAL --unreviewed --map-key code+name"
_REVIEWED = ("step-review ward.csv", "step-decide ward")
_BUILD_CONDITIONS = "index build --yes --texts name --domain Condition --name new"

COMMANDS = {
    "vocabulary load": WritingCommand("vocabulary load later --changes changes.csv"),
    "first vocabulary load": WritingCommand("vocabulary load later", base="empty", resumes=True),
    # The release that is not kept is dropped when the new one is in use, or by the next load.
    "vocabulary load without keeping": WritingCommand("vocabulary load later --no-keep", resumes=True),
    "vocabulary rollback": WritingCommand("vocabulary rollback", before=("vocabulary load later",)),
    "index build flat": WritingCommand(f"{_BUILD_CONDITIONS} --index-type flat", base="loaded", resumes=True),
    "index build hnsw": WritingCommand(
        f"{_BUILD_CONDITIONS} --index-type hnsw --partial Condition", base="loaded", resumes=True
    ),
    "index build of a later release": WritingCommand(
        "index build --yes", before=("vocabulary load later",), resumes=True
    ),
    "index build that shrinks": WritingCommand("index build --yes --texts name --allow-shrink", resumes=True),
    "index build of int8": WritingCommand(
        "index build --yes --quantize --name small --domain Specimen",
        resumes=True,
        cold=True,
        model="local:layer",
    ),
    "db restore": WritingCommand("db restore ready.dump", base="empty"),
    "index activate": WritingCommand("index activate hnsw"),
    "index drop": WritingCommand("index drop hnsw --yes"),
    "index export": WritingCommand("index export space.parquet"),
    "index import": WritingCommand(
        "index import space.parquet --unasked",
        before=("index export space.parquet --name hnsw", "index drop hnsw --yes"),
        resumes=True,  # an empty space that nobody reads
    ),
    "map to csv": WritingCommand(
        f"{_MAP} out.csv --candidates-output all.tsv --review-queue queue.xlsx --map-file map.csv {_STCM}"
    ),
    "map to xlsx": WritingCommand(f"{_MAP} out.xlsx --candidates-output all.parquet"),
    "map to parquet": WritingCommand(f"{_MAP} out.parquet --review-queue queue.tsv --explain 2"),
    "map to usagi": WritingCommand(f"{_MAP} out.usagi.csv --previous approved.csv --outdated lost.tsv"),
    "map to the database": WritingCommand(f"{_MAP} out.tsv --map-schema omop_emb --keep-run {_STCM}"),
    "map over an earlier output": WritingCommand(
        f"{_MAP} out.csv --batch-size 10", before=("map few.csv -o out.csv",)
    ),
    "map resumed": WritingCommand(f"{_MAP} out.csv --batch-size 5 --resume"),
    "map to stdout": WritingCommand(f"{_MAP} -", cold=True),
    "memory remember": WritingCommand("memory remember approved.csv --site north"),
    "memory forget": WritingCommand("memory forget --all"),
    "calibrate": WritingCommand("calibrate approved.csv --site north --name north-1"),
    "ranker use": WritingCommand("ranker use shipped"),
    "ranker drop": WritingCommand("ranker drop first --yes"),
    "evaluate": WritingCommand("evaluate approved.csv --report report --by domain"),
    "db migrate": WritingCommand("db migrate", base="empty"),
    "db dump": WritingCommand("db dump kept.dump"),
    "vocabulary changes": WritingCommand(
        "vocabulary changes changes.xlsx", before=("vocabulary load later",)
    ),
    "index finish": WritingCommand(
        "index finish layer-hnsw", before=("step-load-space layer",), resumes=True
    ),
    "review of a file": WritingCommand("step-review ward.csv", resumes=True),
    "review decided at once": WritingCommand(
        "step-approve ward", before=("ranker use shipped", "step-review ward.csv")
    ),
    "review that trains": WritingCommand("step-train ward", before=_REVIEWED, resumes=True),
    "review exported to xlsx": WritingCommand("review --export ward -o out.xlsx", before=_REVIEWED),
    "review exported to the database": WritingCommand(
        "review --export ward --schema omop_emb --set source_vocabulary_id=LOCAL", before=_REVIEWED
    ),
    "review read back": WritingCommand(
        "review --read-back ward filled.csv --reviewer Bob",
        before=(*_REVIEWED, "review --export ward -o filled.csv", "step-fill filled.csv"),
    ),
    "review deleted": WritingCommand("review --delete ward --yes", before=_REVIEWED),
    "search of a file": WritingCommand("search --file few.csv --name-column name", cold=True),
}


def write_inputs(folder: Path) -> None:
    """The files that the commands read."""
    layer_folder(folder / "layer")
    _write_vocabulary(folder / "first", "v1 first", lambda number: number % _EVERY_NTH_CONCEPT == 0)
    _write_vocabulary(
        folder / "later", "v2 later", lambda number: number % _EVERY_NTH_CONCEPT == 0 or number % 24 == 1
    )
    terms = demo.terms()
    _write_csv(
        folder / "terms.csv", ("code", "name"), ((f"T{n}", one.source_term) for n, one in enumerate(terms))
    )
    _write_csv(folder / "few.csv", ("code", "name"), [("F1", "heart attack"), ("F2", "cough")])
    ward = [*_names(folder / "first", 8)]
    _write_csv(folder / "ward.csv", ("code", "name"), ((f"W{n}", name) for n, (_, name) in enumerate(ward)))
    approved = [*_names(folder / "first", 130)]
    _write_csv(
        folder / "approved.csv",
        ("source_code", "source_name", "concept_id", "reviewed"),
        ((f"A{n}", f"{name} (ward)", concept_id, "x") for n, (concept_id, name) in enumerate(approved)),
    )


def _names(vocabulary: Path, count: int) -> Iterator[tuple[str, str]]:
    with (vocabulary / "CONCEPT.csv").open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        standard = (row for row in rows if row["standard_concept"] == "S")
        for row, _ in zip(standard, range(count), strict=False):
            yield row["concept_id"], row["concept_name"]


def _write_vocabulary(folder: Path, version: str, is_in: object) -> None:
    """A part of the sample vocabulary, in Athena's layout."""
    assert callable(is_in)
    folder.mkdir()
    lines = (demo.SAMPLE / "CONCEPT.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    chosen = [line for number, line in enumerate(lines[1:]) if is_in(number)]
    ids = {line.partition("\t")[0] for line in chosen}
    (folder / "CONCEPT.csv").write_text(lines[0] + "".join(chosen), encoding="utf-8")
    for name, columns in (("CONCEPT_SYNONYM", 1), ("CONCEPT_RELATIONSHIP", 2), ("CONCEPT_ANCESTOR", 2)):
        lines = (demo.SAMPLE / f"{name}.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        chosen = [line for line in lines[1:] if ids.issuperset(line.rstrip("\n").split("\t")[:columns])]
        (folder / f"{name}.csv").write_text(lines[0] + "".join(chosen), encoding="utf-8")
    shutil.copy(demo.SAMPLE / "DOMAIN.csv", folder)
    vocabularies = (demo.SAMPLE / "VOCABULARY.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(vocabularies):
        cells = line.rstrip("\n").split("\t")
        if cells[0] == "None":
            cells[3] = version
            vocabularies[number] = "\t".join(cells) + "\n"
    (folder / "VOCABULARY.csv").write_text("".join(vocabularies), encoding="utf-8")


def _write_csv(path: Path, header: tuple[str, ...], rows: object) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)  # type: ignore[arg-type] # any iterable of rows
