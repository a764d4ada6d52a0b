"""The page on security: its SQL gives roles what its table says, and files have the modes that it names."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from omop_emb.mapping.files.journal import journal_path
from tests.attack.commands import write_inputs
from tests.attack.kills import Place
from tests.conftest import NewDatabase, as_url
from tests.docs.test_examples import fences

PAGE = Path(__file__).parents[2] / "docs/concepts/security-and-privacy.md"
AS_SUPERUSER, FOR_READERS, FOR_DUMPS = (
    fence.text for fence in fences(PAGE.read_text()) if fence.info == "sql"
)
BUILDS = (
    "vocabulary load first",
    "index build --yes --index-type flat --name flat --domain Condition",
    "index build --yes --index-type hnsw --name hnsw --domain Condition",
    "memory remember approved.csv",
    "calibrate approved.csv --name first",
    # After the grants: tables that are new.
    "vocabulary load later",
    "index build --yes --name hnsw",
    "index activate hnsw",
)
READS = (
    "search cough",
    "concept CONCEPT",
    "map few.csv -o out.csv --review-queue queue.csv --candidates-output all.csv",
    "evaluate approved.csv",
    "estimate",
    "index build --dry-run",
    "index list",
    "index show hnsw",
    "index verify",
    "index export space.parquet",
    "search --file few.csv",
    "vocabulary status",
    "vocabulary list",
    "memory list",
    "memory list --site default",
    "ranker list",
    "models list",
    "doctor",
    "db status",
    "db check",
)
WRITES = (
    "vocabulary load first",
    "vocabulary rollback",
    "index build --yes --name hnsw",
    "index build --yes --name flat --texts name --allow-shrink",
    "index activate flat",
    "index drop flat --yes",
    "memory remember approved.csv",
    "memory forget --all",
    "calibrate approved.csv --name second",
    "ranker use first",
    "ranker drop first --yes",
    "map few.csv -o kept.csv --keep-run",
    "map few.csv -o stored.csv --map-schema omop_emb --source-vocabulary-id X --unreviewed",
)


class Roles:
    """A database that was set up as the page says, with names of its own for the page's."""

    def __init__(self, conninfo: str, database: str, folder: Path) -> None:
        self._conninfo, self._database, self._folder = conninfo, database, folder
        self.suffix = uuid4().hex[:8]
        (folder / "files").mkdir()
        write_inputs(folder / "files")

    def url(self, role: str) -> str:
        return as_url(
            self._conninfo, dbname=self._database, user=f"{role}_{self.suffix}", password="change-me"
        )

    def execute(self, script: str, role: str | None = None) -> None:
        script = re.sub(r"\b(omop_(?:builder|reader))\b", rf"\1_{self.suffix}", script)
        script = script.replace("mydatabase", self._database)
        conninfo = make_conninfo(self._conninfo, dbname=self._database) if role is None else self.url(role)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            for statement in script.split(";\n"):
                if statement.strip():
                    connection.execute(statement.encode())

    def line(self, line: str) -> str:
        """A command with a concept of the vocabulary."""
        approved = (self._folder / "files/approved.csv").read_text().splitlines()[1]
        return line.replace("CONCEPT", approved.split(",")[-2])

    def place(self, role: str) -> Place:
        return Place(self._folder / "files", self._folder / "cache", self.url(role))


@pytest.fixture(scope="module")
def roles(
    server_conninfo: str, new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Roles]:
    with new_database("template0") as database:
        made = Roles(server_conninfo, database, tmp_path_factory.mktemp("roles"))
        made.execute(AS_SUPERUSER)
        try:
            for line in ("db migrate", *BUILDS):
                run = made.place("omop_builder").run(line)
                assert run.code == 0, f"{line}: {run.printed}"
                if line == "db migrate":
                    made.execute(FOR_READERS, "omop_builder")
            yield made
        finally:
            with psycopg.connect(make_conninfo(server_conninfo, dbname=database), autocommit=True) as owner:
                for role in ("omop_reader", "omop_builder"):
                    name = Identifier(f"{role}_{made.suffix}")
                    owner.execute(SQL("drop owned by {0} cascade; drop role {0}").format(name))


