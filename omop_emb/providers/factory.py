"""Provider factory: the provider behind a name such as "ollama:nomic-embed-text"."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from omop_emb import config
from omop_emb.errors import ConfigurationError
from omop_emb.providers.base import Provider
from omop_emb.records import EmbeddingRole

_PROVIDERS = ("local", "ollama", "gemini", "openai")


def make_provider(
    model: str,
    *,
    dimensions: int | None = None,
    tasks: Mapping[EmbeddingRole, str] | None = None,
    is_matryoshka: bool = False,
) -> Provider:
    """The provider of a model, set up from its name and the environment; nothing is loaded or sent yet.

    Args:
        model: provider:model.
        dimensions: for a provider that can cut vectors itself.
        tasks: task types in place of those that follow the role; only Gemini has them.
        is_matryoshka: whether the model is known to be trained for shorter vectors.

    Raises:
        ConfigurationError: the model's name or a variable cannot be used.
        MissingExtraError: the provider's library is not installed.
    """
    provider, name = split_model(model)
    if provider == "gemini":
        from omop_emb.providers.gemini import GeminiProvider

        return GeminiProvider(name, dimensions=dimensions, tasks=tasks)
    if tasks:
        raise ConfigurationError(f"{model} takes no task types: set a prefix for each role instead")
    if provider == "ollama":
        from omop_emb.providers.ollama import OllamaProvider

        return OllamaProvider(name, dimensions=dimensions)
    if provider == "openai":
        from omop_emb.providers.openai import OpenAIProvider

        return OpenAIProvider(name, dimensions=dimensions, is_matryoshka=is_matryoshka)
    from omop_emb.providers.local import LocalProvider

    return LocalProvider(name, threads=config.positive_integer("OMOP_EMB_THREADS"))


def int8_model(model: str) -> str:
    """A local model's name with @int8: its weights are quantised on this machine, in a space of their own.

    Raises:
        ConfigurationError: it is not a local model.
    """
    provider, name = split_model(model)
    if provider != "local":
        raise ConfigurationError(f"only local models are quantised here; found {model}: leave --quantize out")
    encoders = (part if "@int8" in part else f"{part}@int8" for part in name.split(","))
    return f"local:{','.join(encoders)}"


def split_model(
    model: str,
    *,
    what: str = "a model",
    example: str = config.DEFAULT_MODEL,
    known: Collection[str] = _PROVIDERS,
) -> tuple[str, str]:
    """("ollama", "nomic-embed-text:v1.5") of "ollama:nomic-embed-text:v1.5"."""
    provider, _, name = model.strip().partition(":")
    if provider not in known or not name:
        raise ConfigurationError(
            f"{what} is named provider:model, such as {example}, provider being one of {', '.join(known)}; "
            f"found {model!r}"
        )
    return provider, name
