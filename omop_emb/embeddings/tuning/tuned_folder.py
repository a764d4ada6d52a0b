"""Tuned folder: a tuned model as a folder in the layout of sentence-transformers, written whole or not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from omop_emb.embeddings.tuning.onnx_writer import Floats, with_weights
from omop_emb.errors import InputError
from omop_emb.providers.model_folder import ModelFiles

INT8_FOLDER = "int8"
_COPIED = ("special_tokens_map.json", "tokenizer_config.json", "vocab.txt", "config.json")


def write_tuned_folder(
    folder: Path, files: ModelFiles, model: Any, weights: Mapping[str, Floats], card: str
) -> None:
    """Write a model with tuned weights: with floats in `folder`, stored in 8 bits in `folder`/int8.

    Args:
        folder: does not exist yet; it appears complete or not at all.
        files: of the model that was tuned.
        model: its ONNX file, as read_graph() reads it.
        weights: by the graph's names.
        card: what README.md says of the model.

    Raises:
        InputError: the folder exists, or cannot be written.
    """
    if folder.exists():
        raise InputError(f"{folder} already exists: name a new folder")
    part = folder.with_name(f"{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
        _write(part, files, with_weights(model, weights), card)
        _write(part / INT8_FOLDER, files, with_weights(model, weights, int8=True), card)
        os.sync()
        part.rename(folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(folder: Path, files: ModelFiles, model: Any, card: str) -> None:
    (folder / "onnx").mkdir(parents=True)
    (folder / "1_Pooling").mkdir()
    onnx.save(model, str(folder / "onnx" / "model.onnx"))
    shutil.copyfile(files.tokenizer, folder / "tokenizer.json")
    for name in _COPIED:
        source = files.tokenizer.parent / name
        if source.is_file():
            shutil.copyfile(source, folder / name)
    modules = ("Transformer", "Pooling", "Normalize")
    paths = ("", "1_Pooling", "2_Normalize")
    keys = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens", "last": "lasttoken"}
    content: dict[str, object] = {
        "modules.json": [
            {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for index, (kind, path) in enumerate(zip(modules, paths, strict=True))
        ],
        "sentence_bert_config.json": {"max_seq_length": files.max_tokens, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {role.value: prompt for role, prompt in files.prompts.items()}
        },
    }
    if files.pooling is not None:
        content["1_Pooling/config.json"] = {
            "word_embedding_dimension": files.dimensions,
            **{f"pooling_mode_{key}": name == files.pooling for name, key in keys.items()},
        }
    if not (folder / "config.json").exists():
        content["config.json"] = {"hidden_size": files.dimensions, "pad_token_id": files.pad_token}
    for name, value in content.items():
        (folder / name).write_text(json.dumps(value, indent=2) + "\n")
    (folder / "README.md").write_text(card)
