"""Every command's output: in any encoding, into a full disk, into a pipe that nobody reads any more."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.hostile_files import READERS

OMOP_EMB = Path(sysconfig.get_path("scripts")) / "omop-emb"
TERMS = "name\nSj\u00f6gren's syndrome\nhigh blood pressure\n"
COMMANDS = {
    "models list": ["models", "list"],
    "models list as CSV": ["models", "list", "--format", "csv"],
    "help": ["--help"],
    "search": ["search", "Sj\u00f6gren"],
    "search as JSON": ["search", "Sj\u00f6gren", "--format", "json"],
    "search as TSV": ["search", "Sj\u00f6gren", "--format", "tsv"],
    "map to stdout": ["map", "-", "-o", "-", "--yes"],
}
ENCODINGS = ("ascii", "latin-1", "utf-8:strict")


@pytest.fixture
def environment(sample_database_url: str, tmp_path: Path) -> dict[str, str]:
    # Unbuffered, a command would meet a full disk at its first line, and not when it ends.
    own = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**own, "OMOP_EMB_DATABASE_URL": sample_database_url, "XDG_CACHE_HOME": str(tmp_path)}


def run(command: str, environment: dict[str, str], shell: str = '"$@"') -> subprocess.CompletedProcess[bytes]:
    """A command in bash, which gives its own exit code; `shell` says where the output goes."""
    return subprocess.run(
        ["/bin/bash", "-c", shell, "bash", OMOP_EMB, *COMMANDS[command]],
        input=TERMS.encode(),
        capture_output=True,
        env=environment,
        timeout=120,
    )


def lines(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    return [line for line in done.stderr.decode().splitlines() if "error" in line.lower() or "Trace" in line]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_one_line_and_exit_code_1(command: str, environment: dict[str, str]) -> None:
    done = run(command, environment, '"$@" > /dev/full')
    assert done.returncode == 1
    assert len(lines(done)) == 1
    assert "No space left on device" in lines(done)[0]
    assert "unexpected" not in lines(done)[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_stops_is_no_error(command: str, environment: dict[str, str]) -> None:
    done = run(command, environment, '"$@" | true; exit ${PIPESTATUS[0]}')
    assert (done.returncode, lines(done)) == (0, [])


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("command", ["models list", "search", "search as JSON", "search as TSV"])
def test_any_encoding_of_the_terminal_will_do(
    command: str, encoding: str, environment: dict[str, str]
) -> None:
    done = run(command, {**environment, "PYTHONIOENCODING": encoding})
    assert (done.returncode, lines(done)) == (0, [])
    if command == "search as JSON":
        assert json.loads(done.stdout.decode())[0]["query"] == "Sj\u00f6gren"
    if command == "search as TSV":
        assert "Sj\u00f6gren" in done.stdout.decode()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(closed: str, environment: dict[str, str]) -> None:
    assert run("models list", environment, f'"$@" {closed}').returncode == 0


def test_an_argument_that_is_no_text_is_refused() -> None:
    done = subprocess.run([OMOP_EMB, "search", b"\xff"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "argument 2 is not text" in done.stderr


@pytest.mark.parametrize("name", ["t.csv", "t.xlsx", "t.parquet", "t.usagi.csv"])
def test_a_disk_that_fills_up_leaves_no_half_of_an_output(
    name: str, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "terms.csv").write_bytes(READERS[0].content() * 40)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / name).write_text("before")
    arguments = ["map", str(tmp_path / "in" / "terms.csv"), "-o", str(folder / name), "--yes"]
    done = subprocess.run(
        ["/bin/bash", "-c", 'ulimit -f 8; "$@"', "bash", str(OMOP_EMB), *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert "File too large" in done.stderr
    assert "unexpected" not in done.stderr
    assert (folder / name).read_text() == "before"
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]
