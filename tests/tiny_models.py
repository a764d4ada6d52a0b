"""Tiny embedding models: folders whose vectors can be checked by mental arithmetic."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

# A word's vector for each of its tokens; what pools them is the model's. "odd" has an id, but no vector.
WORDS = {
    "[PAD]": (9.0, 9.0, 9.0),
    "[UNK]": (1.0, 1.0, 1.0),
    "aspirin": (0.0, 0.0, 1.0),
    "heart": (3.0, 4.0, 0.0),
    "attack": (1.0, 0.0, 0.0),
    "fever": (-2.0, 1.0, 2.0),
    "query:": (0.0, 5.0, 0.0),
    "nan": (float("nan"), 0.0, 0.0),
    "nil": (0.0, 0.0, 0.0),
}
_DIMENSIONS = 3
LAYER_WORDS = [f"w{number}" for number in range(20)]
LAYER_WIDTH = 32
SPELLED = 128  # the dimensions of a spelling model: one for each character that it can read
_ALPHABET = "\n" + "".join(map(chr, range(32, 127)))


def tiny_folder(
    folder: Path,
    *,
    words: Mapping[str, Sequence[float]] = WORDS,
    pooling: str | None = "mean",
    max_tokens: int = 8,
    prompts: Mapping[str, str] | None = None,
    output: str = "last_hidden_state",
    more_rows: int = 0,
) -> Path:
    """A sentence-transformers folder whose model looks each token's vector up in a table.

    Args:
        folder: will be created.
        words: of the tokenizer, and their vectors.
        pooling: recorded in 1_Pooling; None records none.
        max_tokens: recorded in sentence_bert_config.json.
        prompts: recorded in config_sentence_transformers.json.
        output: "last_hidden_state"; "sentence_embedding", the sum of the tokens; "logits", the same sum.
        more_rows: a sentence_embedding has so many more rows than there are texts.
    """
    (folder / "onnx").mkdir(parents=True)
    (folder / "1_Pooling").mkdir()
    vocabulary = {word: number for number, word in enumerate([*words, "odd"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "config.json", {"hidden_size": _DIMENSIONS, "pad_token_id": 0})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_tokens})
    write_json(folder / "config_sentence_transformers.json", {"prompts": dict(prompts or {})})
    keys = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens", "last": "lasttoken"}
    modes = {f"pooling_mode_{key}": name == pooling for name, key in keys.items()}
    write_json(folder / "1_Pooling" / "config.json", modes)
    table = np.array(list(words.values()), np.float32)
    nodes, constants, shape = _look_up(table, output, more_rows)
    _save(folder, nodes, constants, output, shape)
    return folder


def layer_folder(folder: Path) -> Path:
    """A new folder with a model of one layer: a word's vector, multiplied by a matrix of float weights."""
    (folder / "1_Pooling").mkdir(parents=True)
    vocabulary = {word: number for number, word in enumerate(["[UNK]", *LAYER_WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    write_json(folder / "config.json", {"hidden_size": LAYER_WIDTH, "pad_token_id": 0})
    random = np.random.default_rng(7)
    tensors = {
        "table": random.standard_normal((len(LAYER_WORDS) + 1, LAYER_WIDTH)).astype(np.float32),
        "weights": random.standard_normal((LAYER_WIDTH, LAYER_WIDTH)).astype(np.float32),
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
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*shape, LAYER_WIDTH])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), str(folder / "model.onnx"))
    return folder


def spelling_folder(
    folder: Path,
    *,
    mark: int = 0,
    prompts: Mapping[str, str] | None = None,
    more_inputs: Sequence[str] = (),
) -> Path:
    """A folder whose model spells out what it received: the vectors of `spelled`.

    Args:
        folder: will be created.
        mark: the last number of each vector, to tell models apart.
        prompts: recorded in config_sentence_transformers.json.
        more_inputs: that the model needs besides.
    """
    (folder / "onnx").mkdir(parents=True)
    vocabulary = {character: number for number, character in enumerate(_ALPHABET, start=1)}
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, **vocabulary}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "config.json", {"hidden_size": SPELLED, "pad_token_id": 0})
    write_json(folder / "config_sentence_transformers.json", {"prompts": dict(prompts or {})})
    constants: dict[str, np.ndarray[Any, Any]] = {
        "more": np.array([0, 0, 0, SPELLED - 1], np.int64),
        "zero": np.array([0], np.int64),
        "end": np.array([SPELLED - 1], np.int64),
        "one": np.array([1], np.int64),
        "after": np.array([0, 0, 0, 1], np.int64),
        "mark": np.array(mark, np.float32),
    }
    nodes = [
        helper.make_node("Mul", ["input_ids", "attention_mask"], ["ids"]),
        helper.make_node("Cast", ["ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Pad", ["numbers", "more"], ["long"]),
        helper.make_node("Slice", ["long", "zero", "end", "one"], ["spelled"]),
        helper.make_node("Pad", ["spelled", "after", "mark"], ["sentence_embedding"]),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    _save(folder, nodes, tensors, "sentence_embedding", ["batch", SPELLED], more_inputs)
    return folder


def spelled(text: str, *, mark: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The unit vector of a text by a spelling model: its characters' numbers, and the mark."""
    row = np.zeros(SPELLED)
    row[: len(text)] = [_ALPHABET.index(character) + 1 for character in text]
    row[-1] = mark
    return row / np.linalg.norm(row)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def _look_up(
    table: np.ndarray[Any, np.dtype[np.float32]], output: str, more_rows: int
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto], list[str | int]]:
    constants = [numpy_helper.from_array(table, "table")]
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])]
    shape: list[str | int] = ["batch", "tokens", _DIMENSIONS]
    if output != "last_hidden_state":
        constants.append(numpy_helper.from_array(np.array([1], np.int64), "tokens_axis"))
        constants.append(numpy_helper.from_array(np.ones((more_rows, _DIMENSIONS), np.float32), "more"))
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "two"], ["weights"]),
            helper.make_node("Mul", ["last_hidden_state", "weights"], ["masked"]),
            helper.make_node("ReduceSum", ["masked", "tokens_axis"], ["summed"], keepdims=0),
            helper.make_node("Concat", ["summed", "more"], [output], axis=0),
        ]
        constants.append(numpy_helper.from_array(np.array([2], np.int64), "two"))
        shape = ["rows", _DIMENSIONS]
    return nodes, constants, shape


def _save(
    folder: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto],
    output: str,
    shape: Sequence[str | int],
    more_inputs: Sequence[str] = (),
) -> None:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask", *more_inputs)
        ],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "onnx" / "model.onnx"))


def trainable_folder(folder: Path, texts: Sequence[str], *, width: int = 16) -> Path:
    """A new folder with a model that can be trained: a random vector for each word, and one layer."""
    words = dict.fromkeys(word for text in texts for word in text.lower().split())
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *words])}
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "onnx").mkdir()
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    write_json(folder / "config.json", {"hidden_size": width, "pad_token_id": 0})
    random = np.random.default_rng(3)
    table = random.standard_normal((len(vocabulary), width)).astype(np.float32)
    layer = np.eye(width, dtype=np.float32)
    constants = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(layer, "layer")]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["looked_up"]),
        helper.make_node("MatMul", ["looked_up", "layer"], ["last_hidden_state"]),
    ]
    _save(folder, nodes, constants, "last_hidden_state", ["batch", "tokens", width])
    return folder
