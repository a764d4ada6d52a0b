"""Model names: one key for a model, however a provider, a server, a file or a folder spells it."""

from __future__ import annotations

import re

from omop_emb.providers.plugins import plugins
from omop_emb.providers.profiles import profile_names

PROVIDERS = ("local", "ollama", "gemini", *profile_names())

# What a name says of the file and its numbers, and nothing of the model.
_FORMATS = (
    "gguf|ggml|onnx|mlx|awq|gptq|exl2|openvino|safetensors|bin|qat|imat|i1|dwq|ud|quant|(?:un)?quanti[sz]ed|o[1-4]|latest"
    r"|i?q[2-8](?:-(?:[01]|k|xxs|xs|nl))?(?:-(?:s|m|l|xl))?|u?int[48]|b?fp?(?:8|16|32)|(?:mx|nv)fp[48]|[2-8]-?bit"
)
_FORMAT = re.compile(rf"[-.](?:{_FORMATS})(?=[-.]|$)")
# Owners on the hub, as some servers and folders write them before the name.
_OWNER = re.compile(
    "(?:models-)?(?:baai|intfloat|sentence-transformers|nomic-ai|mixedbread-ai|snowflake|google|qwen|ibm-granite"
    "|jinaai|cambridgeltl|fremycompany|neuml|abhinand|openai)-"
)
# What LM Studio writes before a name, and LlamaEdge after it.
_KIND = re.compile(r"^text-embedding-|-embeddings?$")
_SIZE = re.compile(r"-(?P<size>\d+(?:\.\d+)?[mb])(?=-|$)")
# Folders below that of a model: an export's, or a snapshot's in the cache of the hub.
_INNER_FOLDER = re.compile(r"onnx|gguf|snapshots|[0-9a-f]{40}|model[\w.-]*\.(?:onnx|gguf|safetensors)")


def model_keys(model: str) -> list[str]:
    """The keys that a model's name may have, the likeliest first; the provider before it does not count.

    "ollama:hf.co/nomic-ai/nomic-embed-text-v1.5-GGUF:Q8_0" has "nomic-embed-text-v1.5".
    """
    provider, separator, name = model.partition(":")
    prefix = provider.strip().lower()
    if not separator or (prefix not in PROVIDERS and prefix not in plugins()):
        name = model
    encoders = [_encoder_key(part) for part in name.split(",")]
    keys = [",".join(encoders)]
    for shorten in (_without_owner, _without_kind, lambda key: _without_owner(_without_kind(key))):
        keys.append(",".join(map(shorten, encoders)))
    return list(dict.fromkeys(keys))


def split_size(key: str) -> tuple[str, str]:
    """("nomic-embed-text-v1.5", "137m") of "nomic-embed-text-137m-v1.5"; "" where no size is named."""
    match = _SIZE.search(key)
    return (key, "") if match is None else (key[: match.start()] + key[match.end() :], match["size"])


def _encoder_key(name: str) -> str:
    parts = [part for part in name.strip().lower().replace("\\", "/").split("/") if part]
    while len(parts) > 1 and _INNER_FOLDER.fullmatch(parts[-1]):
        parts.pop()
    base, _, tag = (parts[-1] if parts else "").partition("@")[0].partition(":")
    key = re.sub(r"[-_\s]+", "-", f"{base}-{tag}" if tag else base)
    while (shorter := _FORMAT.sub("", key)) != key:
        key = shorter
    return key


def _without_owner(key: str) -> str:
    match = _OWNER.match(key)
    return key if match is None else key[match.end() :]


def _without_kind(key: str) -> str:
    return _KIND.sub("", key)
