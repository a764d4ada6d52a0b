"""Approved mappings on a newer vocabulary, and source_to_concept_map in the database."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from omop_emb.errors import DatabaseError, InputError, VocabularyError
from omop_emb.mapping.approvals.approved_file import read_approved
from omop_emb.mapping.approvals.replacements import target_statuses
from omop_emb.mapping.approvals.reuse import CheckedMappings, check_previous
from omop_emb.mapping.approvals.reviewed_table import ApprovedColumns
from omop_emb.mapping.file_job.map_table import MapTableCounts, write_map_rows
from omop_emb.mapping.files.delimited import Problem
from omop_emb.mapping.files.source_to_concept_map import MapRow
from omop_emb.mapping.files.term_file import open_terms
from omop_emb.mapping.files.usagi_writer import write_usagi
from omop_emb.mapping.judge.prompt import ConceptContext, concept_contexts
from omop_emb.mapping.records import Decision, MappedValue, SourceTerm
from tests.unit.mapping.files.sample_results import PROVENANCE, candidate, mapped

# id, standard, invalid
CONCEPTS = [
    (1, "S", None), (2, None, "U"), (3, None, "D"), (4, None, None), (5, "S", None), (6, "C", None),
    (7, None, "U"), (8, None, "U"), (9, None, "D"), (10, "S", "D"), (11, "S", None),
]  # fmt: skip
RELATIONSHIPS = [
    # 2 was replaced by 7, which was replaced by 8, which maps to 5: a chain through two invalid concepts.
    (2, 7, "Concept replaced by", None), (7, 8, "Concept replaced by", None), (8, 5, "Maps to", None),
    # 4 maps to two concepts, so its replacement does not count.
    (4, 1, "Maps to", None), (4, 5, "Maps to", None), (4, 11, "Concept replaced by", None),
    # 6 and 9 are a cycle; 9 leads to itself too.
    (6, 9, "Maps to", None), (9, 6, "Concept replaced by", None), (9, 9, "Maps to", None),
    # An invalid relationship leads nowhere.
    (10, 1, "Maps to", "D"), (3, 1, "Is a", None),
]  # fmt: skip


@pytest.fixture
def cdm(connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch) -> psycopg.Connection[Any]:
    """A schema with the tables of a CDM that these tests read."""
    connection.execute(
        """
        create schema cdm;
        create table cdm.concept (
            concept_id int primary key, concept_name text, domain_id text, vocabulary_id text,
            concept_class_id text, standard_concept text, concept_code text, invalid_reason text);
        create table cdm.concept_relationship (
            concept_id_1 int, concept_id_2 int, relationship_id text, invalid_reason text);
        create table cdm.vocabulary (vocabulary_id varchar(20) primary key, vocabulary_version text);
        create table cdm.source_to_concept_map (
            source_code varchar(50) not null, source_concept_id int not null,
            source_vocabulary_id varchar(20) not null references cdm.vocabulary,
            source_code_description varchar(255), target_concept_id int not null references cdm.concept,
            target_vocabulary_id varchar(20) not null, valid_start_date date not null,
            valid_end_date date not null, invalid_reason varchar(1));
        """
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into cdm.concept values (%s, %s, 'Condition', 'SNOMED', 'Disorder', %s, %s, %s)",
            [(i, f"concept {i}", standard, str(i), invalid) for i, standard, invalid in CONCEPTS],
        )
        cursor.executemany("insert into cdm.concept_relationship values (%s, %s, %s, %s)", RELATIONSHIPS)
        cursor.execute("insert into cdm.vocabulary values ('HOSP'), ('SNOMED')")
    monkeypatch.setenv("OMOP_EMB_VOCABULARY_SCHEMA", "cdm")
    return connection


def test_an_invalid_target_has_a_reason(cdm: psycopg.Connection[Any]) -> None:
    statuses = target_statuses(cdm, [0, 1, 2, 3, 4, 6, 10, 99])
    assert {concept_id: status.reason for concept_id, status in statuses.items()} == {
        0: "",
        1: "",
        2: "replaced by another concept",
        3: "deprecated",
        4: "not standard",
        6: "a classification, not a standard concept",
        10: "deprecated",
        99: "no longer in the vocabulary",
    }


def test_a_replacement_has_the_chain_that_leads_to_it(cdm: psycopg.Connection[Any]) -> None:
    (replacement,) = target_statuses(cdm, [2])[2].replacements
    assert replacement.concept.concept_id == 5
    assert [(step.concept_id, step.relationship_id) for step in replacement.path] == [
        (2, "Concept replaced by"),
        (7, "Concept replaced by"),
        (8, "Maps to"),
    ]


def test_a_concept_has_several_replacements_or_none_and_a_cycle_ends(
    cdm: psycopg.Connection[Any],
) -> None:
    replacements = {
        n: [entry.concept.concept_id for entry in status.replacements]
        for n, status in target_statuses(cdm, [3, 4, 6, 9, 10, 99]).items()
    }
    assert replacements == {3: [], 4: [1, 5], 6: [], 9: [], 10: [], 99: []}


def test_a_replacement_has_the_values_that_belong_beside_it_now(
    cdm: psycopg.Connection[Any], tmp_path: Path
) -> None:
    # 3, "allergy to penicillin", became "allergy to a substance" (5) with a value that was replaced itself.
    links = [
        (3, 5, "Maps to"),
        (3, 2, "Maps to value"),
        (3, 9, "Maps to unit"),
        (2, 11, "Concept poss_eq to"),
    ]
    for one, two, relationship in links:
        cdm.execute("insert into cdm.concept_relationship values (%s, %s, %s, '')", (one, two, relationship))
    (replacement,) = target_statuses(cdm, [3])[3].replacements
    assert replacement.concept.concept_id == 5
    beside = (MappedValue("Maps to value", 5, "concept 5"), MappedValue("Maps to unit", 9, "concept 9"))
    assert sorted(replacement.mapped_values, key=lambda value: value.concept_id) == list(beside)
    path = tmp_path / "old.csv"
    path.write_text(HEADER + "c,lost,1,1,APPROVED,3,MAPS_TO\n")
    checked = check_previous(cdm, read_approved(path).by_key)
    result = checked.apply_to(mapped(SourceTerm(name="lost", code="c"), candidate(11)))
    assert (result.decision, result.targets) == (Decision.REVIEW, (5,))
    assert set(result.mapped_values) == set(beside)
    (row,) = checked.outdated_rows()
    assert (row["replacement_id"], row["value_concept_id"], row["unit_concept_id"]) == (5, "5", "9")


def test_a_long_chain_and_a_shortcut_give_each_replacement_once(
    cdm: psycopg.Connection[Any],
) -> None:
    for n in range(100, 112):
        cdm.execute("insert into cdm.concept values (%s, 'x', 'd', 'v', 'c', null, '', 'U')", (n,))
        cdm.execute("insert into cdm.concept_relationship values (%s, %s, 'Maps to', null)", (n, n + 1))
    cdm.execute(
        "insert into cdm.concept_relationship values (111, 1, 'Maps to', ''), (100, 111, 'Maps to', '')"
    )
    assert [entry.concept.concept_id for entry in target_statuses(cdm, [100])[100].replacements] == [1]


def test_without_a_vocabulary_the_error_names_the_command(connection: psycopg.Connection[Any]) -> None:
    with pytest.raises(VocabularyError, match="vocabulary load"):
        target_statuses(connection, [1])


HEADER = "sourceCode,sourceName,sourceFrequency,matchScore,mappingStatus,conceptId,mappingType\n"


@pytest.fixture
def checked(cdm: psycopg.Connection[Any], tmp_path: Path) -> CheckedMappings:
    path = tmp_path / "old.csv"
    path.write_text(
        HEADER
        + "a,stands,1,1,APPROVED,1,MAPS_TO\na,stands,1,1,APPROVED,5,MAPS_TO_VALUE\n"
        + "b,moved,1,1,APPROVED,2,MAPS_TO\nb,moved,1,1,APPROVED,1,MAPS_TO\n"
        + "c,lost,1,1,APPROVED,3,MAPS_TO\n"
        + "d,none,1,1,APPROVED,0,MAPS_TO\n"
        + "e,suggested,1,1,UNCHECKED,1,MAPS_TO\n"
    )
    approved = read_approved(path)
    assert approved.problems == []
    return check_previous(cdm, approved.by_key)


def test_a_mapping_with_valid_targets_is_reused_as_it_was_approved(checked: CheckedMappings) -> None:
    reused = checked.reuse(SourceTerm(name="stands", code="a"), PROVENANCE)
    assert reused is not None
    assert (reused.decision, reused.previous, reused.targets) == (Decision.ACCEPT, (1,), (1,))
    assert reused.mapped_values == (MappedValue("Maps to value", 5, "concept 5"),)
    assert "line 2" in reused.reason
    none = checked.reuse(SourceTerm(name="none", code="d"), PROVENANCE)
    assert none is not None
    assert (none.decision, none.targets) == (Decision.NO_MATCH, ())


def test_unapproved_terms_and_those_with_invalid_targets_are_not_reused(checked: CheckedMappings) -> None:
    others = [("a", "Stands"), ("x", "stands"), ("b", "moved"), ("c", "lost"), ("e", "suggested")]
    assert [checked.reuse(SourceTerm(name=name, code=code), PROVENANCE) for code, name in others] == [
        None
    ] * 5


def test_a_replaced_target_needs_review_with_its_replacement(checked: CheckedMappings) -> None:
    term = SourceTerm(name="moved", code="b")
    result = checked.apply_to(mapped(term, candidate(11), decision=Decision.ACCEPT))
    assert (result.decision, result.targets) == (Decision.REVIEW, (5, 1))
    assert result.reason == (
        "approved before, but 2 concept 2 is replaced by another concept: 5 concept 5 instead"
    )


def test_a_target_without_replacement_leaves_the_new_candidate(checked: CheckedMappings) -> None:
    result = checked.apply_to(mapped(SourceTerm(name="lost", code="c"), candidate(11)))
    assert (result.decision, result.targets) == (Decision.REVIEW, (11,))
    assert "nothing replaces it" in result.reason


def test_a_code_that_was_approved_under_another_name_is_mentioned(checked: CheckedMappings) -> None:
    result = checked.apply_to(mapped(SourceTerm(name="renamed", code="a"), candidate(11)))
    assert "approved under another name" in result.reason
    untouched = mapped(SourceTerm(name="new", code="z"), candidate(11))
    assert checked.apply_to(untouched) == untouched


def test_outdated_targets_are_listed_with_reason_and_replacement(checked: CheckedMappings) -> None:
    rows = list(checked.outdated_rows())
    assert [(row["source_code"], row["concept_id"], row.get("replacement_id")) for row in rows] == [
        ("b", 2, 5),
        ("c", 3, None),
    ]
    assert rows[0]["path"] == (
        "2 concept 2 (Concept replaced by) > 7 concept 7 (Concept replaced by) > 8 concept 8 (Maps to)"
    )


def test_reused_mappings_reach_usagi_with_their_names_and_types(
    checked: CheckedMappings, tmp_path: Path
) -> None:
    terms = [SourceTerm(name="stands", code="a"), SourceTerm(name="none", code="d")]
    with write_usagi(tmp_path / "out.csv", previous=checked) as out:
        for term in terms:
            reused = checked.reuse(term, PROVENANCE)
            assert reused is not None
            out.write(reused)
    with open_terms(tmp_path / "out.csv") as again:
        assert again.usagi is not None
        rows = [row for each in again.usagi.mappings() for row in each.rows]
    assert [
        (row["mappingStatus"], row["conceptId"], row["conceptName"], row["mappingType"]) for row in rows
    ] == [
        ("APPROVED", "1", "concept 1", "MAPS_TO"),
        ("APPROVED", "5", "concept 5", "MAPS_TO_VALUE"),
        ("APPROVED", "0", "Unmapped", "MAPS_TO"),
    ]


def test_a_source_to_concept_map_is_read_too(cdm: psycopg.Connection[Any], tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    long = "n" * 300
    path.write_text(
        "source_code,source_code_description,target_concept_id,invalid_reason\n"
        f"a,name,1,\na,name,5,\nb,other,3,D\nc,{long[:255]},1,\nd,e,x,\n"
    )
    approved = read_approved(path, ApprovedColumns(all_approved=True))
    assert approved.problems == [Problem(6, "'target_concept_id' holds no concept ids")]
    checked = check_previous(cdm, approved.by_key)
    reused = checked.reuse(SourceTerm(name="name", code="a"), PROVENANCE)
    assert reused is not None
    assert reused.targets == (1, 5)
    assert checked.find(SourceTerm(name="other", code="b")) is None
    assert checked.find(SourceTerm(name=long, code="c")) is not None
    without_code = check_previous(cdm, {("", key[1]): mapping for key, mapping in approved.by_key.items()})
    assert without_code.find(SourceTerm(name=long[:255])) is not None
    assert without_code.find(SourceTerm(name=f"{long[:255]}+")) is None


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("code,name\n1,a\n")
    with pytest.raises(InputError, match="no column with concept ids"):
        read_approved(tmp_path / "x.csv")


def test_a_judge_is_shown_few_synonyms_and_parents(cdm: psycopg.Connection[Any]) -> None:
    assert concept_contexts(cdm, [1, 99]) == {1: ConceptContext(), 99: ConceptContext()}
    cdm.execute(
        """
        create table cdm.concept_synonym (
            concept_id int, concept_synonym_name text, language_concept_id int);
        create table cdm.concept_ancestor (
            ancestor_concept_id int, descendant_concept_id int,
            min_levels_of_separation int, max_levels_of_separation int);
        insert into cdm.concept_synonym select 1, repeat('s', n), 0 from generate_series(1, 9) n;
        insert into cdm.concept_synonym values (1, 'S', 0), (1, '', 0), (5, 'five', 0);
        insert into cdm.concept_ancestor values (5, 1, 1, 1), (11, 1, 2, 2), (1, 1, 0, 0);
        """
    )
    contexts = concept_contexts(cdm, [1, 5, 99])
    assert len(contexts[1].synonyms) == 4
    assert contexts[1].parents == ("concept 5",)
    assert (contexts[5], contexts[99]) == (ConceptContext(("five",)), ConceptContext())


# --- source_to_concept_map in the database


def map_row(code: str, target: int, vocabulary: str = "HOSP") -> MapRow:
    days = (datetime.date(1970, 1, 1), datetime.date(2099, 12, 31))
    return MapRow(code, 0, vocabulary, "nämé, \t\\N", target, "SNOMED", *days)


@pytest.mark.parametrize("schema", ["omop_emb", "cdm"])
def test_rows_replace_those_of_the_same_codes(cdm: psycopg.Connection[Any], schema: str) -> None:
    first = [map_row("a", 1), map_row("a", 5), map_row("b", 1)]
    assert write_map_rows(cdm, first, schema=schema) == MapTableCounts(3, 0)
    assert write_map_rows(cdm, [map_row("a", 11)], schema=schema) == MapTableCounts(1, 2)
    rows = cdm.execute(f"select * from {schema}.source_to_concept_map order by source_code").fetchall()  # noqa: S608 - a name of ours
    assert rows == [tuple(map_row("a", 11).as_dict().values()), tuple(map_row("b", 1).as_dict().values())]


def test_a_rollback_by_the_caller_undoes_the_write(cdm: psycopg.Connection[Any]) -> None:
    cdm.commit()
    write_map_rows(cdm, [map_row("a", 1)], schema="cdm")
    cdm.rollback()
    assert cdm.execute("select count(*) from cdm.source_to_concept_map").fetchone() == (0,)


def test_a_rejected_row_leaves_none_and_the_transaction_usable(cdm: psycopg.Connection[Any]) -> None:
    with pytest.raises(DatabaseError, match="rejects a row") as caught:
        write_map_rows(cdm, [map_row("a", 1), map_row("b", 1, "UNKNOWN")], schema="cdm")
    assert "UNKNOWN" not in str(caught.value)
    assert cdm.execute("select count(*) from cdm.source_to_concept_map").fetchone() == (0,)
    with pytest.raises(DatabaseError, match=r"no table nowhere\.source"):
        write_map_rows(cdm, [map_row("a", 1)], schema="nowhere")
