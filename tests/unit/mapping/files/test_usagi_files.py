"""Usagi files read and written: statuses, equivalences, mapping types, several targets, odd texts."""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from omop_emb.mapping.approvals.replacements import TargetStatus
from omop_emb.mapping.approvals.reuse import CheckedMappings
from omop_emb.mapping.files.columns import Columns
from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.input_file import InputFile
from omop_emb.mapping.files.repair import repair
from omop_emb.mapping.files.term_file import FileKind, ReadOptions, open_terms
from omop_emb.mapping.files.usagi_dialect import join_line, join_rfc4180, split_line
from omop_emb.mapping.files.usagi_file import STATUSES, UsagiFile, UsagiTarget
from omop_emb.mapping.files.usagi_writer import write_usagi
from omop_emb.mapping.records import Decision, MappedValue, SourceTerm
from omop_emb.records import Concept
from tests.unit.mapping.files.sample_results import PROVENANCE, candidate, mapped, rich

HEADER = (
    "sourceCode,sourceName,sourceFrequency,sourceAutoAssignedConceptIds,ADD_INFO:ward,matchScore,"
    "mappingStatus,equivalence,statusSetBy,statusSetOn,conceptId,conceptName,domainId,mappingType,comment,"
    "createdBy,createdOn,assignedReviewer"
)
EQUIVALENCES = ("EQUAL", "EQUIVALENT", "WIDER", "NARROWER", "INEXACT", "UNMATCHED", "UNREVIEWED")
ODD = ('say "ah", twice', "C:\\path\\n", "two\nlines", "köhä — yskä", "", "NA", "ends with \\", "'; drop")


def row(code: str, name: str, **changed: str) -> list[str]:
    values = {
        "sourceCode": code,
        "sourceName": name,
        "sourceFrequency": "3",
        "matchScore": "0.58",
        "mappingStatus": "UNCHECKED",
        "equivalence": "UNREVIEWED",
        "statusSetOn": "0",
        "conceptId": "0",
        "conceptName": "Unmapped",
        "mappingType": "MAPS_TO",
        "createdBy": "<auto>",
        "createdOn": "1617181920212",
        **{name.replace("ADD_INFO_", "ADD_INFO:"): value for name, value in changed.items()},
    }
    return [values.get(header, "") for header in HEADER.split(",")]


def everything() -> list[list[str]]:
    """Every state with every equivalence and mapping type, several targets, and odd texts everywhere."""
    rows = []
    for n, (status, equivalence) in enumerate(product(sorted(STATUSES), EQUIVALENCES)):
        name = ODD[n % len(ODD)] or "cough"
        for target, kind in enumerate(("MAPS_TO", "MAPS_TO_VALUE", "MAPS_TO_UNIT")[: n % 3 + 1]):
            rows.append(
                row(
                    f"c{n}",
                    name,
                    ADD_INFO_ward=ODD[(n + 3) % len(ODD)],
                    mappingStatus=status,
                    equivalence=equivalence,
                    comment=ODD[(n + 5) % len(ODD)],
                    conceptId=str(254761 + target),
                    mappingType=kind,
                    statusSetBy='Ann, \\ "B"',
                    statusSetOn="1617181920212",
                )
            )
    return rows


def save(path: Path, rows: list[list[str]], end: str = "\n", header: str = HEADER) -> Path:
    path.write_bytes("".join(line + end for line in [header, *map(join_line, rows)]).encode())
    return path


def copy(path: Path, out: Path) -> bytes:
    with open_terms(path) as terms, write_usagi(out, original=terms.usagi):
        assert terms.usagi is not None
    return out.read_bytes()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_usagi_file_survives_a_round_trip_byte_for_byte(tmp_path: Path, end: str) -> None:
    path = save(tmp_path / "in.csv", everything(), end)
    assert copy(path, tmp_path / "out.csv") == path.read_bytes()


