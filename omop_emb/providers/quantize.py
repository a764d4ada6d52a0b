"""Int8 quantisation: a model's ONNX weights, quantised on this machine once and cached."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

from omop_emb import config
from omop_emb.errors import ConfigurationError, MissingExtraError
from omop_emb.providers.no_telemetry import import_onnxruntime
from omop_emb.safe_files.private_file import cache_folder, open_private
from omop_emb.safe_files.sealed_folder import is_intact, publish, seal

# Unsigned: signed weights saturate on processors without VNNI, whose vectors then differ (a cosine of .95 was
# seen). Part of the revision, so that these are never compared with vectors of signed weights.
WEIGHTS = "u8"


def quantized_weights(weights: Path, revision: str) -> Path:
    """An int8 copy of an ONNX file, named by its revision: half the time and memory, and other vectors."""
    folder = config.cache_dir() / "int8" / revision
    copy = folder / "model.onnx"
    try:
        with suppress(FileNotFoundError):
            if cache_folder(config.cache_dir(), "int8", make=False) and is_intact(folder):
                return copy
        top = cache_folder(config.cache_dir(), "int8")
        with os.fdopen(open_private(top / ".lock"), "r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for unfinished in top.glob("*.part"):  # of a process that was killed: this one holds the lock
                shutil.rmtree(unfinished, ignore_errors=True)
            if not is_intact(folder):
                _make(weights, folder)
    except OSError as error:
        raise ConfigurationError(f"cannot write int8 weights to {folder}: {error.strerror}") from None
    return copy


def _make(weights: Path, folder: Path) -> None:
    if folder.exists():
        logging.getLogger(__name__).warning(
            "%s was damaged and is being rebuilt: is the disk healthy?", folder / "model.onnx"
        )
        shutil.rmtree(folder)
    part = folder.with_name(f"{folder.name}.part")
    part.mkdir(mode=0o700)
    try:
        _quantize(weights, part / "model.onnx")
        seal(part)
        publish(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _quantize(weights: Path, copy: Path) -> None:
    try:
        import onnx  # noqa: F401 - onnxruntime's quantisation is built on it

        import_onnxruntime()
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError:
        raise MissingExtraError("an int8 model", "quantize") from None
    root = logging.getLogger()
    level = root.level
    try:
        # It recommends preprocessing on the root logger, which changes nothing for these models.
        root.setLevel(logging.ERROR)
        quantize_dynamic(str(weights), str(copy), weight_type=QuantType.QUInt8)
        gains = _integer_products(copy) > _integer_products(weights)
    except OSError:
        raise
    except Exception as error:
        # onnx and onnxruntime raise classes of many families here.
        raise ConfigurationError(f"{weights} cannot be quantised ({type(error).__name__})") from None
    finally:
        root.setLevel(level)
    if not gains:
        raise ConfigurationError(
            f"{weights} has no float weights that int8 would speed up; they may be int8 already: "
            "leave @int8 (--quantize) out"
        )


def _integer_products(weights: Path | str) -> int:
    import onnx

    graph = onnx.load(str(weights), load_external_data=False).graph
    return sum(node.op_type in ("MatMulInteger", "ConvInteger") for node in graph.node)
