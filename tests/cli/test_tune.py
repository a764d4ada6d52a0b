"""omop-emb tune on the sample vocabulary: a tiny model gets better, is written, and is searched with."""

from __future__ import annotations

import csv
import json
import sys
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.errors import InputError, MissingExtraError
from omop_emb.service import demo
from tests.tiny_models import trainable_folder


def tune(*arguments: str) -> Result:
    command = import_module("omop_emb.cli.tune").command
    result = CliRunner().invoke(command, list(arguments), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def sample_texts() -> list[str]:
    texts = []
    for name, column in (("CONCEPT.csv", "concept_name"), ("CONCEPT_SYNONYM.csv", "concept_synonym_name")):
        with (demo.SAMPLE / name).open(encoding="utf-8", newline="") as lines:
            texts += [row[column] for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)]
    return texts


@pytest.fixture
def folder(sample_database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", sample_database_url)
    monkeypatch.chdir(tmp_path)
    trainable_folder(tmp_path / "base", sample_texts())
    return tmp_path


def test_a_tuned_model_finds_more_and_has_a_fingerprint_of_its_own(folder: Path) -> None:
    pytest.importorskip("torch", reason="the extra train is not installed")
    (folder / "gold.csv").write_text("term\nViral sinusitis (disorder)\n", encoding="utf-8")
    learned = ("--base", "base", "--threads", "1", "--learning-rate", "0.01", "--epochs", "20")
    options = (*learned, "--hard-negatives", "--augment", "--without", "gold.csv")
    plan = json.loads(tune("own", *options, "--estimate", "--format", "json").stdout)[0]
    assert plan["pairs"] > 300
    assert plan["held_out"] > 10
    assert not (folder / "own").exists()
    assert not (folder / "own.run").exists()
    result = tune("own", *options, "--format", "json")
    before, after, after_int8 = json.loads(result.stdout)
    assert after["MRR"] > before["MRR"]
    assert after_int8["MRR"] > before["MRR"]
    assert before["pool"] == after["pool"] > before["pairs"] == after["pairs"] == plan["held_out"]
    assert not (folder / "own.run").exists()
    assert {path.name for path in (folder / "own").iterdir()} >= {"modules.json", "1_Pooling", "onnx", "int8"}
    digests = set()
    for model in ("base", "own", "own/int8"):
        client = EmbeddingClient(f"local:{folder / model}", document_prefix="", query_prefix="")
        assert client.embeddings(["sinusitis"], embedding_role=EmbeddingRole.QUERY).shape == (1, 16)
        digests.add(client.fingerprint.digest)
    assert len(digests) == 3
    with pytest.raises(InputError, match="already exists"):
        tune("own", *options)


def test_too_few_pairs_are_refused(folder: Path) -> None:
    pytest.importorskip("torch", reason="the extra train is not installed")
    (folder / "pairs.csv").write_text("text,name\nour word,Fever\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"1 usable pair, and training needs at least 20"):
        tune("own", "--base", "base", "--no-vocabulary", "--pairs", "pairs.csv")


def test_without_torch_one_line_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"'\.\[train\]'"):
        tune("own", "--base", "base")
