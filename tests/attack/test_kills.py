"""Every writing command is killed at random moments: its next run ends as if nothing had happened.

What failed names the command and the moment, and is tried again by itself with -k "NAME".
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from omop_emb.server import supervisor
from tests.attack.commands import COMMANDS
from tests.attack.kills import Attacker, Place
from tests.conftest import NewDatabase

SEED = 20261129  # another one tries other moments
KILLS, SERVER_KILLS, DEMO_KILLS = 14, 3, 5  # of each command in the long form: 685 in all
OFTEN = (
    "vocabulary load",
    "index build hnsw",
    "map to usagi",
    "memory forget",
)  # once each in the short form


@pytest.fixture(scope="module")
def attacker(
    server_conninfo: str, new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Attacker:
    return Attacker(server_conninfo, new_database, tmp_path_factory.mktemp("attack"))


@pytest.fixture(scope="module")
def bases(attacker: Attacker) -> Iterator[dict[str, str]]:
    with attacker.bases() as names:
        yield names


@pytest.fixture(scope="module")
def servers(attacker: Attacker, bases: dict[str, str], shared_folder: Path) -> Iterator[dict[str, Path]]:
    with attacker.servers(shared_folder / "attacked") as folders:
        yield folders


def moments(name: str, victim: str, count: int) -> Iterator[Random]:
    """A source of chance for each kill, the same in every run."""
    for number in range(count):
        yield Random(f"{SEED} {name} {victim} {number}")  # noqa: S311 - nothing secret


@pytest.mark.parametrize("name", OFTEN)
def test_a_killed_command_is_made_good_by_its_next_run(
    attacker: Attacker, bases: dict[str, str], name: str
) -> None:
    with attacker.prepared(name, bases) as prepared:
        for chance in moments(name, "often", 1):
            attacker.kill(prepared, chance)


@pytest.mark.long
@pytest.mark.parametrize("name", COMMANDS)
def test_after_each_kill_the_next_run_ends_like_an_undisturbed_one(
    attacker: Attacker, bases: dict[str, str], name: str
) -> None:
    with attacker.prepared(name, bases) as prepared:
        for chance in moments(name, "command", KILLS):
            attacker.kill(prepared, chance)


@pytest.mark.long
@pytest.mark.parametrize("name", COMMANDS)
def test_after_each_kill_of_the_server_the_next_run_ends_like_an_undisturbed_one(
    attacker: Attacker, bases: dict[str, str], servers: dict[str, Path], name: str
) -> None:
    with attacker.prepared(name, bases) as prepared, attacker.server_before(prepared, servers) as data_dir:
        for chance in moments(name, "server", SERVER_KILLS):
            attacker.kill_server(prepared, data_dir, chance)


@pytest.mark.long
def test_after_each_kill_of_the_demo_its_next_run_maps_as_an_undisturbed_one(
    folder: Path, tmp_path: Path
) -> None:
    def demo_in(name: str) -> Place:
        (tmp_path / name).mkdir()
        return Place(tmp_path / name, tmp_path / f"{name}-cache", data_dir=folder / name)

    undisturbed = demo_in("undisturbed").run("demo --format csv")
    assert undisturbed.code == 0
    for number, chance in enumerate(moments("demo", "command", DEMO_KILLS)):
        place = demo_in(str(number))
        moment = chance.uniform(0, undisturbed.seconds)
        place.run("demo --format csv", kill_after=moment, kills_server=number % 2 == 1)
        again = place.run("demo --format csv")
        assert again.code == 0, f"killed after {moment:.4f} s: {again.printed}"
        assert mapped(again.printed) == mapped(undisturbed.printed), f"killed after {moment:.4f} s"
        assert not place.leftovers()
        supervisor.stop(folder / str(number))
        shutil.rmtree(folder / str(number))


def mapped(printed: str) -> list[list[str]]:
    """The rows of the demo's table among what it says."""
    lines = printed[printed.index("term,") :].partition("\n\n")[0]
    return [*csv.reader(io.StringIO(lines))]