def test_foreign_lines_survive_a_round_trip_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    body = save(path, everything()).read_bytes()
    path.write_bytes(
        body + b"too,short\n\n" + b'"quoted","for nothing"' + b"," * 15 + b",\n" + b"no line end,x"
    )
    assert copy(path, tmp_path / "out.csv") == path.read_bytes()


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), min_size=1),
            st.sampled_from(sorted(STATUSES)),
        ),
        max_size=8,
    )
)
def test_any_names_survive_a_round_trip(
    tmp_path_factory: pytest.TempPathFactory, cases: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("usagi")
    rows = [row(f"c{n}", name, mappingStatus=status) for n, (name, status) in enumerate(cases)]
    path = save(folder / "in.csv", rows)
    with InputFile(path) as source:
        names = [mapping.key[1] for mapping in UsagiFile(source, "utf-8").mappings()]
    assert names == [repair(name) for name, _ in cases]
    assert copy(path, folder / "out.csv") == path.read_bytes()


def test_only_undecided_terms_are_mapped(tmp_path: Path) -> None:
    path = save(tmp_path / "in.csv", [row(status, "x", mappingStatus=status) for status in sorted(STATUSES)])
    with open_terms(path) as terms:
        assert terms.kind is FileKind.USAGI
        assert [term.code for term in terms] == ["INVALID_TARGET", "UNCHECKED"]


def test_adjacent_rows_of_a_code_are_one_mapping(tmp_path: Path) -> None:
    rows = [
        row("1", "a", conceptId="10"),
        row("1", "a", conceptId="11", mappingType="MAPS_TO_VALUE"),
        row("1", "b", conceptId="12"),
        row("2", "b"),
        row("1", "a", conceptId="13", mappingType="EVENT"),
    ]
    with InputFile(save(tmp_path / "in.csv", rows)) as source:
        mappings = [(m.line, m.key, m.targets) for m in UsagiFile(source, "utf-8").mappings()]
    assert mappings == [
        (2, ("1", "a"), (UsagiTarget(10), UsagiTarget(11, "MAPS_TO_VALUE"))),
        (4, ("1", "b"), (UsagiTarget(12),)),
        (5, ("2", "b"), ()),
        (6, ("1", "a"), (UsagiTarget(13),)),
    ]


def test_unusable_rows_are_reported_and_copied_to_the_output(tmp_path: Path) -> None:
    rows = [
        row("1", "a"),
        row("2", "b", mappingStatus="MAYBE"),
        row("3", "c", conceptId="x"),
        row("4", " "),
        row("5", "d"),
        row("6", "e", conceptId="2147483648"),
        row("7", "f", conceptId="2147483647"),
    ]
    with open_terms(save(tmp_path / "in.csv", rows)) as terms:
        assert [term.code for term in terms] == ["1", "5", "7"]
        assert terms.problems == [
            Problem(3, "a mappingStatus that Usagi does not know"),
            Problem(4, "the conceptId is not a whole number up to 2147483647"),
            Problem(5, "no source name"),
            Problem(7, "the conceptId is not a whole number up to 2147483647"),
        ]


def test_a_term_has_its_frequency_added_info_and_requested_columns(tmp_path: Path) -> None:
    path = save(
        tmp_path / "in.csv",
        [row("1", "Cough", ADD_INFO_ward="Condition"), row("2", "x", sourceFrequency="-1")],
    )
    columns = Columns(names=("sourceName", "ADD_INFO:ward"), domain="ADD_INFO:ward")
    with open_terms(path, ReadOptions(columns=columns)) as terms:
        first, second = terms
    assert first == SourceTerm(
        name="Cough",
        code="1",
        frequency=3,
        domain="Condition",
        further_names=("Condition",),
        extra={"ward": "Condition"},
        line=2,
    )
    assert second.frequency is None


def test_only_mapped_terms_change(tmp_path: Path) -> None:
    rows = everything()
    rows.insert(10, row("new", 'Cough, "dry"', ADD_INFO_ward="A", comment="keep me"))
    path = save(tmp_path / "in.csv", rows)
    with open_terms(path) as terms:
        assert terms.usagi is not None
        results = [
            mapped(term, candidate(254761), decision=Decision.ACCEPT, probability=0.987, by_code=(254761, 5))
            for term in terms
            if term.code == "new"
        ]
        with write_usagi(
            path,
            original=terms.usagi,
            now=lambda: 1700000000.5,
            previous=CheckedMappings({}, {5: TargetStatus(5, Concept(5, "Dry", "Observation"), "")}),
        ) as out:
            for result in results:
                out.write(result)
    before, after = [[HEADER.split(","), *rows], [split_line(line) for line in path.read_text().splitlines()]]
    changed = row(
        "new",
        'Cough, "dry"',
        ADD_INFO_ward="A",
        comment="keep me",
        matchScore="0.99",
        mappingStatus="APPROVED",
        statusSetBy="omop-emb",
        statusSetOn="1700000000500",
        conceptId="254761",
        conceptName="Cough",
        domainId="Condition",
        createdBy="omop-emb",
        createdOn="1700000000500",
    )
    second = row(
        "new",
        'Cough, "dry"',
        ADD_INFO_ward="A",
        comment="keep me",
        matchScore="0.99",
        mappingStatus="APPROVED",
        statusSetBy="omop-emb",
        statusSetOn="1700000000500",
        conceptId="5",
        conceptName="Dry",
        domainId="Observation",
        createdBy="omop-emb",
        createdOn="1700000000500",
    )
    assert after == [*before[:11], changed, second, *before[12:]]


def test_a_term_without_a_match_is_concept_0_with_the_reason(tmp_path: Path) -> None:
    path = save(tmp_path / "in.csv", [row("1", "xyzzy", conceptId="9", conceptName="old")])
    with open_terms(path) as terms, write_usagi(tmp_path / "out.csv", original=terms.usagi) as out:
        for term in terms:
            out.write(mapped(term, decision=Decision.NO_MATCH, reason="nothing near", probability=None))
    (line,) = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert (line["conceptId"], line["conceptName"], line["mappingStatus"], line["comment"]) == (
        "0",
        "Unmapped",
        "UNCHECKED",
        "nothing near",
    )


def test_an_older_file_keeps_its_mapping_types(tmp_path: Path) -> None:
    rows = [
        row("1", "a", mappingType="EVENT", mappingStatus="APPROVED", conceptId="7"),
        row("2", "b", mappingType="EVENT"),
    ]
    path = save(tmp_path / "in.csv", rows)
    with open_terms(path) as terms, write_usagi(tmp_path / "out.csv", original=terms.usagi) as out:
        (term,) = terms
        out.write(mapped(term, candidate(3, mapped_values=(MappedValue("Maps to value", 5, "x"),))))
    written = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [line["mappingType"] for line in written] == ["EVENT", "EVENT", "VALUE"]


def test_a_file_of_an_older_usagi_survives_a_round_trip(tmp_path: Path) -> None:
    header = (
        "sourceCode,sourceName,sourceFrequency,sourceAutoAssignedConceptIds,matchScore,mappingStatus,"
        "conceptId,comment"
    )
    path = tmp_path / "in.csv"
    path.write_text(f"{header}\n1,Cough,3,,0.5,UNCHECKED,0,\n2,Pain,3,,0.5,APPROVED,7,\n")
    with open_terms(path) as terms, write_usagi(tmp_path / "out.csv", original=terms.usagi) as out:
        (term,) = terms
        out.write(mapped(term, candidate(254761)))
    assert (tmp_path / "out.csv").read_text().splitlines() == [
        header,
        "1,Cough,3,,0.75,UNCHECKED,254761,nothing is accepted without review",
        "2,Pain,3,,0.5,APPROVED,7,",
    ]


def test_a_file_in_rfc_4180_is_written_in_rfc_4180(tmp_path: Path) -> None:
    rows = [row("1", 'a "b"\nc', mappingStatus="APPROVED"), row("2", 'd "e"\nf', comment="x\\y")]
    path = tmp_path / "in.csv"
    path.write_bytes("".join(join_rfc4180(r) + "\r\n" for r in [HEADER.split(","), *rows]).encode())
    with open_terms(path) as terms, write_usagi(tmp_path / "out.csv", original=terms.usagi) as out:
        assert any("RFC 4180" in note for note in terms.notes)
        (term,) = terms
        assert (term.name, term.line) == ('d "e"\nf', 4)
        out.write(mapped(term, candidate(254761)))
    with (tmp_path / "out.csv").open(newline="") as handle:
        written = list(csv.reader(handle))
    assert written[:2] == [HEADER.split(","), rows[0]]
    assert written[2][10] == "254761"
    assert (
        (tmp_path / "out.csv")
        .read_bytes()
        .startswith(path.read_bytes()[: path.read_bytes().index(b"\r\n2,")])
    )


def test_a_new_file_has_usagis_columns_and_add_info_columns(tmp_path: Path) -> None:
    terms = [
        SourceTerm(
            name='Cough, "dry"\nsevere', code="1", frequency=5_000_000_000, extra={"ward": "A", "flags": "F"}
        ),
        SourceTerm(name="Köhä", frequency=None, extra={"ward": "", "flags": ""}),
    ]
    with write_usagi(tmp_path / "out.csv", extra_headers=["ward", "flags"], now=lambda: 1.0) as out:
        out.write(rich(terms[0]))
        out.write(mapped(terms[1], decision=Decision.NO_MATCH, reason="nothing near", probability=None))
    first, second = [
        dict(zip(lines[0], lines[n], strict=True))
        for lines in [[split_line(line) for line in (tmp_path / "out.csv").read_text().splitlines()]]
        for n in (1, -1)
    ]
    assert list(first)[:4] == HEADER.split(",")[:4]
    assert list(first)[-13:] == HEADER.split(",")[-13:]
    assert first["sourceName"] == 'Cough, "dry"\nsevere'
    assert (first["sourceFrequency"], second["sourceFrequency"]) == ("2147483647", "-1")
    assert (first["ADD_INFO:ward"], first["ADD_INFO:flags"]) == ("A", "F")
    assert first["ADD_INFO:flags (omop-emb)"] == "laterality: left, not right"
    assert first["ADD_INFO:others"] == "257581 Exacerbation of asthma"
    assert "local:all-MiniLM-L6-v2" in first["ADD_INFO:made with"]
    assert (first["conceptId"], first["mappingStatus"], first["statusSetOn"]) == ("254761", "UNCHECKED", "0")
    assert (second["conceptId"], second["conceptName"], second["createdOn"]) == ("0", "Unmapped", "0")


def test_a_new_file_can_be_read_again(tmp_path: Path) -> None:
    term = SourceTerm(name="Cough", code="1", frequency=3, extra={"ward": "A"})
    with write_usagi(tmp_path / "out.csv", extra_headers=["ward"]) as out:
        out.write(rich(term))
    with open_terms(tmp_path / "out.csv") as terms:
        (again,) = terms
    assert (again.key, again.frequency, again.extra["ward"]) == (term.key, 3, "A")


def test_adjacent_duplicates_are_omitted_because_usagi_would_merge_them(tmp_path: Path) -> None:
    with write_usagi(tmp_path / "out.csv") as out:
        for line, name in enumerate(["a", "a", "b", "a"], start=2):
            out.write(mapped(SourceTerm(name=name, code="1", line=line), candidate(5)))
    assert [problem.line for problem in out.problems] == [3]
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 4


def test_forced_acceptance_is_written_into_the_output(tmp_path: Path) -> None:
    forced = replace(PROVENANCE, accept_untrained=True)
    with write_usagi(tmp_path / "out.csv") as out:
        term = SourceTerm(name="a", code="1")
        out.write(mapped(term, candidate(5), decision=Decision.ACCEPT, reason="sure", provenance=forced))
    (line,) = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert line["comment"] == "sure (--accept-untrained)"
    assert "--accept-untrained" in line["ADD_INFO:made with"]


def test_an_error_leaves_the_old_file_unchanged(tmp_path: Path) -> None:
    path = save(tmp_path / "in.csv", everything())
    before = path.read_bytes()

    def interrupted() -> None:
        with open_terms(path) as terms, write_usagi(path, original=terms.usagi) as out:
            out.write(mapped(next(iter(terms)), candidate(5)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.csv"]


def test_a_file_that_lacks_columns_keeps_its_decisions_and_gets_them(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("sourceCode,sourceName,mappingStatus,conceptId\n1,a,APPROVED,7\n2,b,UNCHECKED,0\n")
    with open_terms(path) as terms:
        assert [term.code for term in terms] == ["2"]
    lines = copy(path, tmp_path / "out.csv").decode().splitlines()
    written = dict(zip(lines[0].split(","), lines[1].split(","), strict=True))
    assert (written["mappingStatus"], written["conceptId"]) == ("APPROVED", "7")
    assert written["sourceFrequency"] == "-1"
