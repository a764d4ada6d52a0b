"""Int8 weights of local models: made once, refused where they gain nothing, in a space of their own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.errors import ConfigurationError
from omop_emb.providers import int8_model
from omop_emb.providers.quantize import quantized_weights
from tests.tiny_models import (
    LAYER_WIDTH as WIDTH,
    LAYER_WORDS as WORDS,
    layer_folder,
    tiny_folder,
)

DOCUMENT = EmbeddingRole.DOCUMENT


@pytest.fixture(autouse=True)
def cache(own_cache: Path) -> Path:
    return own_cache / "int8"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return layer_folder(tmp_path / "model")


def test_int8_weights_give_similar_vectors_in_a_space_of_their_own(folder: Path) -> None:
    full = EmbeddingClient(f"local:{folder}")
    small = EmbeddingClient(int8_model(f"local:{folder}"))
    texts = [f"{first} {second}" for first, second in zip(WORDS, WORDS[::-1], strict=True)]
    a, b = (each.embeddings(texts, embedding_role=DOCUMENT) for each in (full, small))
    cosines = (a * b).sum(axis=1)
    assert cosines.min() > 0.99
    assert cosines.min() < 1 - 1e-6
    assert small.model == f"local:{folder}@int8"
    assert small.fingerprint != full.fingerprint


def test_int8_weights_are_made_once_for_each_set_of_weights(folder: Path, cache: Path) -> None:
    def made_by_a_client() -> dict[str, int]:
        EmbeddingClient(f"local:{folder}@int8").embeddings(["w1"], embedding_role=DOCUMENT)
        return {path.parent.name: path.stat().st_mtime_ns for path in cache.glob("*/model.onnx")}

    first = made_by_a_client()
    assert len(first) == 1
    assert made_by_a_client() == first
    model = onnx.load(str(folder / "model.onnx"))
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.eye(WIDTH, dtype=np.float32), "weights"))
    onnx.save(model, str(folder / "model.onnx"))
    assert len(made_by_a_client()) == 2


def test_a_model_that_cannot_be_quantised_is_reported_and_leaves_no_file(tmp_path: Path, cache: Path) -> None:
    only_looks_up = tiny_folder(tmp_path / "tiny")
    with pytest.raises(ConfigurationError, match=r"model\.onnx cannot be quantised"):
        EmbeddingClient(f"local:{only_looks_up}@int8").embeddings(["heart"], embedding_role=DOCUMENT)
    assert list(cache.iterdir()) == [cache / ".lock"]


def test_int8_weights_are_not_quantised_again(folder: Path, cache: Path) -> None:
    EmbeddingClient(f"local:{folder}@int8").embeddings(["w1"], embedding_role=DOCUMENT)
    (int8_file,) = cache.glob("*/model.onnx")
    int8_file.replace(folder / "model.onnx")
    shutil.rmtree(int8_file.parent)
    with pytest.raises(ConfigurationError, match=r"int8 already: leave @int8 \(--quantize\) out"):
        EmbeddingClient(f"local:{folder}@int8").embeddings(["w1"], embedding_role=DOCUMENT)
    assert list(cache.iterdir()) == [cache / ".lock"]


def zeroed(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(200)
        file.write(bytes(400))


@pytest.mark.parametrize(
    "damage", [zeroed, lambda path: os.truncate(path, 300), Path.unlink, lambda path: path.write_bytes(b"")]
)
def test_damaged_int8_weights_are_made_again_and_what_a_killed_process_left_goes(
    folder: Path, cache: Path, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    weights = quantized_weights(folder / "model.onnx", "revision")
    intact = weights.read_bytes()
    damage(weights)
    (cache / "other.part").mkdir()
    (cache / "other.part" / "model.onnx").write_bytes(intact[:100])
    assert quantized_weights(folder / "model.onnx", "revision").read_bytes() == intact
    assert "was damaged and is being rebuilt" in caplog.text
    assert sorted(path.name for path in cache.iterdir()) == [".lock", "revision"]


@pytest.mark.parametrize(
    ("options", "reason"), [("@int8", "has int8 weights already"), ("@cls", "has its own pooling")]
)
def test_the_packaged_model_refuses_options_and_says_why(options: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{reason}.*leave {options} out"):
        EmbeddingClient(f"local:all-MiniLM-L6-v2{options}")


def test_both_encoders_are_quantised_and_only_of_local_models() -> None:
    assert int8_model("local:a/b,c/d@cls") == "local:a/b@int8,c/d@cls@int8"
    assert int8_model("local:a/b@int8") == "local:a/b@int8"
    with pytest.raises(ConfigurationError, match="omop-emb only quantises local models"):
        int8_model("ollama:nomic-embed-text")
