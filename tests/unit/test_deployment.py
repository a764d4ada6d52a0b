"""Files for those who run or cite omop-emb: linted, and true about the release."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
import yaml

import omop_emb

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def test_the_containerfile_is_clean() -> None:
    hadolint = shutil.which("hadolint", path=sysconfig.get_path("scripts")) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    run = subprocess.run([hadolint, DEPLOY / "Containerfile"], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "")


def test_the_containerfile_copies_what_the_wheel_is_built_from() -> None:
    copied = [
        name
        for line in (DEPLOY / "Containerfile").read_text().splitlines()
        if line.startswith("COPY ")
        for name in line.split()[1:-1]
    ]
    assert {"pyproject.toml", "README.md", "LICENSE", "NOTICE", "omop_emb", "cli", "sql"} <= set(copied)
    assert all((ROOT / name).exists() for name in copied)


def test_the_compose_file_opens_no_port_to_others() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    context = DEPLOY / services["omop-emb"]["build"]["context"]
    assert (context / services["omop-emb"]["build"]["dockerfile"]).exists()


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "omop-emb.service"
    lines = (DEPLOY / "omop-emb.service").read_text().splitlines()
    # The program and its user are of the machine that the unit is for.
    here = {"ExecStart=": "ExecStart=/bin/true", "User=": "User=daemon"}
    unit.write_text("\n".join(here.get(line.partition("=")[0] + "=", line) for line in lines))
    run = subprocess.run([analyze, "verify", unit], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == omop_emb.__version__
    assert {"cff-version", "message", "title", "authors", "license"} <= set(citation)


@pytest.mark.parametrize("name", ["bug", "feature", "mapping"])
def test_an_issue_form_says_what_it_asks_for(name: str) -> None:
    form = yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{name}.yml").read_text())
    assert form["name"]
    assert form["description"]
    assert any(item.get("validations", {}).get("required") for item in form["body"])
