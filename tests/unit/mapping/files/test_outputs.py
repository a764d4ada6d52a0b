"""Tables, queues, source_to_concept_map and journals that mapping writes."""

from __future__ import annotations

import csv
import datetime
import io
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow.parquet
import pytest

from omop_emb.errors import InputError
from omop_emb.mapping.files.input_file import InputFile
from omop_emb.mapping.files.journal import Journal, journal_path
from omop_emb.mapping.files.result_json import from_json, to_json
from omop_emb.mapping.files.result_rows import candidate_columns, candidate_rows, term_columns, term_row
from omop_emb.mapping.files.review_queue import write_review_queue
from omop_emb.mapping.files.source_to_concept_map import COLUMNS, MapKey, MapRow, MapRowBuilder, MapSettings
from omop_emb.mapping.files.table_writer import Column, check_table_path, write_table
from omop_emb.mapping.files.usagi_file import UsagiFile
from omop_emb.mapping.mapper import map_in_batches
from omop_emb.mapping.records import CheckedTargets, Decision, MappedTerm, MappedValue, SourceTerm
from omop_emb.records import Concept
from omop_emb.safe_files.atomic_file import atomic_write
from tests.unit.mapping.files.sample_results import candidate, mapped, rich

TERM = SourceTerm(name='Köhä, "dry"', code="007", frequency=12, extra={"ward": "A", "rank": "R"}, line=2)


