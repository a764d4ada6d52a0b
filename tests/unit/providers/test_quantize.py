"""Int8 weights of local models: made once, refused where they gain nothing, in a space of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from omop_emb import EmbeddingClient, EmbeddingRole
from omop_emb.errors import ConfigurationError
from omop_emb.providers import int8_model
from tests.tiny_models import tiny_folder, write_json

DOCUMENT = EmbeddingRole.DOCUMENT
WORDS = [f"w{number}" for number in range(20)]
WIDTH = 32


@pytest.fixture(autouse=True)
def cache(own_cache: Path) -> Path:
    return own_cache / "int8"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of one layer: a word's vector, multiplied by a matrix of weights."""
    model = tmp_path / "model"
    model.mkdir()
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(["[UNK]", *WORDS])}, "[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(model / "tokenizer.json"))
    (model / "1_Pooling").mkdir()
    write_json(model / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    write_json(model / "config.json", {"hidden_size": WIDTH, "pad_token_id": 0})
    random = np.random.default_rng(7)
    tensors = {
        "table": random.standard_normal((len(WORDS) + 1, WIDTH)).astype(np.float32),
        "weights": random.standard_normal((WIDTH, WIDTH)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["looked_up"]),
        helper.make_node("MatMul", ["looked_up", "weights"], ["last_hidden_state"]),
    ]
    shape = ["batch", "tokens"]
    graph = helper.make_graph(
        nodes,
        "one layer",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, shape)],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*shape, WIDTH])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        str(model / "model.onnx"),
    )
    return model


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
        return {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}

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
    assert list(cache.iterdir()) == []


def test_int8_weights_are_not_quantised_again(folder: Path, cache: Path) -> None:
    EmbeddingClient(f"local:{folder}@int8").embeddings(["w1"], embedding_role=DOCUMENT)
    (int8_file,) = cache.iterdir()
    int8_file.replace(folder / "model.onnx")
    with pytest.raises(ConfigurationError, match=r"int8 already: leave @int8 \(--quantize\) out"):
        EmbeddingClient(f"local:{folder}@int8").embeddings(["w1"], embedding_role=DOCUMENT)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "reason"), [("@int8", "has int8 weights already"), ("@cls", "has its own pooling")]
)
def test_the_packaged_model_refuses_options_and_says_why(options: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{reason}.*leave {options} out"):
        EmbeddingClient(f"local:all-MiniLM-L6-v2{options}")


def test_both_encoders_are_quantised_and_only_of_local_models() -> None:
    assert int8_model("local:a/b,c/d@cls") == "local:a/b@int8,c/d@cls@int8"
    assert int8_model("local:a/b@int8") == "local:a/b@int8"
    with pytest.raises(ConfigurationError, match="only local models are quantised here"):
        int8_model("ollama:nomic-embed-text")
