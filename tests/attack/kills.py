"""Kills: a command ends by SIGKILL at a random moment, and its next run must make good what it left."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psycopg

from omop_emb.errors import ServerError
from omop_emb.server import supervisor
from tests.attack.commands import COMMANDS, WritingCommand, write_inputs
from tests.attack.process import start
from tests.attack.states import TableStates, database_state, folder_state
from tests.conftest import NewDatabase, as_url

_MOST_SECONDS = 900  # then it hangs; a busy machine takes minutes
_BASE_LINES = {
    "loaded": ("vocabulary load first",),
    "ready": (
        "index build --yes --index-type flat --name flat",
        "index build --yes --index-type hnsw --name hnsw",
        "memory remember approved.csv",
        "calibrate approved.csv --name first",
        "db dump ready.dump",
    ),
}


@dataclass(frozen=True)
class Run:
    """How a run ended: exit code (negative: the signal), what it printed, and how long it took."""

    code: int
    printed: str
    seconds: float


@dataclass(frozen=True)
class State:
    """What is in the database and in the folder."""

    database: TableStates
    files: dict[str, str]

    @property
    def published(self) -> dict[str, str]:
        """The files that are not hidden."""
        return {name: digest for name, digest in self.files.items() if not Path(name).name.startswith(".")}


@dataclass(frozen=True)
class Prepared:
    """A command, what it begins from, and what one and two undisturbed runs of it come to."""

    name: str
    command: WritingCommand
    database: str
    folder: Path
    before: State
    once: State
    twice: State
    seconds: float


@dataclass(frozen=True)
class Place:
    """Where a command runs: a database, a folder with its files, a folder for temporary and cached ones."""

    folder: Path
    cache: Path
    url: str | None = None
    data_dir: Path | None = None  # of the embedded server, where there is no URL
    model: str | None = None

    @property
    def log(self) -> Path:
        """Of the command under way."""
        return self.cache / "log"

    def environment(self) -> dict[str, str]:
        """The variables of a command."""
        temporary = self.cache / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        places = {} if self.model is None else {"OMOP_EMB_MODEL": self.model}
        places |= {"XDG_CACHE_HOME": str(self.cache), "TMPDIR": str(temporary), "OPENBLAS_NUM_THREADS": "1"}
        if self.url is not None:
            return places | {"OMOP_EMB_DATABASE_URL": self.url}
        return places | {"OMOP_EMB_DATA_DIR": str(self.data_dir)}

    def run(self, line: str, *, kill_after: float | None = None, kills_server: bool = False) -> Run:
        """Run a command to its end; after so many seconds, kill it or the server that it uses."""
        begun = time.monotonic()
        process = start(shlex.split(line), self.folder, self.environment(), self.log)
        if kill_after is not None:
            process.join(kill_after)
            if kills_server:
                self._kill_server()
            else:
                process.kill()
        process.join(_MOST_SECONDS)
        seconds = time.monotonic() - begun
        if process.exitcode is None:
            process.kill()
            process.join()
            raise AssertionError(f"{line} takes over {_MOST_SECONDS} s")
        printed = self.log.read_text() if self.log.exists() else ""
        assert "error: unexpected" not in printed, f"{line}: {printed}"
        assert "Traceback" not in printed, f"{line}: {printed}"
        return Run(process.exitcode, printed, seconds)

    def _kill_server(self) -> None:
        assert self.data_dir is not None
        pid = supervisor.status(self.data_dir).pid
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def state(self) -> State:
        """What is there now."""
        url = self.url
        if url is None:
            assert self.data_dir is not None
            url = as_url(supervisor.ensure_running(self.data_dir))
        return State(database_state(url), folder_state(self.folder))

    def leftovers(self) -> list[str]:
        """Unfinished files in the caches, and temporary files."""
        unfinished = [path for path in self.cache.rglob("*") if path.name.endswith(".part")]
        return [str(path) for path in (*unfinished, *(self.cache / "tmp").iterdir())]


class Attacker:
    """Prepares commands, and kills them."""

    def __init__(self, conninfo: str, new_database: NewDatabase, folder: Path) -> None:
        self._conninfo, self._new_database, self._folder = conninfo, new_database, folder
        self._inputs = folder / "inputs"
        self._inputs.mkdir()
        write_inputs(self._inputs)
        self._number = 0

    @contextmanager
    def bases(self) -> Iterator[dict[str, str]]:
        """The databases that commands begin from, by name."""
        with self._new_database("template0") as loaded, self._new_database("template0") as empty:
            self._prepare(loaded, _BASE_LINES["loaded"])
            with self._new_database(loaded) as ready:
                self._prepare(ready, _BASE_LINES["ready"])
                yield {"empty": empty, "loaded": loaded, "ready": ready}

    def _prepare(self, database: str, lines: tuple[str, ...]) -> None:
        place = Place(self._inputs, self._folder / "cache", self._url(database))
        for line in lines:
            run = place.run(line)
            assert run.code == 0, f"{line}: {run.printed}"

    @contextmanager
    def prepared(self, name: str, bases: dict[str, str]) -> Iterator[Prepared]:
        """A command with the states of undisturbed runs."""
        command = COMMANDS[name]
        with self._new_database(bases[command.base]) as database:
            folder = self._folder / name.replace(" ", "-")
            shutil.copytree(self._inputs, folder)
            place = Place(folder, self._folder / "cache", self._url(database), model=command.model)
            for line in command.before:
                run = place.run(line)
                assert run.code == 0, f"{line}: {run.printed}"
            before = place.state()
            with self.copy(database, folder, command) as place:
                run = place.run(command.line)
                assert run.code in (0, 3), f"{command.line}: {run.printed}"
                once = place.state()
                place.run(command.line)
                twice = place.state()
            yield Prepared(name, command, database, folder, before, once, twice, run.seconds)
            shutil.rmtree(folder)

    @contextmanager
    def copy(self, database: str, folder: Path, command: WritingCommand) -> Iterator[Place]:
        """A copy of a database and its folder, with a cache that is empty or that of all runs."""
        self._number += 1
        own = self._folder / f"run-{self._number}"
        shutil.copytree(folder, own / "files")
        with self._new_database(database) as name:
            cache = own / "cache" if command.cold else self._folder / "cache"
            yield Place(own / "files", cache, self._url(name), model=command.model)
        shutil.rmtree(own)

    def kill(self, prepared: Prepared, chance: Random) -> None:
        """Kill the command once, run it again, and compare with undisturbed runs."""
        command, moment = prepared.command, chance.uniform(0, prepared.seconds * 1.1)
        looks = chance.random() < 0.5
        about = f"{prepared.name}, killed after {moment:.4f} s, {'looked at' if looks else 'not looked at'}"
        with self.copy(prepared.database, prepared.folder, command) as place:
            killed = place.run(command.line, kill_after=moment)
            assert killed.code in (-signal.SIGKILL, 0, 3), f"{about}: {killed.printed}"
            if looks:
                assert place.url is not None
                wait_until_alone(place.url)
                check_between(prepared, place.state(), about)
            again = place.run(command.line)
            check_after(prepared, place, again, about)

    def kill_server(self, prepared: Prepared, data_dir: Path, chance: Random) -> None:
        """Kill the embedded server while the command runs, run it again, and compare."""
        command, moment = prepared.command, chance.uniform(0, prepared.seconds * 1.1)
        about = f"{prepared.name}, server killed after {moment:.4f} s"
        self._number += 1
        own = self._folder / f"run-{self._number}"
        shutil.copytree(prepared.folder, own / "files")
        cache = own / "cache" if command.cold else self._folder / "cache"
        with copied_server(data_dir) as copy:
            place = Place(own / "files", cache, data_dir=copy, model=command.model)
            supervisor.ensure_running(copy)
            disturbed = place.run(command.line, kill_after=moment, kills_server=True)
            assert disturbed.code in (0, 1, 3), f"{about}: {disturbed.printed}"
            if disturbed.code == 1:
                assert disturbed.printed.splitlines()[-1].startswith("error: "), (
                    f"{about}: {disturbed.printed}"
                )
            again = place.run(command.line)
            check_after(prepared, place, again, about)
        shutil.rmtree(own)

    @contextmanager
    def servers(self, folder: Path) -> Iterator[dict[str, Path]]:
        """Data folders of stopped embedded servers, by base, for copying."""
        folders = {base: folder / base for base in ("empty", "loaded", "ready")}
        for base, data_dir in folders.items():
            supervisor.ensure_running(data_dir)
            place = Place(self._inputs, self._folder / "cache", data_dir=data_dir)
            lines = {"empty": (), "loaded": _BASE_LINES["loaded"], "ready": ("db restore ready.dump",)}[base]
            for line in lines:
                run = place.run(line)
                assert run.code == 0, f"{line}: {run.printed}"
            supervisor.stop(data_dir)
        yield folders

    @contextmanager
    def server_before(self, prepared: Prepared, servers: dict[str, Path]) -> Iterator[Path]:
        """The data folder of a stopped server on which the commands before this one were run."""
        with copied_server(servers[prepared.command.base]) as data_dir:
            for line in prepared.command.before:
                run = Place(prepared.folder, self._folder / "cache", data_dir=data_dir).run(line)
                assert run.code == 0, f"{line}: {run.printed}"
            with suppress(ServerError):
                supervisor.stop(data_dir)
            yield data_dir

    def _url(self, database: str) -> str:
        return as_url(self._conninfo, dbname=database)


def check_between(prepared: Prepared, state: State, about: str) -> None:
    """A killed run has done all or nothing; of files, each is complete or as it was."""
    whole = (prepared.before, prepared.once)
    if not prepared.command.resumes:
        databases = [one.database for one in whole]
        differences = [difference(state.database, one) for one in databases]
        assert state.database in databases, f"{about}: the database is neither: {differences}"
    for name, digest in state.published.items():
        assert digest in [one.files.get(name) for one in whole], f"{about}: {name} is neither"
    assert set(state.published) >= set(prepared.before.published), f"{about}: a file is gone"


def check_after(prepared: Prepared, place: Place, again: Run, about: str) -> None:
    """The next run ends like one undisturbed run, or like two where the killed one was complete."""
    state = place.state()
    refused = again.code == 1 and again.printed.count("\n") <= 2
    assert again.code in (0, 3) or (refused and state == prepared.once), f"{about}: {again.printed}"
    for what in ("database", "files"):
        found, once, twice = (getattr(one, what) for one in (state, prepared.once, prepared.twice))
        assert found in (once, twice), f"{about}: {what}: {difference(found, once)}"
    assert not place.leftovers(), f"{about}: {place.leftovers()}"


def difference(found: Mapping[str, object], expected: Mapping[str, object]) -> dict[str, object]:
    """What differs, by name: found and expected."""
    return {
        name: (found.get(name), expected.get(name))
        for name in sorted({*found, *expected})
        if found.get(name) != expected.get(name)
    }


@contextmanager
def copied_server(data_dir: Path) -> Iterator[Path]:
    """A copy of a stopped server's folder, whose own server is stopped at the end."""
    copy = Path(tempfile.mkdtemp(dir=data_dir.parent)) / "data"
    copy.parent.chmod(0o755)
    subprocess.run(["/bin/cp", "-a", str(data_dir), str(copy)], check=True)
    try:
        yield copy
    finally:
        with suppress(ServerError):
            supervisor.stop(copy)
        shutil.rmtree(copy.parent, ignore_errors=True)


def wait_until_alone(url: str) -> None:
    """Until the server has noticed that a client is gone, and has rolled back what it did."""
    give_up = time.monotonic() + _MOST_SECONDS
    with psycopg.connect(url, autocommit=True) as connection:
        query = (
            "select count(*) from pg_stat_activity where datname = current_database()"
            " and backend_type = 'client backend' and pid <> pg_backend_pid()"
        )
        while connection.execute(query).fetchone() != (0,):
            assert time.monotonic() < give_up, "the server goes on without its client"
            time.sleep(0.02)
