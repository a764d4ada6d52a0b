"""No telemetry: a local model leaves nothing in the home folder, and opens no connection."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_models import tiny_folder

ROOT = Path(__file__).parents[3]
# Imported only by no_telemetry.py; quantize.py and hub.py call that first.
LIBRARIES = {"onnxruntime", "huggingface_hub"}
USES = {
    "packaged model": "from omop_emb import EmbeddingClient as C, EmbeddingRole as R; "
    "C().embeddings(['fever'], embedding_role=R.QUERY)",
    "model folder": "from omop_emb import EmbeddingClient as C, EmbeddingRole as R; "
    "C('local:{folder}', document_prefix='', query_prefix='').embeddings(['fever'], embedding_role=R.QUERY)",
    "integer products": "import numpy as np; "
    "from omop_emb.mapping.retrieval.similarity_products import IntegerProducts, IntegerRows; "
    "IntegerProducts(IntegerRows.of(np.eye(8, dtype=np.float16), np.arange(8)))",
    "int8 weights": "from pathlib import Path; from omop_emb.providers.quantize import quantized_weights; "
    "from omop_emb.errors import ConfigurationError\n"
    "try: quantized_weights(Path('{folder}/onnx/model.onnx'), 'r')\n"
    "except ConfigurationError as error: assert 'no float weights' in str(error), error",
    "hub offline": "import os; os.environ['HF_HUB_OFFLINE'] = '1'\n"
    "from omop_emb.providers.hub import hub_folder\n"
    "try: hub_folder('nobody/nothing')\n"
    "except Exception as error: assert 'not on this machine' in str(error), error",
    "onnxruntime imported by the caller, too": "import omop_emb.providers.no_telemetry as t; "
    "t.import_onnxruntime(); import onnxruntime; onnxruntime.SessionOptions()",
}
# As an audit hook sees it; strace below sees what native code does, too.
WATCH = (
    "import sys; sys.addaudithook(lambda event, arguments: sys.exit(f'{event} {arguments}') "
    "if event in ('socket.getaddrinfo', 'socket.connect', 'socket.gethostbyname') else None)\n"
)


@pytest.mark.parametrize("use", USES)
def test_nothing_is_written_to_the_home_folder_and_no_connection_is_opened(use: str, tmp_path: Path) -> None:
    words = {"[PAD]": (1.0, 1.0, 1.0), "[UNK]": (1.0, 2.0, 1.0), "fever": (1.0, 0.0, 0.0)}
    folder = tiny_folder(tmp_path / "model", words=words)
    home = tmp_path / "home"
    home.mkdir()
    dropped = ("XDG_", "HF_", "ORT_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    script = f"{WATCH}{USES[use].format(folder=folder)}\nimport time; time.sleep(0.5)"
    command = [sys.executable, "-c", script]
    trace = tmp_path / "trace"
    strace = shutil.which("strace")
    if strace is not None:
        calls = "trace=connect,sendto,sendmmsg"
        command = [strace, "-f", "-qq", "-e", calls, "-o", str(trace), *command]
    run = subprocess.run(
        command, env={**environment, "HOME": str(home)}, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    written = {path.relative_to(home).parts[:2] for path in home.rglob("*") if path.is_file()}
    assert written <= {(".cache", "omop-emb"), (".cache", "huggingface")}
    if strace is not None:
        assert not [line for line in trace.read_text().splitlines() if "AF_INET" in line]


def test_only_one_module_imports_what_would_report() -> None:
    importing = set()
    for path in (ROOT / "omop_emb").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.partition(".")[0] in LIBRARIES for name in names):
                importing.add(path.name)
    assert importing == {"no_telemetry.py", "quantize.py", "hub.py"}
