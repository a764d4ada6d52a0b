"""omop-emb concept: a card that reads well at 80 columns, and every list as data."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest
from click.testing import CliRunner, Result

from omop_emb.database.engine import database_engine
from omop_emb.indexing.build import build_index
from omop_emb.records import IndexType
from tests.conftest import NewDatabase, as_url
from tests.small_vocabulary import ConceptRow, SmallVocabulary, counting_client

Run = Callable[..., tuple[int, str, str]]
CODE: dict[str, Any] = {"vocabulary": "ICD10CM", "standard": ""}
LONG = "Adverse reaction to the first of several substances that were given together at an unknown time"
ROWS = (
    ConceptRow(1, "Disease", relationships=(("Subsumes", 2), ("Subsumes", 3), ("Subsumes", 4))),
    ConceptRow(
        2,
        "Asthma",
        synonyms=("Asthma", "Bronchial asthma", "AB"),
        german=("Bronchialasthma",),
        relationships=(
            *(("Is a", 1), ("Maps to", 2), ("Mapped from", 2), ("Mapped from", 11), ("Has finding site", 5)),
            *(("Has due to", number) for number in range(20, 35)),
        ),
        ancestors=((1, 1), (2, 0)),
    ),
    ConceptRow(3, LONG, relationships=(("Is a", 1),)),
    ConceptRow(4, "Wheeze\u001b[31m", relationships=(("Is a", 1),)),
    ConceptRow(5, "Structure of lung", domain="Spec Anatomic Site", standard="C"),
    ConceptRow(11, "Asthma, unspecified", code="J45.909", relationships=(("Maps to", 2),), **CODE),
    ConceptRow(
        12, "Asthma, old", code="J45.9", invalid="U", relationships=(("Concept replaced by", 11),), **CODE
    ),
)


@pytest.fixture(scope="module")
def database(
    server_conninfo: str,
    migrated_template: str,
    new_database: NewDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The second release of the vocabulary above, embedded; in the first, asthma had another name."""
    with new_database(migrated_template) as name:
        url = as_url(server_conninfo, dbname=name)
        engine = database_engine(url)
        small = SmallVocabulary(engine, tmp_path_factory.mktemp("concepts"))
        small.load(*ROWS)
        small.change(2, name="Asthma (disorder)")
        build_index(engine, counting_client(), index_type=IndexType.FLAT)
        engine.dispose()
        yield url


@pytest.fixture
def run(database: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", database)
    cli = import_module("omop_emb.cli.main").cli

    def run(*arguments: str) -> tuple[int, str, str]:
        done: Result = CliRunner().invoke(cli, ["concept", *arguments], standalone_mode=False)
        assert done.exception is None, done.exception
        return done.return_value, done.stdout, done.stderr

    return run


CARD = """\
2  Asthma (disorder)
  code      SNOMED C2
  kind      Condition, Disorder
  status    standard, valid since 1970-01-01
  synonyms  AB; Asthma; Bronchial asthma; Bronchialasthma (language 4182504)
  maps to   itself
  release   release 2; renamed (was 'Asthma') since release 1
  embedded  4 texts in m-flat (active)
  Athena    https://athena.ohdsi.org/search-terms/terms/2

parents: 1
  1  Disease  SNOMED C1

mapped from: 1
  11  Asthma, unspecified  ICD10CM J45.909
"""


def test_a_card_shows_names_mappings_releases_and_the_hierarchy(run: Run) -> None:
    assert run("2") == (0, CARD, "")


@pytest.mark.parametrize("name", ["2", "SNOMED:C2", "snomed:C2", " 2 ", "2.0", "Snomed CT: C2"])
def test_a_concept_is_given_by_id_or_code(run: Run, name: str) -> None:
    assert run(name) == (0, CARD, "")


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["2", "--ancestors"], ["ancestors: 1", "  1  1  Disease  SNOMED C1"]),
        (["2", "--descendants"], ["descendants: none"]),
        (["1", "--descendants"], ["descendants: 1", "  1  2  Asthma (disorder)  SNOMED C2"]),
        (["3", "--siblings"], ["siblings: 2", "  2  Asthma (disorder)  SNOMED C2"]),
        (["2", "--related"], ["Has due to: 10 of 15", "Has finding site: 1", "  20    not loaded"]),
        (["11", "--related"], ["related: none"]),
        (["2", "--limit", "1"], ["  synonyms     AB; and 3 more"]),
        (["1", "--limit", "2"], ["children: 2 of 3"]),
        (["12"], ["  status       not standard, no longer valid (updated)", "  maps to      nothing"]),
        (["12"], ["  replaced by  11 Asthma, unspecified (ICD10CM, Condition)"]),
        (["11"], ["  status       not standard, valid since 1970-01-01"]),
        (["11"], ["  maps to      2 Asthma (disorder) (SNOMED, Condition)"]),
        (["11"], ["  release      release 2; unchanged since release 1"]),
        (
            ["5"],
            [
                "  embedded     not in m-flat (active)",
                "  status       classification, valid since 1970-01-01",
            ],
        ),
        (["4"], ["4  Wheeze [31m"]),
    ],
)
def test_a_card_has_a_line_for(run: Run, arguments: list[str], lines: list[str]) -> None:
    code, output, messages = run(*arguments)
    assert (code, messages) == (0, "")
    shown = [" ".join(line.split()) for line in output.splitlines()]
    for line in lines:
        assert " ".join(line.split()) in shown, output