@pytest.mark.parametrize("line", READS)
def test_a_role_that_may_only_select_searches_maps_and_looks(roles: Roles, line: str) -> None:
    run = roles.place("omop_reader").run(roles.line(line))
    assert run.code in (0, 3), run.printed


@pytest.mark.parametrize("line", WRITES)
def test_what_a_reader_may_not_do_is_refused_in_one_line(roles: Roles, line: str) -> None:
    run = roles.place("omop_reader").run(line)
    assert run.code == 1, run.printed
    assert re.search(r"^error: .*(grant|may not|permission|right)", run.printed.splitlines()[-1]), run.printed


@pytest.mark.parametrize("line", [*READS[:4], "map few.csv -o again.csv", "doctor", "db check"])
def test_a_server_that_only_reads_answers_too(roles: Roles, line: str) -> None:
    place = roles.place("omop_builder")
    read_only = replace(place, url=f"{place.url}&options=-c%20default_transaction_read_only%3Don")
    assert read_only.run(roles.line(line)).code in (0, 3)


def test_a_reader_dumps_with_the_right_to_read_sequences(roles: Roles) -> None:
    roles.execute(FOR_DUMPS, "omop_builder")
    run = roles.place("omop_reader").run("db dump kept.dump")
    assert run.code == 0, run.printed


def modes() -> dict[str, str]:
    """Mode by file, as the page's table says; names as patterns."""
    rows = re.findall(r"^\| (.+?) \| (0[0-7]{3}|umask) \|", PAGE.read_text(), re.MULTILINE)
    return {name: mode for names, mode in rows for name in re.findall(r"`([^`]+)`", names)}


def test_each_file_has_the_mode_that_the_page_names(folder: Path, tmp_path: Path) -> None:
    said = modes()
    (tmp_path / "files").mkdir()
    write_inputs(tmp_path / "files")
    inputs = set((tmp_path / "files").rglob("*"))
    place = Place(tmp_path / "files", tmp_path / "cache", data_dir=folder / "data")
    for line in (
        "vocabulary load first",
        "index build --yes --index-type flat --domain Condition",
        "index export space.parquet",
        "db dump kept.dump",
        "map terms.csv -o out.csv --review-queue queue.xlsx --explain 3",
        "evaluate approved.csv --report report",
    ):
        run = place.run(line)
        assert run.code == 0, f"{line}: {run.printed}"
    assert not place.leftovers()
    data, cache = folder / "data", tmp_path / "cache" / "omop-emb"
    for path in (data, data / "postgres", data / "run", *data.glob("*.lock")):
        assert mode(path) == expected(said, f"OMOP_EMB_DATA_DIR{str(path).removeprefix(str(data))}")
    assert [mode(path) for path in (cache, *cache.rglob("*")) if path.is_dir()]
    assert {mode(path) for path in (cache, *cache.rglob("*")) if path.is_dir()} == {said["CACHE/omop-emb"]}
    outputs = set((tmp_path / "files").rglob("*")) - inputs
    names = {"space.parquet", "kept.dump", "out.csv", "queue.xlsx", "report", "report.html", "report.json"}
    assert {path.name for path in outputs} == names
    for path in outputs - {tmp_path / "files" / "report"}:
        is_dump = path.suffix == ".dump"
        assert mode(path) == (said["db dump"] if is_dump else "0644"), path
    assert said["map"] == said["--report"] == said["index export"] == "umask"
    assert said[".OUTPUT.journal"] == "0600"
    assert journal_path("OUTPUT").name == ".OUTPUT.journal"


def expected(said: dict[str, str], name: str) -> str:
    return next(mode for pattern, mode in said.items() if fnmatch(name, pattern))


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"
