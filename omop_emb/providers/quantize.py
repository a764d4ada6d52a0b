"""Int8 quantisation: a model's ONNX weights, quantised on this machine once and cached."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from omop_emb import config
from omop_emb.errors import ConfigurationError, MissingExtraError
from omop_emb.providers.no_telemetry import import_onnxruntime
from omop_emb.safe_files.private_file import cache_folder


def quantized_weights(weights: Path, revision: str) -> Path:
    """An int8 copy of an ONNX file, named by its revision: half the time and memory, and other vectors."""
    copy = config.cache_dir() / "int8" / f"{revision}.onnx"
    if copy.is_file() and cache_folder(config.cache_dir(), "int8"):
        return copy
    try:
        import onnx  # noqa: F401 - onnxruntime's quantisation is built on it

        import_onnxruntime()
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError:
        raise MissingExtraError("an int8 model", "quantize") from None
    logger = logging.getLogger()
    level = logger.level
    try:
        cache_folder(config.cache_dir(), "int8")
        handle, unfinished = tempfile.mkstemp(suffix=".onnx", dir=copy.parent)
        os.close(handle)
        try:
            # It recommends preprocessing on the root logger, which changes nothing for these models.
            logger.setLevel(logging.ERROR)
            quantize_dynamic(str(weights), unfinished, weight_type=QuantType.QInt8)
            if _integer_products(unfinished) == _integer_products(weights):
                raise ConfigurationError(
                    f"{weights} has no float weights that int8 would speed up; they may be int8 already: "
                    "leave @int8 (--quantize) out"
                )
            os.replace(unfinished, copy)  # atomic, whoever else makes it now
        finally:
            logger.setLevel(level)
            Path(unfinished).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"cannot write int8 weights to {copy.parent}: {error.strerror}") from None
    except ConfigurationError:
        raise
    except Exception as error:
        # onnx and onnxruntime raise classes of many families here.
        raise ConfigurationError(f"{weights} cannot be quantised ({type(error).__name__})") from None
    return copy


def _integer_products(weights: Path | str) -> int:
    import onnx

    graph = onnx.load(str(weights), load_external_data=False).graph
    return sum(node.op_type in ("MatMulInteger", "ConvInteger") for node in graph.node)