def test_no_line_of_a_card_is_over_80_columns(run: Run) -> None:
    _, output, _ = run("1", "2", "3", "12", "--ancestors", "--descendants", "--siblings", "--related")
    assert max(map(len, output.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "code", "cards", "errors"),
    [
        (
            ["999"],
            1,
            0,
            ["error: there is no concept 999 in the loaded vocabulary (release 2); its vocabulary"],
        ),
        (["2", "999"], 3, 1, ["error: there is no concept 999"]),
        (
            ["heart attack"],
            1,
            0,
            ["error: 'heart attack' is neither a concept id nor VOCABULARY:CODE; to find"],
        ),
        (["SNOMED:XX1", "x\ny", "2"], 3, 1, ["error: vocabulary SNOMED", "error: 'x y' is neither"]),
        (["99999999999"], 1, 0, ["a concept id is at most 2147483647"]),
        (["2147483647"], 1, 0, ["ids from 2,000,000,000 upwards are a site's own"]),
        (["2147483648", "2"], 3, 1, ["a concept id is at most 2147483647"]),
        (["9" * 5000, "2"], 3, 1, ["is neither a concept id nor"]),
        (["2000000001"], 1, 0, ["ids from 2,000,000,000 upwards are a site's own"]),
        (["0"], 1, 0, ["error: there is no concept 0"]),
        (["", "2"], 3, 1, ["error: '' is neither a concept id"]),
        (["2", "2", "11"], 0, 2, []),
    ],
)
def test_each_unknown_concept_is_one_line_and_an_exit_code(
    run: Run, arguments: list[str], code: int, cards: int, errors: list[str]
) -> None:
    returned, output, messages = run(*arguments, "--format", "json")
    assert (returned, len(json.loads(output))) == (code, cards)
    assert len(messages.splitlines()) == len(errors)
    for line, error in zip(messages.splitlines(), errors, strict=True):
        assert error in line


def test_json_holds_every_list(run: Run) -> None:
    _, output, _ = run("2", "--format", "json", "--limit", "3")
    (card,) = json.loads(output)
    assert (card["query"], card["concept"]["concept_name"]) == ("2", "Asthma (disorder)")
    assert (card["valid_start"], card["valid_end"]) == ("1970-01-01", "2099-12-31")
    assert card["ancestors"][0]["distance"] == 1
    assert (
        len([one for one in card["related"] if one["relationship"] == "Has due to"]),
        card["counts"]["related"],
    ) == (
        3,
        20,
    )
    assert card["releases"]["changes"][0]["old_name"] == "Asthma"
    assert card["synonyms"][1] == {"text": "Asthma", "language_concept_id": 4180186, "language": None}


@pytest.mark.parametrize(("format_", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_a_table_of_data_has_a_row_for_each_relative(run: Run, format_: str, delimiter: str) -> None:
    _, output, _ = run("2", "3", "--format", format_)
    rows = list(csv.DictReader(io.StringIO(output), delimiter=delimiter))
    assert [(row["query"], row["concept_name"]) for row in rows if row["kind"] == "concept"] == [
        ("2", "Asthma (disorder)"),
        ("3", LONG),
    ]
    assert {(row["kind"], row["relationship"], row["concept_id"]) for row in rows} >= {
        ("parents", "Is a", "1"),
        ("ancestors", "ancestor", "1"),
        ("mapped_from", "Mapped from", "11"),
        ("related", "Has finding site", "5"),
    }
