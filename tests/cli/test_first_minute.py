"""The first minute: what omop-emb says alone, and how the demo ends."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from omop_emb.service import DemoResult

main: Any = import_module("omop_emb.cli.main")
demo: Any = import_module("omop_emb.cli.demo")


def test_alone_it_shows_three_ways_in_that_exist() -> None:
    run = CliRunner().invoke(main.cli, [])
    assert (run.exit_code, run.stderr) == (0, "")
    lines = run.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    ways = [line.split("omop-emb ")[1].split()[0] for line in lines if line.startswith("  ")]
    assert ways == ["demo", "serve", "vocabulary"]
    assert set(ways) <= set(main.cli.list_commands(click.Context(main.cli)))


@pytest.mark.parametrize("plain", [True, False])
def test_the_demo_ends_with_five_lines(plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(demo, "echo", said.append)
    monkeypatch.setattr(demo, "_program", lambda: "omop-emb")
    result = DemoResult(
        hits=(), data_dir=Path("/data"), command_prefix="", concepts=2417, texts=4000, embedded=0
    )
    demo._echo_summary(result, 1.0, plain=plain)
    assert len([line for line in said if line]) == 5
    assert max(len(click.unstyle(line)) for line in said) <= 80
    assert ("\x1b[" in "".join(said)) is not plain


@pytest.mark.parametrize(
    ("has_pages", "expected"),
    [
        (True, "Next: .venv/bin/omop-emb serve; its link is http://127.0.0.1:8077/?token=…"),
        (False, "Next: .venv/bin/omop-emb search HTN T2DM -k 3"),
    ],
)
def test_the_last_line_leads_to_the_search_page_where_it_is_installed(
    has_pages: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(demo, "echo", said.append)
    monkeypatch.setattr(demo, "_program", lambda: ".venv/bin/omop-emb")
    monkeypatch.setattr(demo, "find_spec", lambda name: object() if has_pages else None)
    result = DemoResult(
        hits=(), data_dir=Path("/data"), command_prefix="", concepts=2417, texts=4000, embedded=0
    )
    demo._echo_summary(result, 1.0, plain=True)
    assert said[-1] == expected
    assert len(expected) <= 80
    serve: Any = import_module("omop_emb.cli.serve")
    [port] = [option for option in serve.command.params if option.name == "port"]
    assert f":{port.default}/" in demo._LINK
