"""omop-emb search and index cache clear: messages for people, data for programs."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pandas as pd
import psycopg
import pytest

from omop_emb import ConceptMatch, database_engine
from omop_emb.database import session_scope
from omop_emb.vocabulary import look_up

OMOP_EMB = Path(sysconfig.get_path("scripts")) / "omop-emb"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(sample_database_url: str, tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "OMOP_EMB_DATABASE_URL": sample_database_url, "XDG_CACHE_HOME": str(tmp_path)}


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    def run(*arguments: str, text: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [OMOP_EMB, *arguments],
            input=text,
            capture_output=True,
            text=True,
            env={**environment, **variables},
            timeout=120,
        )

    return run


def test_a_preference_changes_the_order_and_a_wrong_one_is_refused(run: Run) -> None:
    asked = ("search", "glucose", "--format", "json", "--explain")
    hits = json.loads(run(*asked, "--prefer", "specimen=blood").stdout)
    assert [hit["concept_id"] for hit in hits] != [
        hit["concept_id"] for hit in json.loads(run(*asked).stdout)
    ]
    assert "chosen: specimen=blood" in hits[0]["speaks_for"]
    done = run(*asked, "--prefer", "specimen=bloods")
    assert (done.returncode, done.stdout) == (1, "")
    assert "specimen=blood" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_first_hit_of_high_blood_pressure_is_a_hypertension_concept(run: Run) -> None:
    done = run("search", "high blood pressure", "--format", "json", "-k", "3")
    assert (done.returncode, done.stderr) == (0, "")
    hits = json.loads(done.stdout)
    assert [(hit["query"], hit["rank"]) for hit in hits] == [("high blood pressure", n) for n in (1, 2, 3)]
    first = hits[0]
    assert "hypertens" in first["concept_name"].lower()
    assert (first["domain_id"], first["standard_concept"]) == ("Condition", "S")
    assert -1 <= first["similarity"] <= 1
    assert 0 < first["probability"] <= 1
    assert [hit["probability"] for hit in hits[1:]] == [None, None]
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)


@pytest.mark.parametrize(
    ("term", "concept_id", "through"),
    [
        ("HTN", 316866, "abbreviation: HTN = hypertension; synonym 'Hypertension'"),
        ("htn", 316866, "abbreviation: htn = hypertension; synonym 'Hypertension'"),
        ("T2DM", 201826, "abbreviation: T2DM = type 2 diabetes mellitus; exact name"),
        ("heart attack", 4329847, "synonym 'Heart attack'"),
        ("hypertensoin", 316866, "spelling of 'hypertensoin': synonym 'Hypertension'"),
        ("22298006", 4329847, "code SNOMED 22298006"),
        ("SNOMED:22298006", 4329847, "code SNOMED 22298006"),
        ("4329847", 4329847, "concept id 4329847"),
    ],
)
def test_the_first_concept_says_what_it_was_found_through(
    run: Run, term: str, concept_id: int, through: str
) -> None:
    (hit,) = json.loads(run("search", term, "-k", "1", "--format", "json").stdout)
    assert (hit["concept_id"], hit["found_through"]) == (concept_id, through)


def test_a_vector_search_shows_distances_in_order(run: Run) -> None:
    done = run("search", "high blood pressure", "--dense", "--format", "json", "-k", "3")
    assert (done.returncode, done.stderr) == (0, "")
    hits = json.loads(done.stdout)
    assert list(hits[0]) == ["query", "rank", *(field.name for field in fields(ConceptMatch))]
    assert [hit["distance"] for hit in hits] == sorted(hit["distance"] for hit in hits)


def test_the_readings_of_an_abbreviation_and_a_better_spelling_are_said(run: Run) -> None:
    done = run("search", "MS", "diabtes", "-k", "1")
    assert "'MS' may mean: multiple sclerosis, mental status" in done.stderr
    assert "'diabtes': did you mean 'diabetes'" in done.stderr


def test_reasons_are_given_for_each_concept(run: Run) -> None:
    explained = run("search", "HTN", "-k", "2", "--explain", "--format", "json")
    first = json.loads(explained.stdout)[0]
    assert "similar meaning (+" in first["speaks_for"]
    assert "316866 Hypertensive disorder: for similar" in run("search", "HTN", "--explain").stderr


def test_what_a_non_standard_concept_maps_to_is_shown(run: Run) -> None:
    (hit,) = json.loads(run("search", "ICD10CM:K92.2", "--format", "json").stdout)
    assert (hit["concept_id"], hit["maps_to"]) == (35208414, "192671 Gastrointestinal hemorrhage")


def test_concept_ids_and_codes_are_looked_up_and_texts_are_searched(run: Run) -> None:
    done = run("search", "4329847", "SNOMED:22298006", "heart attack", "-k", "1", "--format", "json")
    hits = json.loads(done.stdout)
    assert [hit["concept_id"] for hit in hits] == [4329847] * 3
    assert [hit["matched_text"] for hit in hits[:2]] == ["4329847", "SNOMED:22298006"]
    assert hits[0]["similarity"] is None


TEXT = "text"


@pytest.mark.parametrize(
    ("term", "outcome"),
    [
        ("999999999", "no concept 999999999 in the loaded vocabulary (v5.0 30-AUG-24); its vocabulary may"),
        ("999999999.0", "no concept 999999999"),
        ("99999999999999999999", "a concept id is at most 2147483647"),
        ("2147483647", "a site's own"),
        ("2147483648", "a concept id is at most 2147483647: is it a code? Write VOCABULARY:2147483648"),
        ("2000000001", "a site's own"),
        ("22298006", "did you mean the code SNOMED:22298006?"),
        ("SNOMED:000", "vocabulary SNOMED (v5.0 30-AUG-24) has no code '000'"),
        ("snomed:000", "vocabulary SNOMED (v5.0 30-AUG-24) has no code '000'"),
        ("Snomed CT:000", "vocabulary SNOMED (v5.0 30-AUG-24) has no code '000'"),
        ("SNOMED: 000", "vocabulary SNOMED (v5.0 30-AUG-24) has no code '000'"),
        ("LOINC:abc", "vocabulary LOINC (v5.0 30-AUG-24) has no code 'abc'"),
        ("ICD-10-CM:Q00.000", "vocabulary ICD10CM (v5.0 30-AUG-24) has no code"),
        ("ICD9CM:250.00", "no concept of vocabulary ICD9CM is loaded"),
        ("CPT4:99213", "no concept of vocabulary CPT4 is loaded"),
        ("ICD10XM:E11.9", "there is no vocabulary 'ICD10XM'; did you mean"),
        ("DX: fever", TEXT),
        ("Hx:asthma", TEXT),
        ("Allergy:penicillin", TEXT),
        ("Visit: 3", TEXT),
        ("Plan:2", TEXT),
        ("BP:120", TEXT),
        ("Covid:2019", TEXT),
        ("PPI: 40 mg", TEXT),
        ("SNOMED: fever", TEXT),
        ("ratio 1:2", TEXT),
        ("12:30", TEXT),
        ("SNOMED:", TEXT),
        (":E11", TEXT),
    ],
)
def test_what_looks_like_an_id_or_code_and_does_not_exist_is_never_searched_as_text(
    sample_database_url: str, term: str, outcome: str
) -> None:
    engine = database_engine(sample_database_url)
    try:
        with session_scope(engine) as session:
            found = look_up(session, [term])
    finally:
        engine.dispose()
    assert not found.concepts
    assert outcome in found.missing.get(term, TEXT)


@pytest.mark.parametrize(
    ("term", "concept_id"),
    [
        ("snomed:22298006", 4329847),
        ("Snomed CT:22298006", 4329847),
        ("SNOMED-CT: 22298006", 4329847),
        ("sct:22298006", 4329847),
        (" 4329847 ", 4329847),
        ("4329847.0", 4329847),
    ],
)
def test_an_id_or_code_is_found_however_it_is_written(
    sample_database_url: str, term: str, concept_id: int
) -> None:
    engine = database_engine(sample_database_url)
    try:
        with session_scope(engine) as session:
            assert look_up(session, [term]).concepts[term].concept_id == concept_id
    finally:
        engine.dispose()


def test_an_unknown_id_is_one_line_and_an_exit_code(run: Run) -> None:
    done = run("search", "999999999", "--format", "json")
    assert (done.returncode, json.loads(done.stdout)) == (1, [])
    assert done.stderr.startswith("error: there is no concept 999999999 in the loaded vocabulary")
    assert len(done.stderr.splitlines()) == 1
    some = run("search", "SNOMED:000", "4329847", "gout", "-k", "1", "--format", "json")
    assert some.returncode == 3
    assert [hit["query"] for hit in json.loads(some.stdout)] == ["4329847", "gout"]


def test_several_values_of_a_filter_may_stand_in_one_option(run: Run) -> None:
    done = run("search", "aspirin", "--vocabulary", "RxNorm, SNOMED", "-k", "20", "--format", "json")
    assert {hit["vocabulary_id"] for hit in json.loads(done.stdout)} <= {"RxNorm", "SNOMED"}
    refused = run("search", "aspirin", "--vocabulary", "RxNorm,Snomed CT")
    assert refused.returncode == 1
    assert "there is no vocabulary 'Snomed CT'; did you mean 'SNOMED'" in refused.stderr


def test_an_explanation_goes_to_stderr_and_stdout_holds_json_alone(run: Run) -> None:
    done = run("search", "heart attack", "--dense", "--explain", "--exact", "--format", "json")
    assert json.loads(done.stdout)[0]["concept_id"] == 4329847
    way, rows, spent = done.stderr.splitlines()
    assert way == "method: exact in space all-MiniLM-L6-v2-flat, because an exact search was requested"
    assert "read for a query by" in rows
    assert "ms to search for 1 text, after" in spent


def test_an_explained_index_search_shows_its_ef_search_and_measured_recall(run: Run) -> None:
    assert run("index", "activate", "all-MiniLM-L6-v2-hnsw").returncode == 0
    done = run("search", "gout", "--dense", "--explain", "--recall", "0.9", "--any", "--format", "csv")
    assert next(csv.DictReader(io.StringIO(done.stdout)))["query"] == "gout"
    assert "method: index space_" in done.stderr
    assert "ef_search: " in done.stderr


def test_the_table_has_vocabulary_and_code(run: Run) -> None:
    for options in ((), ("--dense",)):
        header, row = run("search", "heart attack", "-k", "1", *options).stdout.splitlines()
        assert "vocabulary id  concept code" in header
        assert "SNOMED         22298006" in row


def test_terms_are_read_in_order_from_a_file_or_stdin(run: Run) -> None:
    done = run(
        "search", "--file", "-", "-k", "1", "--format", "tsv", text="metformin\nheart attack\n\nmetformin\n"
    )
    rows = list(csv.DictReader(io.StringIO(done.stdout), dialect="excel-tab"))
    assert [row["query"] for row in rows] == ["metformin", "heart attack", "metformin"]


def test_a_table_is_searched_by_its_names_and_what_was_understood_is_said(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "terms.csv"
    file.write_bytes("Kode;Bezeichnung\n1;metformin\n2;-\n3;M\u00e9ni\u00e8re\n".encode("cp1252"))
    done = run("search", "--file", str(file), "-k", "1", "--format", "tsv")
    rows = list(csv.DictReader(io.StringIO(done.stdout), dialect="excel-tab"))
    assert [row["query"] for row in rows] == ["metformin", "M\u00e9ni\u00e8re"]
    for said in (
        "encoding cp1252, separator semicolon",
        "term: Bezeichnung; code: Kode",
        "line 3: no term",
        "1 row left out",
    ):
        assert said in done.stderr


@pytest.mark.parametrize(
    ("name", "options", "queries"),
    [
        ("terms.xlsx", ("--sheet", "Lab", "--name-column", "TEST"), ["metformin"]),
        ("terms.xlsx", (), ["warfarin"]),
        ("terms.parquet", ("--name-column", "TEST"), ["metformin"]),
        ("terms.csv", ("--name-template", "{TEST} in {FLUID}"), ["metformin in blood"]),
        ("terms.csv", ("--name-column", "FLUID", "--header-row", "1"), ["blood"]),
        ("latin.txt", ("--encoding", "cp850"), ["fi\u00e8vre"]),
        ("list.txt", ("--separator", "none"), ["pain, chest", "fever, acute"]),
    ],
)
def test_a_file_is_read_as_map_reads_it(
    run: Run, tmp_path: Path, name: str, options: tuple[str, ...], queries: list[str]
) -> None:
    table = pd.DataFrame({"FLUID": ["blood"], "TEST": ["metformin"]})
    with pd.ExcelWriter(tmp_path / "terms.xlsx") as workbook:
        pd.DataFrame({"name": ["warfarin"]}).to_excel(workbook, sheet_name="Drugs", index=False)
        table.to_excel(workbook, sheet_name="Lab", index=False)
    table.to_parquet(tmp_path / "terms.parquet")
    table.to_csv(tmp_path / "terms.csv", index=False)
    (tmp_path / "latin.txt").write_bytes("fi\u00e8vre\n".encode("cp850"))
    (tmp_path / "list.txt").write_text("pain, chest\nfever, acute\n")
    done = run("search", "--file", str(tmp_path / name), "-k", "1", "--format", "json", *options)
    assert done.returncode == 0, done.stderr
    assert [hit["query"] for hit in json.loads(done.stdout)] == queries


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("search", "gout", "--sheet", "Lab"), 2, "--sheet says how --file is read"),
        (("search", "gout", "--name-column", "x"), 2, "--name-column says how --file is read"),
        (("search",), 2, "give at least one term"),
        (("search", "gout", "--dense", "--recall", "0"), 2, "--recall"),
        (("search", "gout", "--recall", "0.9"), 2, "--recall says how vectors are searched: add --dense"),
        (("search", "gout", "--metric", "cosine"), 2, "--metric says how vectors are searched: add --dense"),
        (("search", "gout", "--exact"), 2, "--exact says how vectors are searched: add --dense"),
        (("search", "gout", "--dense", "--site", "north"), 2, "--site chooses approvals"),
        (("search", "gout", "-k", "1001"), 1, "at most 1,000"),
        (("search", " "), 1, "give a text to search for"),
        (("search", "gout", "--domain", "condition"), 1, "did you mean 'Condition'"),
        (("search", "gout", "-k", "0"), 2, "-k"),
    ],
)
def test_wrong_usage_is_reported_in_one_line(
    run: Run, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr.splitlines()[-1]


def test_a_filter_that_no_concept_passes_is_not_an_error(run: Run) -> None:
    none = ("--vocabulary", "RxNorm", "--domain", "Condition", "--format", "json")
    for options in ((), ("--dense",)):
        done = run("search", "gout", *none, *options)
        assert (done.returncode, json.loads(done.stdout)) == (0, [])
        assert done.stderr == "no concept passes the filter\n"


def test_many_terms_leave_a_matrix_in_the_cache_and_clear_removes_it(run: Run, tmp_path: Path) -> None:
    terms = "".join(f"term {number}\n" for number in range(200))
    done = run("search", "--file", "-", "-k", "1", "--dense", "--explain", "--format", "csv", text=terms)
    assert "method: matrix in space" in done.stderr
    assert len(done.stdout.splitlines()) == 201
    assert list(tmp_path.glob("omop-emb/matrices/*/vectors"))
    cleared = run("index", "cache", "clear")
    assert (cleared.returncode, cleared.stdout) == (0, "")
    assert cleared.stderr.startswith("removed ")
    assert not list(tmp_path.glob("omop-emb/matrices/*/vectors"))


def _active(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute(
        "select query from pg_stat_activity where application_name = 'omop-emb' and state = 'active' "
        "and datname = current_database() and wait_event_type = 'Lock'"
    )
    return [query for (query,) in rows]


def test_ctrl_c_ends_the_statement_in_the_server_and_prints_one_line(
    environment: dict[str, str], sample_database_url: str
) -> None:
    with (
        psycopg.connect(sample_database_url) as holder,
        psycopg.connect(sample_database_url, autocommit=True) as watcher,
    ):
        holder.execute("lock table omop_emb.space_1 in access exclusive mode")
        with subprocess.Popen(
            [OMOP_EMB, "search", "gout", "--dense"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as search:
            try:
                deadline = time.monotonic() + 60
                while not _active(watcher) and time.monotonic() < deadline and search.poll() is None:
                    time.sleep(0.05)
                assert any("space_1" in query for query in _active(watcher))
                search.send_signal(signal.SIGINT)
                stdout, stderr = search.communicate(timeout=30)
            finally:
                search.kill()
        # click ends the line that a terminal shows ^C on.
        assert (search.returncode, stdout, stderr.lstrip("\n")) == (130, "", "stopped\n")
        assert _active(watcher) == []


def test_a_statement_timeout_is_reported_in_one_line(run: Run, sample_database_url: str) -> None:
    with psycopg.connect(sample_database_url) as holder:
        holder.execute("lock table omop_emb.space_1 in access exclusive mode")
        done = run("search", "gout", "--dense", PGOPTIONS="-c statement_timeout=300")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: the database cancelled a statement (statement_timeout): raise statement_timeout, or ask for "
        "less\n"
    )
