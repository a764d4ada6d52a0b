"""Models from the hub: downloaded once, nothing that could run, each refusal reported in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.arrays import Vectors
from omop_emb.errors import ConfigurationError, ProviderError
from tests.fake_hub import FakeHub, commit_of
from tests.tiny_models import spelled, spelling_folder

NAME = "hospital/encoder"


@pytest.fixture(autouse=True)
def folder(hub: FakeHub, tmp_path: Path) -> Path:
    """The model that the hub offers, with files beside it that are not for us."""
    offered = spelling_folder(tmp_path / "offered", mark=1)
    for name in (
        "pytorch_model.bin",
        "model.safetensors",
        "modeling.py",
        "onnx/model_fp16.onnx",
        "README.md",
    ):
        (offered / name).write_text("import os")
    hub.models[NAME] = offered
    return offered


def embedded(options: str = "") -> Vectors:
    client = EmbeddingClient(f"local:{NAME}{options}", document_prefix="", query_prefix="")
    return client.embeddings(["ab"], embedding_role=EmbeddingRole.DOCUMENT)


def test_the_first_use_downloads_only_files_that_cannot_run(hub: FakeHub) -> None:
    np.testing.assert_allclose(embedded(), [spelled("ab", mark=1)], atol=1e-6)
    assert sorted(hub.fetched) == [
        f"{NAME}/{name}"
        for name in ("config.json", "config_sentence_transformers.json", "onnx/model.onnx", "tokenizer.json")
    ]


def test_a_downloaded_model_does_not_change_with_the_hub(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    before = embedded()
    hub.models[NAME] = spelling_folder(tmp_path / "newer", mark=2)
    np.testing.assert_array_equal(embedded(), before)
    hub.models.clear()
    np.testing.assert_array_equal(embedded(), before)


def test_a_named_revision_is_downloaded(hub: FakeHub, folder: Path) -> None:
    revision = commit_of(folder)
    np.testing.assert_allclose(embedded(f"@revision={revision}"), [spelled("ab", mark=1)], atol=1e-6)
    with pytest.raises(ConfigurationError, match=f"no model {NAME} at revision {'0' * 40}"):
        embedded(f"@revision={'0' * 40}")


def test_an_interrupted_download_is_resumed(hub: FakeHub, tmp_path: Path) -> None:
    embedded()
    for path in (tmp_path / "hub").rglob("tokenizer.json"):
        path.unlink()
    np.testing.assert_allclose(embedded(), [spelled("ab", mark=1)], atol=1e-6)


@pytest.mark.parametrize(
    ("status", "code", "error", "message"),
    [
        (404, "RepoNotFound", ConfigurationError, f"the hub has no model {NAME}"),
        (403, "GatedRepo", ConfigurationError, "licence .* hf auth login"),
        (500, "", ProviderError, "hub cannot be reached .* local:/path/to/folder"),
        (503, "", ProviderError, "hub cannot be reached"),
    ],
)
def test_each_refusal_of_the_hub_is_reported_in_one_line(
    hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)  # between the hub library's own tries
    hub.refusals[NAME] = (status, code)
    with pytest.raises(error, match=message) as caught:
        embedded()
    assert "\n" not in str(caught.value)


def test_a_hub_that_cannot_be_reached_says_what_to_do_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ProviderError, match="download it elsewhere and name the folder"):
        embedded()


def test_a_model_without_an_onnx_file_says_how_to_make_one(hub: FakeHub, folder: Path) -> None:
    (folder / "onnx" / "model.onnx").unlink()
    with pytest.raises(ConfigurationError, match=f"{NAME} contains no onnx/model.onnx.*; export one"):
        embedded()


def test_the_hub_library_s_own_variables_apply(hub: FakeHub, tmp_path: Path) -> None:
    script = (
        "from omop_emb import EmbeddingClient; "
        f"print(EmbeddingClient('local:{NAME}', document_prefix='d', query_prefix='q').dimensions)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stdout == "128\n", run.stderr
    assert list((tmp_path / "home").rglob("tokenizer.json"))
