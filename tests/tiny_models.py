"""Folders of embedding models so small that one can check their vectors in the head."""

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
        folder: is made.
        words: of the tokenizer, and their vectors.
        pooling: recorded in 1_Pooling; None records none.
        max_tokens: recorded in sentence_bert_config.json.
        prompts: recorded in config_sentence_transformers.json.
        output: "last_hidden_state"; "sentence_embedding", the sum of the tokens; "logits", the same sum.
        more_rows: a sentence_embedding has so many more rows than there are texts.
    """
    (folder / "onnx").mkdir(parents=True)
    (folder / "1_Pooling").mkdir()
    vocabulary = {word: place for place, word in enumerate([*words, "odd"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 - a token, no password
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
    onnx.save(_model(table, output, more_rows), str(folder / "onnx" / "model.onnx"))
    return folder


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def _model(table: np.ndarray[Any, np.dtype[np.float32]], output: str, more_rows: int) -> onnx.ModelProto:
    constants = [numpy_helper.from_array(table, "table")]
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])]
    shape: list[str | int] = ["batch", "tokens", _DIMENSIONS]
    if output != "last_hidden_state":
        constants.append(numpy_helper.from_array(np.array([1], np.int64), "tokens_axis"))
        constants.append(numpy_helper.from_array(np.ones((more_rows, _DIMENSIONS), np.float32), "more"))
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "two"], ["weights"]),
            helper.make_node("Mul", ["last_hidden_state", "weights"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "tokens_axis"], ["summed"], keepdims=0),
            helper.make_node("Concat", ["summed", "more"], [output], axis=0),
        ]
        constants.append(numpy_helper.from_array(np.array([2], np.int64), "two"))
        shape = ["rows", _DIMENSIONS]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
