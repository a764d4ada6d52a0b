"""What starting costs: which modules are loaded, how much processor time is used."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

OMOP_EMB = Path(sysconfig.get_path("scripts")) / "omop-emb"
SDKS = ("torch", "onnxruntime", "tokenizers", "google", "ollama", "pandas", "httpx", "huggingface_hub")


def _loaded(*arguments: str) -> set[str]:
    """The modules that a Python with these arguments loads, as -X importtime tells them."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True
    )
    return {line.rsplit("|", 1)[1].strip() for line in run.stderr.splitlines() if "|" in line}


def test_importing_the_package_loads_no_sdk() -> None:
    loaded = _loaded("-c", "import omop_emb")
    assert "omop_emb" in loaded
    assert not [name for name in loaded if name.split(".")[0] in {*SDKS, "numpy", "sqlalchemy", "psycopg"}]


def test_help_loads_no_sdk_and_no_driver() -> None:
    loaded = _loaded(str(OMOP_EMB), "--help")
    assert "omop_emb.cli.main" in loaded
    assert not [name for name in loaded if name.split(".")[0] in {*SDKS, "numpy", "sqlalchemy", "psycopg"}]


def test_help_takes_under_four_tenths_of_a_second_of_processor_time() -> None:
    def seconds() -> float:
        process = subprocess.Popen([OMOP_EMB, "--help"], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_utime + usage.ru_stime

    # The best of several: what else runs on the machine only ever adds to it.
    assert min(seconds() for _ in range(5)) < 0.4


def test_every_public_name_can_be_imported() -> None:
    import omop_emb

    for name in omop_emb.__all__:
        assert getattr(omop_emb, name) is not None


def test_an_assistants_server_needs_nothing_of_the_http_server() -> None:
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    script = (
        "import sys; sys.modules.update(fastapi=None, jinja2=None, prometheus_client=None); "
        "import omop_emb.web.assistant.mcp_stdio"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
