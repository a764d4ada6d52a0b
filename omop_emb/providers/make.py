"""Providers by name: "ollama:nomic-embed-text" becomes the provider that embeds with it."""

from __future__ import annotations

from collections.abc import Mapping

from omop_emb import config
from omop_emb.errors import ConfigurationError
from omop_emb.providers.base import Provider
from omop_emb.records import EmbeddingRole

PROVIDERS = ("local", "ollama", "gemini", "openai")


def split_model(model: str) -> tuple[str, str]:
    """("ollama", "nomic-embed-text:v1.5") of "ollama:nomic-embed-text:v1.5".

    Raises:
        ConfigurationError: there is no such provider, or no model is named.
    """
    provider, _, name = model.strip().partition(":")
    if provider not in PROVIDERS or not name:
        raise ConfigurationError(
            f"a model is named provider:model, such as {config.DEFAULT_MODEL}, provider being one of "
            f"{', '.join(PROVIDERS)}; found {model!r}"
        )
    return provider, name


def int8_model(model: str) -> str:
    """A local model's name with @int8: its weights are quantised on this machine, and its space is another.

    Raises:
        ConfigurationError: it is no local model.
    """
    provider, name = split_model(model)
    if provider != "local":
        raise ConfigurationError(f"only local models are quantised here; found {model}: leave --quantize out")
    parts = (part if "@int8" in part else f"{part}@int8" for part in name.split(","))
    return f"local:{','.join(parts)}"


def make_provider(
    model: str, *, dimensions: int | None = None, tasks: Mapping[EmbeddingRole, str] | None = None
) -> Provider:
    """The provider of a model, from its name and the environment; nothing is loaded or asked yet.

    Args:
        model: provider:model.
        dimensions: asked of a provider that can cut vectors itself.
        tasks: task types in place of a role's own; only Gemini has them.

    Raises:
        ConfigurationError: the model's name or a variable cannot be used.
        MissingExtraError: the provider's library is not installed.
    """
    provider, name = split_model(model)
    if provider == "gemini":
        from omop_emb.providers.gemini import GeminiProvider

        return GeminiProvider(name, dimensions=dimensions, tasks=tasks or {})
    if tasks:
        raise ConfigurationError(f"{model} takes no task types; its roles are told apart by prefixes")
    if provider == "ollama":
        from omop_emb.providers.ollama import OllamaProvider

        return OllamaProvider(name, dimensions=dimensions, host=config.text_or_none("OLLAMA_HOST"))
    if provider == "openai":
        from omop_emb.providers.openai import OpenAIProvider

        return OpenAIProvider(
            name,
            dimensions=dimensions,
            base_url=config.text_or_none("OPENAI_BASE_URL"),
            key=config.text_or_none("OPENAI_API_KEY"),
        )
    from omop_emb.providers.local import LocalProvider

    return LocalProvider(name, threads=config.positive_integer("OMOP_EMB_THREADS"))