def read_csv(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")), delimiter=delimiter))


# --- files that appear complete


def test_a_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with atomic_write(path) as handle:
        handle.write(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")

    def interrupted() -> None:
        with atomic_write(path) as handle:
            handle.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv"]


def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    script = (
        "import sys, time\n"
        "from omop_emb.safe_files.atomic_file import atomic_write\n"
        "with atomic_write(sys.argv[1]) as handle:\n"
        "    handle.write(b'x' * 10_000_000)\n"
        "    print('written', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    assert path.read_text() == "old"


def test_an_overwritten_file_keeps_its_permissions(tmp_path: Path) -> None:
    fresh, old = tmp_path / "fresh", tmp_path / "old"
    old.touch()
    old.chmod(0o640)
    reference = tmp_path / "reference"
    reference.touch()
    for path in (fresh, old):
        with atomic_write(path):
            pass
    assert stat.S_IMODE(fresh.stat().st_mode) == stat.S_IMODE(reference.stat().st_mode)
    assert stat.S_IMODE(old.stat().st_mode) == 0o640


def test_a_link_is_written_through(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    with atomic_write(link) as handle:
        handle.write(b"new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_an_unwritable_place_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"), atomic_write(tmp_path / "none" / "out.csv"):
        pass
    with pytest.raises(InputError, match="is a folder"), atomic_write(tmp_path):
        pass
    with pytest.raises(InputError, match="No space left"), atomic_write(tmp_path / "x"):
        raise OSError(28, "No space left on device")


# --- tables


@pytest.mark.parametrize(
    "name",
    [
        "t.txt",
        "t.json",
        "t.xls",
        "t.xlsm",
        "t.ods",
        "t.csv.gz",
        "t",
        "t.",
        ".csv",
        "t.CSVX",
        "t.html",
        "t.feather",
    ],
)
def test_a_table_of_an_unknown_ending_is_refused_before_anything_is_written(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match=r"must end in \.csv, \.tsv, \.xlsx or \.parquet"):
        check_table_path(tmp_path / name)
    with pytest.raises(InputError, match="must end in"), write_table(tmp_path / name, [Column("a")]):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["t.csv", "t.CSV", "t.tsv", "t.xlsx", "t.XLSX", "t.parquet", "a.b.usagi.csv"]
)
def test_a_table_of_a_known_ending_is_accepted(tmp_path: Path, name: str) -> None:
    check_table_path(tmp_path / name)


@pytest.mark.parametrize("path", ["-", "/dev/stdout", "/dev/null"])
def test_what_is_no_regular_file_takes_csv(path: str) -> None:
    check_table_path(path)


def test_a_table_in_no_folder_or_in_the_name_of_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        check_table_path(tmp_path / "folder.csv")
    with pytest.raises(InputError, match="there is no folder"):
        check_table_path(tmp_path / "none" / "t.csv")


def test_a_table_as_a_workbook_is_read_back(tmp_path: Path) -> None:
    columns = [Column("a"), Column("n", "integer"), Column("d", "date")]
    with write_table(tmp_path / "t.xlsx", columns) as write_row:
        write_row({"a": "007", "n": 3, "d": datetime.date(2024, 1, 2)})
    sheet = openpyxl.load_workbook(tmp_path / "t.xlsx").worksheets[0]
    rows = [list(row) for row in sheet.iter_rows(values_only=True)]
    assert rows == [["a", "n", "d"], ["007", 3, datetime.datetime(2024, 1, 2)]]


@pytest.mark.parametrize(("name", "delimiter"), [("t.csv", ","), ("t.tsv", "\t")])
def test_a_table_as_text(tmp_path: Path, name: str, delimiter: str) -> None:
    columns = [Column("a"), Column("n", "integer"), Column("b", "boolean"), Column("d", "date")]
    with write_table(tmp_path / name, columns) as write_row:
        write_row({"a": 'x\t, "y"\n', "n": 3, "b": True, "d": datetime.date(2024, 1, 2)})
        write_row({"a": "ä"})
    assert read_csv(tmp_path / name, delimiter) == [
        {"a": 'x\t, "y"\n', "n": "3", "b": "true", "d": "2024-01-02"},
        {"a": "ä", "n": "", "b": "", "d": ""},
    ]


def test_a_table_as_parquet_has_types_and_nulls(tmp_path: Path) -> None:
    columns = [Column("a"), Column("n", "integer"), Column("r", "real"), Column("d", "date")]
    with write_table(tmp_path / "t.parquet", columns) as write_row:
        for n in range(12_000):
            write_row({"a": str(n), "n": n, "d": datetime.date(2024, 1, 2)})
    read = pyarrow.parquet.read_table(tmp_path / "t.parquet")
    assert [str(field.type) for field in read.schema] == ["string", "int64", "double", "date32[day]"]
    assert read.column("n").to_pylist() == list(range(12_000))
    assert read.column("r").null_count == 12_000


def test_an_empty_table_has_its_header(tmp_path: Path) -> None:
    for name in ("t.csv", "t.parquet"):
        with write_table(tmp_path / name, [Column("a")]):
            pass
    assert (tmp_path / "t.csv").read_text() == "a\n"
    assert pyarrow.parquet.read_table(tmp_path / "t.parquet").column_names == ["a"]


def test_a_failed_table_leaves_no_file(tmp_path: Path) -> None:
    def failing() -> None:
        with write_table(tmp_path / "t.parquet", [Column("n", "integer")]) as write_row:
            write_row({"n": "not a number"})

    with pytest.raises(Exception, match=r"not a number|integer"):
        failing()
    assert list(tmp_path.iterdir()) == []


def test_the_candidate_table_has_all_scores(tmp_path: Path) -> None:
    with write_table(tmp_path / "c.csv", candidate_columns(["ward", "rank"])) as write_row:
        for row in candidate_rows(rich(TERM)):
            write_row(row)
        for row in candidate_rows(mapped(SourceTerm(name="xyzzy"), decision=Decision.NO_MATCH)):
            write_row(row)
    first, second, none = read_csv(tmp_path / "c.csv")
    assert (first["source_code"], first["rank"], first["concept_id"]) == ("007", "1", "254761")
    assert (first["dense_score"], first["lexical_score"], first["exact_score"]) == ("0.91", "0.8", "")
    assert first["path"] == "1 Hoesten (Maps to)"
    assert (first["value_concept_id"], first["unit_concept_id"]) == ("317009;4191479", "9529")
    assert (first["number_concept_id"], second["value_concept_id"]) == ("", "")
    assert (first["judged"], second["judged"]) == ("true", "false")
    assert second["probability"] == ""
    assert (first["ward"], first["source:rank"]) == ("A", "R")
    assert (none["source_name"], none["rank"], none["decision"]) == ("xyzzy", "", "no match")


def test_the_term_table_has_the_best_candidate_and_the_provenance() -> None:
    row = term_row(rich(TERM))
    assert set(row) <= {column.name for column in term_columns(["ward", "rank"])}
    assert (row["concept_id"], row["targets"], row["by_code"]) == (254761, "254761", "254761")
    assert row["others"] == "257581 Exacerbation of asthma"
    assert (row["value_concept_id"], row["operator_concept_id"]) == ("317009;4191479", "")
    assert "ranker default-1" in row["provenance"]


def test_the_review_queue_is_sorted_by_priority_without_accepted_terms(tmp_path: Path) -> None:
    priorities = [3.0, 9.0, 9.0, 0.5]
    with write_review_queue(tmp_path / "q.csv") as add:
        for n, priority in enumerate(priorities):
            add(mapped(SourceTerm(name=str(n)), candidate(5), priority=priority))
        add(mapped(SourceTerm(name="sure"), candidate(5), decision=Decision.ACCEPT, priority=99.0))
    assert [row["source_name"] for row in read_csv(tmp_path / "q.csv")] == ["1", "2", "0", "3"]


# --- source_to_concept_map


def vocabulary(ids: Iterable[int]) -> Mapping[int, Concept]:
    known = {7: Concept(7, "Seven", vocabulary_id="LOINC")}
    return {concept_id: known[concept_id] for concept_id in ids if concept_id in known}


def rows_of(rows: MapRowBuilder, *terms: MappedTerm) -> list[MapRow]:
    for term in terms:
        rows.add_term(term)
    return list(rows.rows())


def test_accepted_terms_and_their_targets_become_rows() -> None:
    rows = MapRowBuilder(MapSettings(source_vocabulary_id="HOSP"), vocabulary)
    term = mapped(TERM, candidate(5), decision=Decision.ACCEPT, by_code=(5, 7))
    first, second = rows_of(rows, term)
    assert first == MapRow(
        source_code="007",
        source_concept_id=0,
        source_vocabulary_id="HOSP",
        source_code_description='Köhä, "dry"',
        target_concept_id=5,
        target_vocabulary_id="SNOMED",
        valid_start_date=datetime.date(1970, 1, 1),
        valid_end_date=datetime.date(2099, 12, 31),
        invalid_reason=None,
    )
    assert (second.target_concept_id, second.target_vocabulary_id) == (7, "LOINC")
    assert [column.name for column in COLUMNS] == list(first.as_dict())


def test_no_match_is_concept_0_of_vocabulary_none_and_review_is_left_out() -> None:
    rows = MapRowBuilder(MapSettings(source_vocabulary_id="HOSP"), vocabulary)
    (row,) = rows_of(
        rows, mapped(TERM, candidate(5)), mapped(SourceTerm(name="x", code="8"), decision=Decision.NO_MATCH)
    )
    assert (row.source_code, row.target_concept_id, row.target_vocabulary_id) == ("8", 0, "None")
    assert rows.unreviewed == 1
    eager = MapRowBuilder(MapSettings(source_vocabulary_id="HOSP", unreviewed=True), vocabulary)
    assert [row.target_concept_id for row in rows_of(eager, mapped(TERM, candidate(5)))] == [5]


def test_rows_that_do_not_fit_the_cdm_are_reported() -> None:
    rows = MapRowBuilder(MapSettings(source_vocabulary_id="HOSP"), vocabulary)

    def accepted(name: str, code: str, line: int, *targets: int) -> MappedTerm:
        term = SourceTerm(name=name, code=code, line=line)
        return mapped(term, candidate(5), decision=Decision.ACCEPT, previous=targets)

    written = rows_of(
        rows,
        accepted("a", "c" * 51, 2, 7),
        accepted("n" * 256, "c" * 50, 3, 7),
        accepted("n" * 51, "", 4, 7),
        accepted("named", "", 5, 7),
        accepted("a", "z", 6, 8),
        accepted("again", "named", 7, 7),
        accepted("n" * 45, "c" * 10, 8, 7),
    )
    assert [(row.source_code, len(row.source_code_description)) for row in written] == [
        ("c" * 50, 255),
        ("named", 5),
        ("c" * 10, 45),
    ]
    assert [str(problem) for problem in rows.problems] == [
        "line 2: the code is longer than 50 characters",
        "line 3: the name is longer than 255 characters and was cut",
        "line 4: there is no code, and the name instead is longer than 50 characters",
        "line 6: concept 8 is not in the vocabulary",
    ]


def test_approved_mappings_of_usagi_become_rows(tmp_path: Path) -> None:
    header = "sourceCode,sourceName,sourceFrequency,matchScore,mappingStatus,conceptId"
    lines = ["1,a,3,1,APPROVED,7", "2,b,3,1,APPROVED,0", "3,c,3,1,UNCHECKED,7", "4,d,3,1,IGNORED,0"]
    path = tmp_path / "u.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    rows = MapRowBuilder(MapSettings(source_vocabulary_id="HOSP"), vocabulary)
    with InputFile(path) as source:
        for each in UsagiFile(source, "utf-8").mappings():
            rows.add_usagi(each)
    written = list(rows.rows())
    assert [(row.source_code, row.target_concept_id) for row in written] == [("1", 7), ("2", 0)]
    assert rows.unreviewed == 1


# What the terms of a file say: (code, name, targets or None for review); with the key "code" the rows
# (source_code, target), the codes that are left out, and the rows with the key "code+name".
SHARED_CODES: list[tuple[str, Sequence[tuple[str, str, tuple[int, ...] | None]], Any, list[str], Any]] = [
    ("one name", [("K", "a", (7,))], [("K", 7)], [], [("K|a", 7)]),
    ("two names agree", [("K", "a", (7,)), ("K", "b", (7,))], [("K", 7)], [], [("K|a", 7), ("K|b", 7)]),
    ("they differ", [("K", "a", (7,)), ("K", "b", (5,))], [], ["K"], [("K|a", 7), ("K|b", 5)]),
    ("one more", [("K", "a", (7,)), ("K", "b", (7, 5))], [], ["K"], [("K|a", 7), ("K|b", 7), ("K|b", 5)]),
    (
        "another order", [("K", "a", (5, 7)), ("K", "b", (7, 5))],
        [("K", 5), ("K", 7)], [], [("K|a", 5), ("K|a", 7), ("K|b", 7), ("K|b", 5)],
    ),
    ("no match and a match", [("K", "a", ()), ("K", "b", (5,))], [], ["K"], [("K|a", 0), ("K|b", 5)]),
    ("one in review", [("K", "a", (7,)), ("K", "b", None)], [], ["K"], [("K|a", 7)]),
    ("review comes first", [("K", "b", None), ("K", "a", (7,))], [], ["K"], [("K|a", 7)]),
    ("the same row twice", [("K", "a", (7,)), ("K", "a", (7,))], [("K", 7)], [], [("K|a", 7)]),
    ("spaces around", [("K ", "a", (7,)), (" K", "b", (5,))], [], ["K"], [("K|a", 7), ("K|b", 5)]),
    ("case", [("Ka", "a", (7,)), ("KA", "b", (5,))], [("Ka", 7), ("KA", 5)], [], [("Ka|a", 7), ("KA|b", 5)]),
    ("no code", [("", "a", (7,)), ("", "b", (5,))], [("a", 7), ("b", 5)], [], [("a", 7), ("b", 5)]),
    ("no code, a name twice", [("", "a", (7,)), ("", "a", (5,))], [], [""], []),
    ("a name like a code", [("K", "a", (7,)), ("", "K", (5,))], [], [""], [("K|a", 7), ("K", 5)]),
    (
        "far apart", [("K", "a", (7,)), ("L", "c", (7,)), ("K", "b", (5,))],
        [("L", 7)], ["K"], [("K|a", 7), ("L|c", 7), ("K|b", 5)],
    ),
    ("a bar in a code", [("K|a", "b", (7,)), ("K", "a|b", (5,))], [("K|a", 7), ("K", 5)], [], []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("_case", "terms", "by_code", "left_out", "by_name"), SHARED_CODES, ids=[row[0] for row in SHARED_CODES]
)
def test_a_code_is_written_only_if_all_its_names_have_the_same_targets(
    _case: str,
    terms: Sequence[tuple[str, str, tuple[int, ...] | None]],
    by_code: Any,
    left_out: list[str],
    by_name: Any,
) -> None:
    def written(key: MapKey) -> MapRowBuilder:
        return MapRowBuilder(MapSettings(source_vocabulary_id="HOSP", key=key), vocabulary)

    results = [
        mapped(SourceTerm(name=name, code=code), candidate(5))
        if targets is None
        else mapped(
            SourceTerm(name=name, code=code),
            candidate(5),
            decision=Decision.ACCEPT if targets else Decision.NO_MATCH,
            previous=targets or (0,),
        )
        for code, name, targets in terms
    ]
    rows = written("code")
    assert [(row.source_code, row.target_concept_id) for row in rows_of(rows, *results)] == by_code
    assert (rows.conflicting, rows.only_case) == (left_out, ["Ka", "KA"] if _case == "case" else [])
    named = rows_of(written("code+name"), *results)
    assert [(row.source_code, row.target_concept_id) for row in named] == by_name


def test_a_key_that_is_too_long_is_reported_and_never_cut() -> None:
    rows = MapRowBuilder(MapSettings(source_vocabulary_id="HOSP", key="code+name"), vocabulary)
    terms = [SourceTerm(name="n" * 45 + last, code="12345", line=line) for line, last in ((2, "a"), (3, "b"))]
    assert rows_of(rows, *(mapped(t, candidate(5), decision=Decision.ACCEPT) for t in terms)) == []
    assert [str(problem) for problem in rows.problems] == [
        f"line {line}: the code with the name is longer than 50 characters" for line in (2, 3)
    ]


# Targets of a term, what the check says, and the targets that are written.
CHECKS = [
    ("valid", (7,), CheckedTargets((7,)), [7], 0),
    ("one replacement", (8,), CheckedTargets((7,), "8 is deprecated: 7 instead"), [7], 1),
    (
        "no or several replacements",
        (8,),
        CheckedTargets((), "8 is deprecated and nothing replaces it"),
        [],
        0,
    ),
]


@pytest.mark.parametrize(("_case", "targets", "checked", "written", "replaced"), CHECKS)
def test_a_target_that_is_not_valid_is_replaced_or_left_out(
    _case: str, targets: tuple[int, ...], checked: CheckedTargets, written: list[int], replaced: int
) -> None:
    rows = MapRowBuilder(MapSettings(source_vocabulary_id="HOSP"), vocabulary, lambda _targets: checked)
    term = mapped(SourceTerm(name="a", code="K", line=4), decision=Decision.ACCEPT, previous=targets)
    assert [row.target_concept_id for row in rows_of(rows, term)] == written
    assert rows.replaced == replaced
    reported = [f"line 4: not in source_to_concept_map: {checked.outdated}"] if not written else []
    assert [str(problem) for problem in rows.problems] == reported


@pytest.mark.parametrize("name", ["", " ", "x" * 21])
def test_a_source_vocabulary_is_required(name: str) -> None:
    with pytest.raises(InputError, match="--source-vocabulary-id"):
        MapSettings(source_vocabulary_id=name)


def test_dates_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(InputError, match="before they begin"):
        MapSettings(source_vocabulary_id="X", valid_end_date=datetime.date(1969, 1, 1))


def test_values_and_units_are_counted_and_become_no_rows(tmp_path: Path) -> None:
    rows = MapRowBuilder(MapSettings(source_vocabulary_id="HOSP"), vocabulary)
    rows.add_term(rich(TERM, {"decision": Decision.ACCEPT}))
    assert rows.values == 3
    alone = mapped(
        SourceTerm(name="kg", code="u"),
        candidate(5),
        decision=Decision.ACCEPT,
        previous_values=(MappedValue("Maps to unit", 9529, "kilogram"),),
    )
    rows.add_term(alone)
    assert rows.values == 4
    path = tmp_path / "u.csv"
    header = "sourceCode,sourceName,sourceFrequency,matchScore,mappingStatus,conceptId,mappingType"
    types = ("MAPS_TO", "MAPS_TO_VALUE", "MAPS_TO_UNIT", "MAPS_TO_OPERATOR", "MAPS_TO_NUMBER", "MAPS_TO_TYPE")
    lines = [
        f"{code},a,3,1,APPROVED,7,{kind}"
        for code in "12"
        for kind in types
        if (code, kind) != ("2", "MAPS_TO")
    ]
    path.write_text("\n".join([header, *lines]) + "\n")
    with InputFile(path) as source:
        for each in UsagiFile(source, "utf-8").mappings():
            rows.add_usagi(each)
    written = list(rows.rows())
    assert [(row.source_code, row.target_concept_id) for row in written] == [("007", 254761), ("1", 7)]
    assert rows.values == 4 + 10


# --- journals


def test_a_mapped_term_is_the_same_after_json() -> None:
    assert from_json(to_json(rich(TERM))) == rich(TERM)
    scored = mapped(TERM, candidate(5, score=np.float32(0.5)), probability=float(np.float64(0.1)))
    assert from_json(to_json(scored)) == scored


class Mapper:
    """Maps terms, remembers them, and stops where it is told to."""

    def __init__(self, stop_at: str = "") -> None:
        self.seen: list[str] = []
        self._stop_at = stop_at

    def __call__(self, batch: Sequence[SourceTerm]) -> list[MappedTerm]:
        if any(term.name == self._stop_at for term in batch):
            raise KeyboardInterrupt
        self.seen += [term.name for term in batch]
        return [rich(term) for term in batch]


TERMS = [SourceTerm(name=str(n), code="ä", line=n + 2) for n in range(10)]


def run(path: Path, mapper: Mapper, *, resume: bool = False, digest: str = "d", **settings: str) -> list[str]:
    with Journal(path, input_digest=digest, settings=settings, resume=resume) as journal:
        results = list(map_in_batches(TERMS, mapper, begin=list, batch_size=3, journal=journal))
        journal.remove()
    return [result.term.name for result in results]


def test_an_interrupted_run_resumes_with_the_rest(tmp_path: Path) -> None:
    path = journal_path(tmp_path / "out.csv")
    with pytest.raises(KeyboardInterrupt):
        run(path, Mapper(stop_at="7"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = Mapper()
    assert run(path, again, resume=True) == [term.name for term in TERMS]
    assert again.seen == ["6", "7", "8", "9"]
    assert not path.exists()


def test_a_half_written_journal_line_is_mapped_again(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with pytest.raises(KeyboardInterrupt):
        run(path, Mapper(stop_at="7"))
    path.write_bytes(path.read_bytes()[:-20])
    again = Mapper()
    assert run(path, again, resume=True) == [term.name for term in TERMS]
    assert again.seen == ["5", "6", "7", "8", "9"]


def test_resuming_nothing_is_a_new_run_and_a_new_run_drops_the_old_journal(
    tmp_path: Path,
) -> None:
    path = tmp_path / "j"
    mapper = Mapper()
    assert len(run(path, mapper, resume=True)) == len(mapper.seen) == 10
    with pytest.raises(KeyboardInterrupt):
        run(path, Mapper(stop_at="7"))
    mapper = Mapper()
    run(path, mapper)
    assert len(mapper.seen) == 10


def test_another_input_or_other_settings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with pytest.raises(KeyboardInterrupt):
        run(path, Mapper(stop_at="7"), space="1")
    before = path.read_bytes()
    with pytest.raises(InputError, match="another input"):
        run(path, Mapper(), resume=True, digest="e", space="1")
    with pytest.raises(InputError, match="other settings"):
        run(path, Mapper(), resume=True, space="2")
    assert path.read_bytes() == before
    path.write_text("code,name\n")
    with pytest.raises(InputError, match="is not a journal"):
        run(path, Mapper(), resume=True)


def test_two_runs_cannot_share_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with (
        Journal(path, input_digest="d", settings={}, resume=False),
        pytest.raises(InputError, match="another run"),
        Journal(path, input_digest="d", settings={}, resume=True),
    ):
        pass


def test_stdout_has_no_journal() -> None:
    with pytest.raises(InputError, match="--resume"):
        journal_path("-")


def test_a_lost_result_raises_instead_of_shifting_the_rows() -> None:
    with pytest.raises(ValueError, match="3 terms gave 2 results"):
        list(
            map_in_batches(TERMS, lambda batch: [rich(term) for term in batch[1:]], begin=list, batch_size=3)
        )


def test_rows_of_an_excel_file_wait_where_a_killed_process_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    with write_table(tmp_path / "out.xlsx", [Column("name")]) as write:
        for _ in range(10_000):
            write({"name": "a"})
        (waiting,) = (path for path in tmp_path.iterdir() if path.is_file())
        assert re.fullmatch(r"\.out\.xlsx\.[0-9a-f]{8}\.part", waiting.name)
        assert waiting.stat().st_size == 0
        assert not list((tmp_path / "tmp").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.xlsx", "tmp"]
    assert openpyxl.load_workbook(tmp_path / "out.xlsx").active.max_row == 10_001


def test_an_excel_file_holds_texts_as_they_are_and_no_more_rows_than_a_sheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("=1+1", 7, None), ("a\x0bb", 8, True), ("007", -1, False)]
    with write_table(tmp_path / "t.xlsx", [Column("a"), Column("n", "integer"), Column("b")]) as write_row:
        for text, number, flag in rows:
            write_row({"a": text, "n": number, "b": flag})
    sheet = openpyxl.load_workbook(tmp_path / "t.xlsx").active
    assert [tuple(cell.value for cell in row) for row in sheet.iter_rows()] == [
        ("a", "n", "b"),
        ("=1+1", 7, None),
        ("ab", 8, True),
        ("007", -1, False),
    ]
    assert sheet["A2"].data_type == "s"
    monkeypatch.setattr("omop_emb.mapping.files.excel_writer._EXCEL_ROWS", 2)
    with (
        pytest.raises(InputError, match=r"do not fit in a sheet of Excel: use \.csv"),
        write_table(tmp_path / "t.xlsx", [Column("a")]) as write_row,
    ):
        list(map(write_row, [{"a": "x"}, {"a": "y"}]))
    assert openpyxl.load_workbook(tmp_path / "t.xlsx").active["A2"].value == "=1+1"
